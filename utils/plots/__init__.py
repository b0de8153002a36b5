"""Pictures: one style, the alignment heat map, and charts."""

from utils.plots.alignment import plot_alignment
from utils.plots.style import COLORS, use_style

__all__ = ["COLORS", "plot_alignment", "use_style"]
