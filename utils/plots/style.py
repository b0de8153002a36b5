"""One look for all pictures: colours by role, type sizes, light grid."""

import matplotlib
from cycler import cycler

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


def use_style():
    """Make the project's look the default of matplotlib for this process."""
    matplotlib.rcParams.update(
        {
            "figure.figsize": (7.2, 3.6),  # inches: the full width of a page
            "figure.dpi": 110,
            "figure.facecolor": "white",
            "savefig.dpi": 200,
            "savefig.bbox": "tight",
            "figure.constrained_layout.use": True,
            "font.family": "DejaVu Sans",  # has every accent
            "font.size": 9,
            "axes.titlesize": 10,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.labelsize": 9,
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
            "legend.fontsize": 8,
            "legend.frameon": False,
            "text.color": COLORS["text"],
            "axes.labelcolor": COLORS["text"],
            "axes.edgecolor": COLORS["text"],
            "xtick.color": COLORS["text"],
            "ytick.color": COLORS["text"],
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": "#E6E6E6",
            "grid.linewidth": 0.8,
            "lines.linewidth": 1.8,
            "axes.prop_cycle": cycler(
                color=[COLORS[k] for k in ("encoder", "decoder", "transformer", "attention", "highlight")]
            ),
        }
    )
