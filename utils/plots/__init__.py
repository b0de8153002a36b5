"""Pictures: one style, the alignment heat map, and a chart that several notebooks draw."""

import importlib
from typing import TYPE_CHECKING, Any

from utils.plots.heat_map import plot_alignment
from utils.plots.style import ATTENTION_MAP, COLORS, use_style

if TYPE_CHECKING:
    from utils.plots.charts import plot_quality_by_length

__all__ = ["ATTENTION_MAP", "COLORS", "plot_alignment", "plot_quality_by_length", "use_style"]


def __getattr__(name: str) -> Any:
    """Import the chart, and pandas and seaborn with it, when it is first asked for."""
    if name != "plot_quality_by_length":
        raise AttributeError(f"module 'utils.plots' has no attribute {name!r}")
    return importlib.import_module("utils.plots.charts").plot_quality_by_length
