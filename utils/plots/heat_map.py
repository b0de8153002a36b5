"""The alignment heat map: which source words a translator looked at for each word it wrote."""

import operator
from typing import Any

import matplotlib.pyplot as plt
import numpy
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from utils.alignment import parse_links
from utils.plots.style import ATTENTION_MAP, COLORS
from utils.plots.weights import prepare
from utils.vocabulary import LANGUAGE_NAMES

_MAPS = {"default": ATTENTION_MAP, "paper": "gray"}  # in the paper's 0 is black and 1 is white


def plot_alignment(
    weights: Any, source_tokens: Any = None, target_tokens: Any = None, *, gold: Any = None,
    preset: str = "default", merge: bool = True, show_end: bool = True, values: bool = False,
    source_language: str | None = None, target_language: str | None = None,
    title: str | None = None, ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """Draw attention weights as a heat map, one row for each target word.

    Built in notebook 02, *Reading the heat map*.

    Args:
        weights: what ``Translator.translate`` returns for a sentence, or a matrix [target, source] of any
            kind whose rows sum to 1: row t belongs to the token that is predicted.
        source_tokens, target_tokens: the tokens of a bare matrix; a text is split at its spaces, and a
            ``DataFrame`` has its own.
        gold: links that are right, in the words shown: a string such as "0-0 1?2" (source-target, ``-``
            sure, ``?`` possible), or pairs (source, target).
        preset: "default" (white to purple), or "paper" for the look of Bahdanau et al. 2015, figure 3.
        merge: whether sub-word pieces are merged into words.
        show_end: whether the end token ``</s>`` keeps its row and column.
        values: whether each weight of 0.05 or more is written into its cell.
        source_language, target_language: names or codes for the axis titles.
        ax: axes to draw into; without them a figure is made whose size fits the sentence.

    Raises:
        ValueError: what came is not what is described here; the message says in which way.
    """
    if preset not in _MAPS:
        raise ValueError(f"preset must be one of {sorted(_MAPS)}, not {preset!r}")
    matrix, sources, targets = prepare(weights, source_tokens, target_tokens, merge, show_end)
    links = [] if gold is None else _read_gold(gold, *matrix.shape)
    figure = None
    if ax is None:
        figure = plt.figure(layout="constrained")
        figure.set_layout_engine("none")  # stays so, whatever the style; _lay_out knows the places
        ax = figure.add_axes((0, 0, 1, 1))
    for image in list(ax.images):
        if image.get_gid() == "alignment" and image.colorbar:  # drawn before: begin anew
            image.colorbar.remove()
            ax.clear()
    image = ax.imshow(matrix, cmap=_MAPS[preset], vmin=0, vmax=1, aspect="equal", gid="alignment")
    slanted: dict[str, Any] = {"rotation": 60, "ha": "left", "rotation_mode": "anchor", "parse_math": False}
    ax.set_xticks(range(len(sources)), sources, **slanted)
    ax.set_yticks(range(len(targets)), targets, parse_math=False)
    ax.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    ax.grid(False)
    ax.spines[:].set(visible=True, color=COLORS["light"])
    ax.set_xlabel(_role("source", source_language, "what the encoder read"), parse_math=False)
    ax.xaxis.set_label_position("top")
    ax.set_ylabel(_role("target", target_language, "what the decoder wrote"), parse_math=False)
    if title:
        ax.set_title(title, pad=10, parse_math=False)
    if values:
        _write_values(ax, matrix, image)
    if links:
        _draw_gold(ax, links)
    place: dict[str, Any] = {"cax": figure.add_axes((0, 0, 1, 1))} if figure else {"ax": ax, "shrink": 0.8}
    bar = plt.colorbar(image, **place)
    bar.set_label("attention weight\n(each row sums to 1)" if show_end else "attention weight")
    bar.ax.spines[:].set_color(COLORS["light"])
    if figure:
        _lay_out(figure, (ax, bar.ax), matrix.shape)
    return ax


def _role(role: str, language: str | None, meaning: str) -> str:
    return f"{role}{f', {LANGUAGE_NAMES.get(language, language)}' if language else ''}\n({meaning})"


def _lay_out(figure, axes, shape):
    """Give map and bar their places in inches, and the figure the size that holds them and every label."""
    widest = max(label.get_window_extent().width for label in axes[0].get_yticklabels()) / figure.dpi
    # A line of 8 points needs 0.19; a small map is made as large as the title of its axis.
    cell = max(min(0.36, max(0.19, (5.6 - widest) / shape[1])), 1.8 / max(shape))
    width, height = shape[1] * cell, shape[0] * cell
    tall = min(max(0.8 * height, 1.2), 4)
    boxes = ((0, 0, width, height), (width + 0.12, (height - tall) / 2, 0.12, tall))

    def place(x, y, size):
        figure.set_size_inches(size)
        for part, (left, bottom, wide, high) in zip(axes, boxes, strict=True):
            box = (x + left) / size[0], (y + bottom) / size[1], wide / size[0], high / size[1]
            part.set_position(box)

    place(1, 1, (4, 4))
    figure.draw_without_rendering()
    found = figure.get_tightbbox()
    place(1.05 - found.x0, 1.05 - found.y0, (found.width + 0.1, found.height + 0.1))


def _write_values(ax, matrix, image):
    for (row, column), weight in numpy.ndenumerate(matrix):
        if weight >= 0.05:
            red, green, blue, _ = image.cmap(image.norm(weight))
            color = "white" if 0.3 * red + 0.6 * green + 0.1 * blue < 0.5 else "black"
            ax.text(column, row, f"{weight:.2f}".lstrip("0"), color=color, size=8, ha="center", va="center")


def _read_gold(gold: Any, rows: int, columns: int) -> list[tuple[int, int, bool]]:
    """Links as triples (source, target, whether it is sure), each inside the matrix."""
    if isinstance(gold, str):
        sure, possible = parse_links(gold)
    else:
        try:
            sure = possible = {(operator.index(source), operator.index(target)) for source, target in gold}
        except (TypeError, ValueError):
            raise ValueError("gold must be a text such as '0-0 1?2', or pairs of whole numbers") from None
    for source, target in sorted(possible):
        if not (0 <= source < columns and 0 <= target < rows):
            size = f"{columns} source and {rows} target words"
            raise ValueError(f"the link {source}-{target} (source-target) lies outside of {size}")
    return [(*link, link in sure) for link in sorted(possible)]


def _draw_gold(ax, links):
    """Outline the cells of links: a full line is sure, a dotted one possible."""
    style: dict[str, Any] = {"linewidth": 1.8, "color": COLORS["highlight"]}
    for source, target, sure in links:
        box = ax.add_patch(Rectangle((source - 0.45, target - 0.45), 0.9, 0.9, fill=False, **style))
        box.set_linestyle("-" if sure else ":")
    kinds: dict[str, Any] = {"sure link": "-", "possible link": ":"}
    handles = [Line2D([], [], label=label, linestyle=line, **style) for label, line in kinds.items()]
    ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=2)
