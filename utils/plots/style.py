"""One look for all pictures: colours by role, type sizes, light grid."""

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.colors import LinearSegmentedColormap

# The colours of Okabe and Ito (2008) can be told apart by colour-blind readers; each has one role.
COLORS = {
    "encoder": "#0072B2",
    "decoder": "#D55E00",
    "attention": "#CC79A7",
    "transformer": "#009E73",
    "text": "#333333",
    "light": "#BBBBBB",
    "highlight": "#E69F00",
}

# For every map of attention weights: from white to a dark purple, even to the eye and readable in grey.
ATTENTION_MAP = LinearSegmentedColormap.from_list("attention", ["#FFFFFF", COLORS["attention"], "#4A1A3A"])


def use_style() -> None:
    """Make the project's look the default of matplotlib for this process."""
    plt.style.use(Path(__file__).with_name("hello.mplstyle"))
