"""Pictures: one style, the alignment heat map, charts, diagrams and the timeline."""

from utils.plots.alignment import plot_alignment
from utils.plots.charts import (
    plot_decoding_steps,
    plot_hidden_state,
    plot_label_efficiency,
    plot_learning_curve,
    plot_quality_by_length,
)
from utils.plots.diagrams import Diagram
from utils.plots.style import COLORS, use_style
from utils.plots.timeline import plot_timeline

__all__ = [
    "COLORS",
    "Diagram",
    "plot_alignment",
    "plot_decoding_steps",
    "plot_hidden_state",
    "plot_label_efficiency",
    "plot_learning_curve",
    "plot_quality_by_length",
    "plot_timeline",
    "use_style",
]
