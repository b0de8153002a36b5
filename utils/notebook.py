"""What every notebook needs first: one call that sets it up, and one that shows a picture."""

import base64
import csv
import html
import io
import os
import struct
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
_TRUE = {"1", "ON", "YES", "TRUE"}  # as huggingface_hub reads its environment


def set_up(seed: int = 0, checkpoints: tuple[str, ...] = ()) -> None:
    """Set seeds and the look of pictures, keep libraries off the network, and check what is needed.

    ``checkpoints`` are names in ``data/checkpoints``. Raises CheckpointError where one is missing or
    damaged; the message says how to restore it.
    """
    _stay_offline()
    import numpy
    import torch

    from utils.plots.style import use_style
    from utils.pretrained import verify_folder

    torch.manual_seed(seed)
    numpy.random.seed(seed)  # noqa: NPY002 (libraries that draw from the global generator)
    use_style()
    if in_jupyter():
        shell: Any = sys.modules["IPython"].get_ipython()
        shell.run_line_magic("matplotlib", "agg")  # pictures come from show(), with alt text
    for name in checkpoints:
        verify_folder(name)
    present(f"ready: seed {seed}" + "".join(f", {name} verified" for name in checkpoints))


def _stay_offline() -> None:
    """No downloads, and no progress bars of loading, by libraries that were imported before us either."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    offline = os.environ.get("HF_HUB_OFFLINE", "1").upper() in _TRUE  # whoever set 0 has asked for it
    for name in ("huggingface_hub.constants", "datasets.config"):
        if name in sys.modules:
            sys.modules[name].HF_HUB_OFFLINE = offline  # type: ignore[attr-defined]
    if "transformers" in sys.modules:
        sys.modules["transformers"].logging.disable_progress_bar()
        sys.modules["transformers"].logging.set_verbosity_error()


def in_jupyter() -> bool:
    """Whether this process is a Jupyter kernel, which can show pictures and markup."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def present(line: str, *outputs: tuple[dict, dict]) -> None:
    """Display outputs (data by MIME type, metadata) in Jupyter; elsewhere, or without any, print a line."""
    if outputs and in_jupyter():
        from IPython.display import display

        for data, metadata in outputs:
            display(data, raw=True, metadata=metadata)
    else:
        encoding = sys.stdout.encoding or "utf-8"  # a terminal may lack a character
        print(line.encode(encoding, "replace").decode(encoding))


def show(picture: Any, alt: str) -> None:
    """Display a matplotlib ``Figure``, or that of ``Axes``, and close it.

    ``alt`` says what is seen, and what follows from it; ValueError if it is empty.
    """
    if not alt.strip():
        raise ValueError("a picture needs an alt text: what is seen, and what follows from it")
    import matplotlib.pyplot as plt

    figure, buffer = picture.figure, io.BytesIO()
    figure.savefig(buffer, format="png", dpi=144)
    width, height = figure.get_size_inches()
    _show_png(buffer.getvalue(), round(width * 96), alt, f"<Figure of {width:.1f} by {height:.1f} inches>")
    plt.close(figure)


def show_figure(name: str) -> None:
    """Display a figure of the chapter, such as "chapter01_rnn", as it is stored in ``imgs/``.

    Raises ValueError if there is none of that name; the message lists those that there are.
    """
    texts = load_alt_texts()
    if name not in texts:
        raise ValueError(f"there is no figure {name!r}; there are {', '.join(texts)}")
    data = (ROOT / "imgs" / f"{name}.png").read_bytes()
    width = struct.unpack(">I", data[16:20])[0]  # pixels, of which the figures have 200 an inch
    _show_png(data, round(width * 96 / 200), texts[name], f"<Figure {name}>")


def load_alt_texts() -> dict[str, str]:
    """What is seen on each of the chapter's figures, by name, from ``data/figures.csv``."""
    with open(ROOT / "data" / "figures.csv", encoding="utf-8", newline="") as file:
        return {row["name"]: row["alt"] for row in csv.DictReader(file)}


def _show_png(data: bytes, width: int, alt: str, text: str) -> None:
    # Markup is the one output whose alt text reaches readers in JupyterLab, VS Code and exported pages. The
    # picture lies inside it, so it needs no file; nbval.cfg leaves its bytes out of comparisons.
    source = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    markup = f'<img alt="{html.escape(alt)}" width="{width}" src="{source}">'
    present(f"[picture: {alt}]", ({"text/html": markup, "text/plain": text}, {}))
