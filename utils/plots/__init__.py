"""Pictures: one style, the alignment heat map, and the charts that several notebooks draw."""

from utils.plots.charts import (
    plot_decoding_steps,
    plot_hidden_state,
    plot_label_efficiency,
    plot_learning_curve,
    plot_quality_by_length,
)
from utils.plots.heat_map import plot_alignment
from utils.plots.style import ATTENTION_MAP, COLORS, use_style

__all__ = [
    "ATTENTION_MAP",
    "COLORS",
    "plot_alignment",
    "plot_decoding_steps",
    "plot_hidden_state",
    "plot_label_efficiency",
    "plot_learning_curve",
    "plot_quality_by_length",
    "use_style",
]
