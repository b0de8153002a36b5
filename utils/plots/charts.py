"""Charts that several notebooks draw: learning curves, hidden states, decoding steps, quality by
length and by the number of labels.

Each takes a ``title``, which says in a sentence what the picture shows, and returns its ``Figure``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import pandas
import seaborn
from matplotlib.figure import Figure

from utils.plots.heat_map import as_array
from utils.plots.style import COLORS, as_typed

_LOOKS = ("s--", "o-", "^-.")  # marker and line


@as_typed
def plot_learning_curve(
    losses: Sequence[float], shares: Sequence[float], steps: Sequence[int], title: str | None = None
) -> Figure:
    """Draw how the loss falls and how the share of right translations rises in one training.

    Args:
        losses: training loss in nats per token, one for each part of the training.
        shares: share of validation sentences that are exactly right, from 0 to 1, as many.
        steps: the step at which each of them was measured.

    Raises:
        ValueError: lists of different lengths, or empty ones.
    """
    if not len(losses) == len(shares) == len(steps) > 0:
        found = f"{len(losses)}, {len(shares)}, {len(steps)}"
        raise ValueError(f"as many losses as shares and steps are needed, at least one: {found}")
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.8), layout="constrained")
    seaborn.lineplot(x=steps, y=losses, ax=left, marker="o", color=COLORS["decoder"])
    left.set(xlabel="training step", ylabel="loss (nats per word)", ylim=(0, None))
    seaborn.lineplot(x=steps, y=100 * as_array(shares), ax=right, marker="o", color=COLORS["encoder"])
    right.set(xlabel="training step", ylabel="exactly right (%)", ylim=(0, 105))
    return _headed(figure, title)


@as_typed
def plot_hidden_state(
    states: Any, labels: Sequence[str], xlabel: str, title: str | None = None, size: tuple = (7.2, 3.0)
) -> Figure:
    """Draw hidden states as strips of colour, one row each.

    Args:
        states: values from -1 to 1 of shape [rows, units], a tensor of any number type or an array.
        labels: a text for each row.
        xlabel: what a column is.
        size: of the figure, in inches.

    Raises:
        ValueError: as many labels as rows are needed.
    """
    values, count = as_array(states), len(labels)
    if values.ndim != 2 or len(values) != count:
        raise ValueError(f"{count} labels need states of shape [{count}, units], not {list(values.shape)}")
    figure, ax = plt.subplots(figsize=size, layout="constrained")
    look: dict[str, Any] = {"cmap": "RdBu_r", "vmin": -1, "vmax": 1, "cbar_kws": {"label": "value (−1 to 1)"}}
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

    Raises:
        ValueError: no steps, or steps with different numbers of words.
    """
    if not steps or len({len(step) for step in steps}) != 1 or not steps[0]:
        raise ValueError("every step needs the same number of candidates, at least one")
    ranks = ["likeliest", "second", "third", "fourth", "fifth", *map(str, range(6, len(steps[0]) + 1))]
    table = pandas.DataFrame(steps, index=[f"step {number}" for number in range(1, len(steps) + 1)]).T
    table.index = ranks[: len(table)]
    texts = table.map(lambda pair: f"{pair[0]}\n{pair[1]:.2f}" if pair[1] >= 0.005 else f"{pair[0]}\n< 0.01")
    size = max(3.5, 1.25 * len(steps) + 1.0), 0.55 * len(table) + 1.1
    figure, ax = plt.subplots(figsize=size, layout="constrained")
    look: dict[str, Any] = {"cmap": "Oranges", "vmin": 0, "vmax": 1.8, "cbar": False, "linewidths": 2}
    letters = {"family": "monospace", "color": "black", "size": 8}  # readable on the darkest
    shares = table.map(lambda pair: float(pair[1]))
    seaborn.heatmap(shares, ax=ax, annot=texts.to_numpy(), fmt="", annot_kws=letters, **look)
    plt.setp(ax.texts[: len(steps)], weight="bold")
    ax.tick_params(length=0, labelrotation=0)
    return _headed(figure, title)


@as_typed
def plot_quality_by_length(
    arms: Mapping[str, Any], measure: str = "exact", title: str | None = None,
    ylabel: str = "exactly right (%)", colors: Sequence[str] = ("encoder", "attention", "transformer"),
) -> Figure:  # fmt: skip
    """Draw quality against sentence length, with the range over seeds.

    Args:
        arms: a dictionary from a name to a ``DataFrame``, or rows, with the columns low, high and
            ``measure``: a row for each range of lengths, and for each seed.
        measure: the column that is drawn; "exact" is a share and is drawn in percent.
        ylabel: quantity and unit.
        colors: the role in ``COLORS`` of each arm.

    Raises:
        ValueError: no arms, more than can be told apart, or arms with different ranges.
    """
    if not 1 <= len(arms) <= len(_LOOKS):
        raise ValueError(f"from 1 to {len(_LOOKS)} arms can be drawn, not {len(arms)}")
    tables = {name: pandas.DataFrame(rows).sort_values("low") for name, rows in arms.items()}
    places = {
        name: [f"{low} to {high}" for low, high in table[["low", "high"]].to_numpy()]
        for name, table in tables.items()
    }
    ranges = {name: list(dict.fromkeys(found)) for name, found in places.items()}
    if len({tuple(found) for found in ranges.values()}) != 1:
        raise ValueError(f"all arms need the same ranges of lengths: {ranges}")
    figure, ax = plt.subplots(figsize=(7.2, 3.2), layout="constrained")
    for number, (name, table) in enumerate(tables.items()):
        x = [ranges[name].index(place) + 0.06 * (number - (len(arms) - 1) / 2) for place in places[name]]
        y = table[measure] * (100 if measure == "exact" else 1)
        _draw_arm(ax, x, y, name, colors[number], _LOOKS[number], "bars", capsize=3)
    ax.set_xticks(range(len(next(iter(ranges.values())))), next(iter(ranges.values())))
    ax.set(xlabel="words in the English sentence", ylabel=ylabel, ylim=(0, None))
    if len(arms) > 1:
        ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    return _headed(figure, title)


@as_typed
def plot_label_efficiency(
    rows: Any, looks: Mapping[str, tuple[str, str]], measures: Mapping[str, str],
    chance: float | None = None, title: str | None = None, xlabel: str = "labelled texts",
) -> Figure:  # fmt: skip
    """Draw accuracy against the number of labels, with the range over seeds; a panel for each measure.

    Args:
        rows: a ``DataFrame``, or rows, with the columns arm, labels, and the measures: a row for each
            arm, number of labels and seed.
        looks: the arms to draw, a dictionary from each to its role in ``COLORS``, and its marker and
            line, such as "o-".
        measures: a dictionary from a column to the title of its panel; shares from 0 to 1.
        chance: the share that guessing gets, drawn as a dotted line with its name.
        xlabel: what is labelled.

    Raises:
        ValueError: no measures, or an arm without rows.
    """
    data = pandas.DataFrame(rows)
    missing = [arm for arm in looks if arm not in set(data["arm"])]
    if missing or not measures or not looks:
        raise ValueError(f"arms and measures are needed, and rows for each arm; without rows: {missing}")
    counts = sorted(set(data["labels"][data["arm"].isin(list(looks))]))
    size: dict[str, Any] = {"figsize": (7.2, 3.4), "sharey": True, "squeeze": False, "layout": "constrained"}
    figure, axes = plt.subplots(1, len(measures), **size)
    for ax, (measure, panel) in zip(axes[0], measures.items(), strict=True):
        for arm, (color, look) in looks.items():
            part = data[data["arm"] == arm]
            values = 100 * part[measure]
            _draw_arm(ax, part["labels"], values, arm, color, look, "band", alpha=0.13, linewidth=0)
        if chance is not None:
            ax.axhline(100 * chance, color=COLORS["light"], linestyle=":")
            place = {"xycoords": ("axes fraction", "data"), "ha": "right", "va": "bottom"}
            ax.annotate("chance", (0.995, 100 * chance), size=8, **place)
        ax.set_xscale("log")
        ax.set_xticks(counts, list(map(str, counts)))
        ax.minorticks_off()
        ax.set(xlabel=f"{xlabel} (logarithmic)", ylabel="accuracy (%)")
        ax.set_title(panel, weight="normal", size=10, loc="left")
    handles = axes[0][0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=len(looks), frameon=False)
    return _headed(figure, title)


def _draw_arm(ax, x, y, name, color, look, spread, **err_kws):
    """A line through the means, with the range from the worst to the best seed."""
    style: dict[str, Any] = {"color": COLORS[color], "marker": look[0], "linestyle": look[1:] or "-"}
    style |= {"errorbar": ("pi", 100), "err_style": spread, "err_kws": err_kws}
    seaborn.lineplot(x=x, y=y, ax=ax, label=name, legend=False, **style)


def _headed(figure: Figure, title: str | None) -> Figure:
    if title:
        figure.suptitle(title, x=0.01, ha="left", weight="bold", size=10)
    return figure
