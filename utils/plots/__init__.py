"""Pictures: one style, the alignment heat map, and a chart; those that answer are in ``explorers``."""

from utils.plots.charts import plot_quality_by_length
from utils.plots.heat_map import plot_alignment
from utils.plots.style import ATTENTION_MAP, COLORS, use_style

__all__ = ["ATTENTION_MAP", "COLORS", "plot_alignment", "plot_quality_by_length", "use_style"]
