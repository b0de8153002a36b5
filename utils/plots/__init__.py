"""Pictures: one style, the alignment heat map, and a chart; those that answer are in ``explorers``."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from utils.plots.charts import plot_quality_by_length
    from utils.plots.heat_map import plot_alignment
    from utils.plots.style import ATTENTION_MAP, COLORS, use_style

__all__ = ["ATTENTION_MAP", "COLORS", "plot_alignment", "plot_quality_by_length", "use_style"]
_PLACES = {"plot_alignment": "heat_map", "plot_quality_by_length": "charts"}  # the others: style


def __getattr__(name: str) -> Any:
    """What draws is imported when it is first asked for; words and weights need no matplotlib."""
    if name not in __all__:
        raise AttributeError(f"module 'utils.plots' has no attribute {name!r}")
    return getattr(importlib.import_module(f"utils.plots.{_PLACES.get(name, 'style')}"), name)
