"""The alignment heat map: which source words a translator looked at for each word it wrote."""

import operator
import sys
from collections.abc import Iterable
from typing import Any

import matplotlib.pyplot as plt
import numpy
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from utils.alignment import group_into_words, parse_links
from utils.plots.style import ATTENTION_MAP, COLORS
from utils.vocabulary import END, LANGUAGE_NAMES

_MAPS = {"default": ATTENTION_MAP, "paper": "gray"}  # in the paper's 0 is black and 1 is white
_PRECISION = {"float16": 2**-10, "bfloat16": 2**-7, "float8": 2**-2}  # by name of the number type
_TYPED = {"parse_math": False}  # "$" is a dollar


def plot_alignment(
    weights: Any,
    source_tokens: Iterable | None = None,
    target_tokens: Iterable | None = None,
    *,
    gold: str | Iterable | None = None,
    preset: str = "default",
    merge: bool = True,
    show_end: bool = True,
    values: bool = False,
    source_language: str | None = None,
    target_language: str | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw attention weights as a heat map, one row for each target word.

    Built in notebook 02, *The alignment heat map*.

    Args:
        weights: a translation (anything with ``attention_weights``, ``source_tokens`` and
            ``target_tokens``, or a list of one), or a matrix [target, source] whose rows sum to 1, of
            PyTorch, NumPy, pandas or lists: row t belongs to the token that is predicted.
        source_tokens, target_tokens: the tokens of a bare matrix; a text is split at its spaces, and a
            ``DataFrame`` has its own.
        gold: links that are right, drawn over the map and counted in the words shown: a string such as
            "0-0 1?2" (source-target, ``-`` sure, ``?`` possible), or pairs (source, target).
        preset: "default" (white to purple), or "paper" for the look of Bahdanau et al. 2015, figure 3.
        merge: whether sub-word pieces are merged into words.
        show_end: whether the end token ``</s>`` keeps its row and column.
        values: whether each weight of 0.05 or more is written into its cell.
        source_language, target_language: names or codes for the axis titles.
        title: what the picture shows, in a sentence.
        ax: axes to draw into; without them a figure is made whose size fits the sentence.

    Raises:
        ValueError: no weights, a shape that does not fit the tokens, values that are not weights, bad
            links, or an unknown preset; the message says what was expected and what came.
    """
    if preset not in _MAPS:
        raise ValueError(f"preset must be one of {sorted(_MAPS)}, not {preset!r}")
    matrix, sources, targets = _prepare(weights, source_tokens, target_tokens, merge, show_end)
    links = [] if gold is None else _read_gold(gold, *matrix.shape)
    figure = bar_axes = None
    if ax is None:
        figure = plt.figure(layout="constrained")
        figure.set_layout_engine("none")  # stays so, whatever the style; _lay_out knows the places
        ax, bar_axes = figure.add_axes((0, 0, 1, 1)), figure.add_axes((0, 0, 1, 1))
    elif any(image.get_gid() == "alignment" for image in ax.images):  # drawn before: begin anew
        for image in ax.images:
            if image.colorbar:
                image.colorbar.remove()
        ax.clear()
    image = ax.imshow(matrix, cmap=_MAPS[preset], vmin=0, vmax=1, aspect="equal", gid="alignment")
    names = [list(map(_printable, words)) for words in (sources, targets)]
    ax.set_xticks(range(len(sources)), names[0], rotation=60, ha="left", rotation_mode="anchor", **_TYPED)
    ax.set_yticks(range(len(targets)), names[1], **_TYPED)
    ax.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    ax.grid(False)
    ax.spines[:].set(visible=True, color=COLORS["light"])
    ax.set_xlabel(_role("source", source_language, "what the encoder read"), **_TYPED)
    ax.xaxis.set_label_position("top")
    ax.set_ylabel(_role("target", target_language, "what the decoder wrote"), **_TYPED)
    if title:
        ax.set_title(title, pad=10, **_TYPED)
    if values:
        _write_values(ax, matrix, image)
    if links:
        _draw_gold(ax, links)
    place = {"cax": bar_axes} if bar_axes else {"ax": ax, "shrink": 0.8, "aspect": 24, "pad": 0.02}
    bar = ax.figure.colorbar(image, **place)
    bar.set_label("attention weight\n(each row sums to 1)" if show_end else "attention weight")
    bar.outline.set_edgecolor(COLORS["light"])  # type: ignore[operator]
    if figure:
        _lay_out(figure, (ax, bar_axes), matrix.shape)
    return ax


def as_array(values: Any) -> numpy.ndarray:
    """A tensor of any number type and device, or anything that NumPy reads, as an array of float64."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().double().numpy()
    return numpy.asarray(values, dtype=numpy.float64)


def _prepare(weights, source_tokens, target_tokens, merge, show_end):
    """Check the weights, merge pieces into words, and trim the end tokens if that is wanted."""
    if isinstance(weights, list | tuple) and any(hasattr(item, "attention_weights") for item in weights):
        if len(weights) > 1:
            raise ValueError(f"these are {len(weights)} translations; draw one of them, such as [0]")
        weights = weights[0]
    if hasattr(weights, "attention_weights"):
        source_tokens, target_tokens = weights.source_tokens, weights.target_tokens
        weights = weights.attention_weights
        if weights is None:
            raise ValueError("this translation has no attention weights: its model has no attention")
    if hasattr(weights, "columns"):  # of a DataFrame
        source_tokens = weights.columns if source_tokens is None else source_tokens
        target_tokens = weights.index if target_tokens is None else target_tokens
        weights = weights.to_numpy()
    if source_tokens is None or target_tokens is None:
        raise ValueError("a bare matrix needs source_tokens and target_tokens")
    sources, targets = _texts(source_tokens), _texts(target_tokens)
    matrix = _check(weights, sources, targets)
    if merge:
        columns, rows = group_into_words(sources), group_into_words(targets)
        matrix = numpy.stack([matrix[:, pieces].sum(axis=1) for _, pieces in columns], axis=1)
        matrix = numpy.stack([matrix[pieces].mean(axis=0) for _, pieces in rows])
        sources, targets = [word for word, _ in columns], [word for word, _ in rows]
    if not show_end:
        columns, rows = ([i for i, word in enumerate(words) if word != END] for words in (sources, targets))
        matrix = matrix[rows][:, columns]
        sources, targets = [sources[i] for i in columns], [targets[i] for i in rows]
    return matrix, sources, targets


def _texts(tokens):
    if isinstance(tokens, str):
        return tokens.split()
    return [str(token) for token in (tokens.tolist() if hasattr(tokens, "tolist") else tokens)]


def _check(weights, sources, targets):
    """The weights as an array [target, source], after a look at everything that can be wrong with them."""
    if isinstance(weights, list | tuple) and any(hasattr(row, "detach") for row in weights):
        weights = sys.modules["torch"].stack(tuple(weights))
    number = str(getattr(weights, "dtype", "")).removeprefix("torch.").partition("_")[0]
    try:
        matrix = as_array(weights)
    except (TypeError, ValueError) as error:
        raise ValueError(f"weights must be a matrix of numbers [target, source]: {error}") from None
    expected, came = [len(targets), len(sources)], list(matrix.shape)
    if came != expected:
        hint = " (transposed?)" if came == expected[::-1] else ""
        raise ValueError(
            f"weights must have the shape [target, source] = {expected}, one row for each target token; "
            f"they have {came}{hint}"
        )
    if 0 in expected:
        raise ValueError(f"there is nothing to draw: weights have the shape {expected}")
    if not numpy.isfinite(matrix).all():
        row, column = numpy.argwhere(~numpy.isfinite(matrix))[0]
        raise ValueError(f"weights must be numbers, but [{row}, {column}] is {matrix[row, column]}")
    if (matrix < -1e-6).any():
        raise ValueError(f"weights must not be negative, but the smallest is {matrix.min():.3g}")
    sums = matrix.sum(axis=1)
    row = abs(sums - 1).argmax()
    if abs(sums[row] - 1) > 1e-3 + 4 * _PRECISION.get(number, 0):
        raise ValueError(
            f"each row must sum to 1, but row {row} ({targets[row]!r}) sums to {sums[row]:.4f}; row t must "
            "hold the weights of target token t"
        )
    return matrix


def _printable(text):
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _role(role, language, meaning):
    language = f", {LANGUAGE_NAMES.get(language, language)}" if language else ""
    return f"{role}{language}\n({meaning})"


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
            dark = 0.3 * red + 0.6 * green + 0.1 * blue < 0.5
            style = {"color": "white" if dark else "black", "size": 8, "ha": "center", "va": "center"}
            ax.text(column, row, f"{weight:.2f}".lstrip("0"), **style)


def _read_gold(gold, rows, columns):
    """Links as triples (source, target, whether it is sure), each inside the matrix."""
    gold = gold if isinstance(gold, str) else list(gold.tolist() if hasattr(gold, "tolist") else gold)
    if isinstance(gold, str) or (gold and all(isinstance(link, str) for link in gold)):
        sure, possible = parse_links(gold if isinstance(gold, str) else " ".join(gold))
    elif len(gold) == 2 and all(isinstance(links, set | frozenset) for links in gold):
        sure, possible = gold  # as parse_links returns them
    else:
        try:
            sure = possible = {(operator.index(source), operator.index(target)) for source, target in gold}
        except (TypeError, ValueError):
            raise ValueError(
                "gold must be a text such as '0-0 1?2', or pairs (source, target) of whole numbers"
            ) from None
    for source, target in sorted(possible | sure):
        if not (0 <= source < columns and 0 <= target < rows):
            raise ValueError(
                f"the link {source}-{target} (source-target) lies outside a sentence pair of {columns} "
                f"source and {rows} target words"
            )
    return [(*link, link in sure) for link in sorted(possible | sure)]


def _draw_gold(ax, links):
    """Outline the cells of gold links: a full line is sure, a dotted one possible."""
    style = {"linewidth": 1.8, "color": COLORS["highlight"]}
    for source, target, sure in links:
        line = "-" if sure else ":"
        ax.add_patch(Rectangle((source - 0.45, target - 0.45), 0.9, 0.9, fill=False, linestyle=line, **style))
    kinds = (("-", "gold link, sure"), (":", "gold link, possible"))
    handles = [Line2D([], [], linestyle=line, label=label, **style) for line, label in kinds]
    ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=2)
