"""What every notebook needs first: one call that sets it up, and one that shows a picture."""

import io
import os

import matplotlib.pyplot as plt
import numpy
import torch
from huggingface_hub.utils import disable_progress_bars
from IPython import get_ipython
from IPython.display import display
from matplotlib.figure import Figure

from scripts.figures import FIGURES
from utils.plots.style import use_style
from utils.pretrained import CheckpointError, collect_problems, verify_folder


def set_up(seed=0, checkpoints=()):
    """Set seeds and the look of pictures, keep libraries off the network, and check what is needed.

    Args:
        seed: for PyTorch and NumPy.
        checkpoints: names in ``data/checkpoints`` that the notebook uses.

    Raises:
        CheckpointError: one of them is missing or damaged; the message says how to restore it.
    """
    # Read by transformers when it is first imported: no downloads, and no reports of every loading.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    disable_progress_bars()
    torch.manual_seed(seed)
    numpy.random.seed(seed)  # noqa: NPY002 (libraries that draw from the global generator)
    use_style()
    if get_ipython() is not None:
        get_ipython().run_line_magic("matplotlib", "agg")  # pictures come from show(), with alt text
    problems = collect_problems(verify_folder, checkpoints)
    if problems:
        raise CheckpointError("\n".join(problems))
    print(f"ready: seed {seed}" + "".join(f", {name} verified" for name in checkpoints))


def show(picture, alt):
    """Display a picture with a text for those who do not see it, and close it.

    Args:
        picture: a matplotlib ``Figure``, or ``Axes`` in one.
        alt: what is seen, and what follows from it.

    Raises:
        ValueError: an empty ``alt``.
    """
    if not alt.strip():
        raise ValueError("a picture needs an alt text: what is seen, and what follows from it")
    figure = picture if isinstance(picture, Figure) else picture.figure
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=144)
    size = " by ".join(f"{inches:.1f}" for inches in figure.get_size_inches())
    data = {"image/png": buffer.getvalue(), "text/plain": f"<Figure of {size} inches>"}
    width = round(figure.get_size_inches()[0] * 96)
    display(data, raw=True, metadata={"image/png": {"alt": alt, "width": width}})
    plt.close(figure)


def show_figure(name):
    """Display a figure in a notebook, with its alt text."""
    draw, alt = FIGURES[name]
    show(draw(), alt)
