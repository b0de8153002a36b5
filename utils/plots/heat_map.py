"""The alignment heat map: which source words a translator looked at for each word it wrote."""

import matplotlib.pyplot as plt
import torch
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from utils.alignment import link_matrix, merge_into_words, parse_links
from utils.plots.style import COLORS
from utils.tokens import END, LANGUAGE_NAMES

_PRESETS = {
    # from white to a dark purple, even to the eye and readable in grey
    "default": LinearSegmentedColormap.from_list("attention", ["#FFFFFF", "#CC79A7", "#4A1A3A"]),
    "paper": "gray",  # Bahdanau et al. 2015, figure 3: 0 is black and 1 is white
}


def plot_alignment(
    weights,
    source_tokens=None,
    target_tokens=None,
    *,
    gold=None,
    preset="default",
    merge=True,
    show_end=True,
    values=False,
    source_language=None,
    target_language=None,
    title=None,
    ax=None,
):
    """Draw attention weights as a heat map, one row for each target word.

    Args:
        weights: a translation (anything with ``attention_weights``, ``source_tokens`` and
            ``target_tokens``), or a matrix [target, source] whose rows sum to 1: row t belongs to
            the token that is predicted.
        source_tokens, target_tokens: the tokens of a bare matrix.
        gold: links that are right, drawn over the map: a string such as "0-0 1?2" (source-target,
            ``-`` sure, ``?`` possible), counted in the words shown.
        preset: "default" (white to purple), or "paper" for the look of Bahdanau et al. 2015.
        merge: whether sub-word pieces are merged into words.
        show_end: whether the end token ``</s>`` keeps its row and column.
        values: whether each weight of 0.05 or more is written into its cell.
        source_language, target_language: names or codes for the axis titles.
        title: what the picture shows, in a sentence.
        ax: axes to draw into; without them a figure is made whose size fits the sentence.

    Returns:
        The ``Axes``.

    Raises:
        ValueError: no weights, a shape that does not fit the tokens, values that are not weights, or
            an unknown preset; the message says what was expected and what came.
    """
    if preset not in _PRESETS:
        raise ValueError(f"preset must be one of {sorted(_PRESETS)}, not {preset!r}")
    weights, source_words, target_words = _prepare(weights, source_tokens, target_tokens, merge, show_end)
    rows, columns = weights.shape
    if ax is None:
        longest = max(map(len, target_words)), max(map(len, source_words))
        # Inches: as wide as a page if that leaves 0.19 for a word, which a line of 8 pt needs.
        cell = min(0.36, max(0.19, (5.6 - longest[0] * 0.08) / columns))
        size = (
            max(3.5, columns * cell + longest[0] * 0.08 + 1.6),
            max(2.4, rows * cell + longest[1] * 0.07 + 1.0),
        )
        ax = plt.figure(figsize=size).add_subplot()
    image = ax.imshow(weights.numpy(), cmap=_PRESETS[preset], vmin=0, vmax=1, aspect="equal")
    ax.set_xticks(range(columns), source_words, rotation=60, ha="left", rotation_mode="anchor")
    ax.set_yticks(range(rows), target_words)
    ax.xaxis.tick_top()
    ax.xaxis.set_label_position("top")
    ax.tick_params(length=0)
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set(visible=True, color=COLORS["light"])
    ax.set_xlabel(_role("source", "what the encoder read", source_language))
    ax.set_ylabel(_role("target", "what the decoder wrote", target_language))
    if title:
        ax.set_title(title, pad=10)
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.8, aspect=24, pad=0.02)
    bar.set_label("attention weight (each row sums to 1)" if show_end else "attention weight")
    bar.outline.set_edgecolor(COLORS["light"])
    if values:
        _write_values(ax, image, weights)
    if gold is not None:
        _draw_gold(ax, gold, rows, columns)
    return ax


def _prepare(weights, source_tokens, target_tokens, merge, show_end):
    """Check the weights, merge pieces into words, and trim the end tokens if that is wanted."""
    if hasattr(weights, "attention_weights"):
        if weights.attention_weights is None:
            raise ValueError("this translation has no attention weights: its model has no attention")
        weights, source_tokens, target_tokens = (
            weights.attention_weights,
            weights.source_tokens,
            weights.target_tokens,
        )
    if source_tokens is None or target_tokens is None:
        raise ValueError("a bare matrix needs source_tokens and target_tokens")
    if isinstance(weights, torch.Tensor):
        weights = weights.detach()
    weights = torch.as_tensor(weights, dtype=torch.float64, device="cpu")
    expected = (len(target_tokens), len(source_tokens))
    if tuple(weights.shape) != expected:
        hint = " (transposed?)" if tuple(weights.shape) == expected[::-1] else ""
        raise ValueError(
            f"weights must have the shape [target, source] = {list(expected)}, one row for each target "
            f"token; they have {list(weights.shape)}{hint}"
        )
    if 0 in expected:
        raise ValueError(f"there is nothing to draw: weights have the shape {list(expected)}")
    if not weights.isfinite().all():
        row, column = (~weights.isfinite()).nonzero()[0].tolist()
        raise ValueError(f"weights must be numbers, but [{row}, {column}] is {weights[row, column]}")
    if (weights < -1e-6).any():
        raise ValueError(f"weights must not be negative, but the smallest is {weights.min():.3g}")
    off = (weights.sum(dim=1) - 1).abs()
    if off.max() > 1e-3:
        row = int(off.argmax())
        raise ValueError(
            f"each row must sum to 1, but row {row} ({target_tokens[row]!r}) sums to "
            f"{weights[row].sum():.4f}; row t must hold the weights of target token t"
        )
    sources, targets = list(source_tokens), list(target_tokens)
    if merge:
        weights, sources, targets = merge_into_words(weights, sources, targets)
    if not show_end:
        columns, rows = (
            [index for index, word in enumerate(words) if word != END] for words in (sources, targets)
        )
        weights = weights[rows][:, columns]
        sources, targets = [sources[index] for index in columns], [targets[index] for index in rows]
    return weights, sources, targets


def _role(role, meaning, language):
    language = f", {LANGUAGE_NAMES.get(language, language)}" if language else ""
    return f"{role}{language} ({meaning})"


def _write_values(ax, image, weights):
    for (row, column), weight in zip(
        ((r, c) for r in range(weights.size(0)) for c in range(weights.size(1))),
        weights.flatten().tolist(),
        strict=True,
    ):
        if weight >= 0.05:
            red, green, blue, _ = image.cmap(image.norm(weight))
            dark = 0.3 * red + 0.6 * green + 0.1 * blue < 0.5
            text = f"{weight:.2f}".lstrip("0")
            ax.text(column, row, text, ha="center", va="center", color="white" if dark else "black", size=8)


def _draw_gold(ax, gold, rows, columns):
    """Outline the cells of gold links: a full line is sure, a broken one possible."""
    sure, possible = parse_links(gold)
    link_matrix(possible, rows, columns)  # raises when a link lies outside
    color = COLORS["highlight"]
    for links, style in ((sure, "-"), (possible - sure, ":")):
        for source, target in links:
            box = Rectangle((source - 0.45, target - 0.45), 0.9, 0.9, fill=False)
            box.set(edgecolor=color, linewidth=1.8, linestyle=style)
            ax.add_patch(box)
    handles = [
        Line2D([], [], color=color, linewidth=1.8, linestyle=style, label=label)
        for style, label in (("-", "gold link, sure"), (":", "gold link, possible"))
    ]
    ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=2)
