"""Charts that several notebooks draw: learning curves, hidden states, decoding steps, quality by
length and by the number of labels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy
import pandas
import seaborn
from matplotlib.figure import Figure

from utils.plots.heat_map import as_array
from utils.plots.style import COLORS, as_typed

_MARKS, _LINES = ("s", "o", "^"), ("--", "-", "-.")
_RANGE = {"errorbar": ("pi", 100)}  # from the worst to the best seed


@as_typed
def plot_learning_curve(
    losses: Sequence[float], shares: Sequence[float], steps: Sequence[int], title: str | None = None
) -> Figure:
    """Draw how the loss falls and how the share of right translations rises in one training.

    Args:
        losses: training loss in nats per token, one for each part of the training.
        shares: share of validation sentences that are exactly right, from 0 to 1, as many.
        steps: the step at which each of them was measured.
        title: what the picture shows, in a sentence.

    Raises:
        ValueError: lists of different lengths.
    """
    counts = len(losses), len(shares), len(steps)
    if len(set(counts)) != 1 or not len(steps):
        raise ValueError(
            f"as many losses as shares and steps are needed, at least one: {', '.join(map(str, counts))}"
        )
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.8), layout="constrained")
    seaborn.lineplot(x=steps, y=losses, ax=left, marker="o", color=COLORS["decoder"])
    left.set(xlabel="training step", ylabel="loss (nats per word)", ylim=(0, None))
    seaborn.lineplot(x=steps, y=100 * as_array(shares), ax=right, marker="o", color=COLORS["encoder"])
    right.set(xlabel="training step", ylabel="exactly right (%)", ylim=(0, 105))
    return _headed(figure, title)


@as_typed
def plot_hidden_state(
    states: Any,
    labels: Sequence[str],
    xlabel: str,
    title: str | None = None,
    size: tuple[float, float] = (7.2, 3.0),
) -> Figure:
    """Draw hidden states as strips of colour, one row each.

    Args:
        states: values from -1 to 1 of shape [rows, units], a tensor of any number type or an array.
        labels: a text for each row.
        xlabel: what a column is.
        title: what the picture shows, in a sentence.
        size: of the figure, in inches.

    Raises:
        ValueError: as many labels as rows are needed.
    """
    values = as_array(states)
    if values.ndim != 2 or len(values) != len(labels):
        raise ValueError(
            f"{len(labels)} labels need states of shape [{len(labels)}, units], not {list(values.shape)}"
        )
    figure, ax = plt.subplots(figsize=size, layout="constrained")
    look = {"cmap": "RdBu_r", "vmin": -1, "vmax": 1, "cbar_kws": {"label": "value (−1 to 1)"}}
    every = max(1, values.shape[1] // 10)  # column that gets its number
    seaborn.heatmap(values, ax=ax, yticklabels=list(labels), xticklabels=every, **look)
    ax.tick_params(length=0, labelrotation=0)
    ax.set_xlabel(xlabel)
    return _headed(figure, title)


@as_typed
def plot_decoding_steps(steps: Sequence[Sequence[tuple[str, float]]], title: str | None = None) -> Figure:
    """Draw a table of the likeliest words at each step of decoding, the darker the likelier.

    Args:
        steps: for each step a list of pairs (word, probability), the likeliest first.
        title: what the picture shows, in a sentence.

    Raises:
        ValueError: no steps, or steps with different numbers of words.
    """
    if not steps or len({len(step) for step in steps}) != 1 or not steps[0]:
        raise ValueError("every step needs the same number of candidates, at least one")
    ranks = len(steps[0])
    values = numpy.array([[step[rank][1] for step in steps] for rank in range(ranks)])
    texts = [
        [f"{word}\n{share:.2f}" if share >= 0.005 else f"{word}\n< 0.01" for word, share in row]
        for row in zip(*steps, strict=True)
    ]
    names = [f"step {number}" for number in range(1, len(steps) + 1)]
    places = ["likeliest", "second", "third", "fourth", "fifth", *map(str, range(6, ranks + 1))][:ranks]
    size = max(3.5, 1.25 * len(steps) + 1.0), 0.55 * ranks + 1.1
    figure, ax = plt.subplots(figsize=size, layout="constrained")
    look = {"cmap": "Oranges", "vmin": 0, "vmax": 1.8, "cbar": False}  # black can be read on the darkest
    style = {"family": "monospace", "color": "black", "size": 8}
    frame = pandas.DataFrame(values, index=places, columns=names)
    seaborn.heatmap(frame, ax=ax, annot=numpy.array(texts), fmt="", annot_kws=style, linewidths=2, **look)
    for text in ax.texts[: len(steps)]:
        text.set_weight("bold")
    ax.tick_params(length=0, labelrotation=0)
    return _headed(figure, title)


@as_typed
def plot_quality_by_length(
    arms: Mapping[str, Any],
    measure: str = "exact",
    title: str | None = None,
    ylabel: str = "exactly right (%)",
    colors: Sequence[str] = ("encoder", "attention", "transformer"),
) -> Figure:
    """Draw quality against sentence length, with the range over seeds.

    Args:
        arms: a dictionary from a name to a ``DataFrame``, or rows, with the columns low, high and
            ``measure``: a row for each range of lengths, and for each seed.
        measure: the column that is drawn; "exact" is a share and is drawn in percent.
        title: what the picture shows, in a sentence.
        ylabel: quantity and unit.
        colors: the role in ``COLORS`` of each arm.

    Raises:
        ValueError: no arms, more than can be told apart, or arms with different ranges.
    """
    if not 1 <= len(arms) <= len(_MARKS):
        raise ValueError(f"from 1 to {len(_MARKS)} arms can be drawn, not {len(arms)}")
    data = pandas.concat([pandas.DataFrame(rows).assign(arm=name) for name, rows in arms.items()])
    data = data.sort_values("low", kind="stable")
    data["range"] = [f"{low} to {high}" for low, high in zip(data["low"], data["high"], strict=True)]
    ranges = {name: list(data["range"][data["arm"] == name].unique()) for name in arms}
    if len(set(map(tuple, ranges.values()))) != 1:
        raise ValueError(f"all arms need the same ranges of lengths: {ranges}")
    data[measure] *= 100 if measure == "exact" else 1
    figure, ax = plt.subplots(figsize=(7.2, 3.2), layout="constrained")
    count = len(arms)
    seaborn.pointplot(
        data, x="range", y=measure, hue="arm", hue_order=list(arms), ax=ax, capsize=0.05, linewidth=1.8,
        dodge=0.06 * (count - 1) if count > 1 else False, palette=[COLORS[color] for color in colors[:count]],
        markers=list(_MARKS[:count]), linestyles=list(_LINES[:count]), legend=count > 1, **_RANGE,
    )  # fmt: skip
    ax.set(xlabel="words in the English sentence", ylabel=ylabel, ylim=(0, None))
    if count > 1:
        seaborn.move_legend(ax, "upper left", bbox_to_anchor=(1.01, 1), frameon=False, title=None)
    return _headed(figure, title)


@as_typed
def plot_label_efficiency(
    rows: Any,
    looks: Mapping[str, tuple[str, str]],
    measures: Mapping[str, str],
    chance: float | None = None,
    title: str | None = None,
    xlabel: str = "labelled texts",
) -> Figure:
    """Draw accuracy against the number of labels, with the range over seeds; a panel for each measure.

    Args:
        rows: a ``DataFrame``, or rows, with the columns arm, labels, and the measures: a row for each
            arm, number of labels and seed.
        looks: the arms to draw, a dictionary from each to its role in ``COLORS`` and its marker and
            line, such as "o-".
        measures: a dictionary from a column to the title of its panel; shares from 0 to 1.
        chance: the share that guessing gets, drawn as a dotted line with its name.
        title: what the picture shows, in a sentence.
        xlabel: what is labelled.

    Raises:
        ValueError: no measures, or an arm without rows.
    """
    data = pandas.DataFrame(rows)
    missing = [arm for arm in looks if arm not in set(data["arm"])]
    if missing or not measures or not looks:
        raise ValueError(f"arms and measures are needed, and rows for each arm; without rows: {missing}")
    data = data[data["arm"].isin(list(looks))]
    counts = sorted(data["labels"].unique())
    look: dict[str, Any] = {"figsize": (7.2, 3.4), "sharey": True, "squeeze": False, "layout": "constrained"}
    figure, axes = plt.subplots(1, len(measures), **look)
    for ax, (measure, panel) in zip(axes[0], measures.items(), strict=True):
        for arm, (color, style) in looks.items():
            part = data[data["arm"] == arm]
            line = {"color": COLORS[color], "marker": style[0], "linestyle": style[1:] or "-"}
            seaborn.lineplot(
                x=part["labels"], y=100 * part[measure], ax=ax, label=arm, legend=False,
                err_kws={"alpha": 0.13, "linewidth": 0}, **line, **_RANGE,
            )  # fmt: skip
        if chance is not None:
            ax.axhline(100 * chance, color=COLORS["light"], linestyle=":")
            place: dict[str, Any] = {"transform": ax.get_yaxis_transform(), "ha": "right", "va": "bottom"}
            ax.text(0.995, 100 * chance, "chance", size=8, **place)
        ax.set_xscale("log")
        ax.set_xticks(counts, list(map(str, counts)))
        ax.minorticks_off()
        ax.set(xlabel=f"{xlabel} (logarithmic)", ylabel="accuracy (%)")
        ax.set_title(panel, weight="normal", size=10, loc="left")
    handles = axes[0][0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=len(looks), frameon=False)
    return _headed(figure, title)


def _headed(figure: Figure, title: str | None) -> Figure:
    if title:
        figure.suptitle(title, x=0.01, ha="left", weight="bold", size=10)
    return figure
