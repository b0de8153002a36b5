"""Charts that several notebooks draw: learning curves, hidden states, decoding steps, quality by
length and by the number of labels.
"""

import statistics

import matplotlib.pyplot as plt

from utils.plots.style import COLORS

_MARKS = (("s", "--"), ("o", "-"), ("^", "-."))


def plot_learning_curve(losses, shares, steps, title=None):
    """Draw how the loss falls and how the share of right translations rises in one training.

    Args:
        losses: training loss in nats per token, one for each part of the training.
        shares: share of validation sentences that are exactly right, from 0 to 1, as many.
        steps: the step at which each of them was measured.
        title: what the picture shows, in a sentence.

    Returns:
        The ``Figure``.

    Raises:
        ValueError: lists of different lengths.
    """
    if not len(losses) == len(shares) == len(steps) > 0:
        raise ValueError(
            f"as many losses as shares and steps are needed, at least one: {len(losses)}, {len(shares)}, "
            f"{len(steps)}"
        )
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.8))
    left.plot(steps, losses, "o-", color=COLORS["decoder"])
    left.set(xlabel="training step", ylabel="loss (nats per word)", ylim=(0, None))
    right.plot(steps, [100 * share for share in shares], "o-", color=COLORS["encoder"])
    right.set(xlabel="training step", ylabel="exactly right (%)", ylim=(0, 105))
    if title:
        figure.suptitle(title, x=0.01, ha="left", weight="bold")
    return figure


def plot_hidden_state(states, labels, xlabel, title=None, size=(7.2, 3.0)):
    """Draw hidden states as strips of colour, one row each.

    Args:
        states: tensor [rows, units] of values from -1 to 1.
        labels: a text for each row.
        xlabel: what a column is.
        title: what the picture shows, in a sentence.
        size: of the figure, in inches.

    Returns:
        The ``Figure``.

    Raises:
        ValueError: as many labels as rows are needed.
    """
    if states.ndim != 2 or states.size(0) != len(labels):
        raise ValueError(
            f"{len(labels)} labels need states of shape [{len(labels)}, units], not {list(states.shape)}"
        )
    figure, ax = plt.subplots(figsize=size)
    image = ax.imshow(
        states.detach().numpy(), cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto", interpolation="nearest"
    )
    ax.set_yticks(range(len(labels)), labels)
    ax.set_xlabel(xlabel)
    ax.grid(False)
    if title:
        ax.set_title(title)
    figure.colorbar(image, ax=ax, label="value (−1 to 1)")
    return figure


def plot_decoding_steps(steps, title=None):
    """Draw a table of the likeliest words at each step of decoding, the darker the likelier.

    Args:
        steps: for each step a list of pairs (word, probability), the likeliest first.
        title: what the picture shows, in a sentence.

    Returns:
        The ``Figure``.

    Raises:
        ValueError: no steps, or steps with different numbers of words.
    """
    if not steps or len({len(step) for step in steps}) != 1 or not steps[0]:
        raise ValueError("every step needs the same number of candidates, at least one")
    ranks = len(steps[0])
    figure, ax = plt.subplots(figsize=(max(3.5, 1.25 * len(steps) + 1.0), 0.55 * ranks + 1.1))
    ax.imshow(
        [[step[rank][1] for step in steps] for rank in range(ranks)],
        cmap="Oranges",
        vmin=0,
        vmax=1.8,  # so that black text can be read on the darkest cell
        aspect="auto",
    )
    for column, step in enumerate(steps):
        for rank, (word, probability) in enumerate(step):
            text = f"{word}\n{probability:.2f}" if probability >= 0.005 else f"{word}\n< 0.01"
            style = {"family": "monospace", "weight": "bold" if rank == 0 else "normal", "color": "black"}
            ax.text(column, rank, text, ha="center", va="center", size=8, **style)
    ax.set_xticks(range(len(steps)), [f"step {number}" for number in range(1, len(steps) + 1)])
    ax.set_yticks(range(ranks), ["likeliest", "second", "third", "fourth", "fifth"][:ranks])
    ax.set_xticks([column + 0.5 for column in range(len(steps) - 1)], minor=True)
    ax.grid(False)
    ax.grid(True, axis="x", which="minor", color="white", linewidth=3)
    ax.tick_params(length=0, which="both")
    if title:
        ax.set_title(title)
    return figure


def plot_quality_by_length(
    arms,
    measure="exact",
    title=None,
    ylabel="exactly right (%)",
    colors=("encoder", "attention", "transformer"),
):
    """Draw quality against sentence length, with the range over seeds.

    Args:
        arms: a dictionary from a name to rows with the keys low, high, and ``measure``; an arm has a
            row for each range of lengths, and several for each if it was trained with several seeds.
        measure: the key that is drawn; "exact" is a share and is drawn in percent.
        title: what the picture shows, in a sentence.
        ylabel: quantity and unit.
        colors: the role in ``COLORS`` of each arm.

    Returns:
        The ``Figure``.

    Raises:
        ValueError: no arms, more than can be told apart, or arms with different ranges.
    """
    ranges = {name: sorted({(row["low"], row["high"]) for row in rows}) for name, rows in arms.items()}
    if not 1 <= len(arms) <= len(_MARKS):
        raise ValueError(f"from 1 to {len(_MARKS)} arms can be drawn, not {len(arms)}")
    if len({tuple(found) for found in ranges.values()}) != 1:
        raise ValueError(f"all arms need the same ranges of lengths: {ranges}")
    figure, ax = plt.subplots(figsize=(7.2, 3.2))
    looks = zip(arms.items(), colors, _MARKS, strict=False)
    for offset, ((name, rows), color, (marker, line)) in enumerate(looks):
        scale = 100 if measure == "exact" else 1
        values = [
            [scale * row[measure] for row in rows if (row["low"], row["high"]) == found]
            for found in ranges[name]
        ]
        middle = [statistics.mean(found) for found in values]
        spread = [
            [m - min(found) for m, found in zip(middle, values, strict=True)],
            [max(found) - m for m, found in zip(middle, values, strict=True)],
        ]
        # A little to the side, so that the bars of two arms do not hide each other.
        places = [place + 0.06 * (offset - (len(arms) - 1) / 2) for place in range(len(values))]
        style = {"color": COLORS[color], "marker": marker, "linestyle": line, "capsize": 3, "label": name}
        ax.errorbar(places, middle, yerr=spread, **style)
    ax.set_xticks(range(len(values)), [f"{low} to {high}" for low, high in ranges[name]])
    ax.set(xlabel="words in the English sentence", ylabel=ylabel)
    ax.set_ylim(0, 105)
    ax.margins(x=0.06)
    if len(arms) > 1:
        ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
    if title:
        ax.set_title(title)
    return figure


def plot_label_efficiency(rows, looks, measures, chance=None, title=None, xlabel="labelled texts"):
    """Draw accuracy against the number of labels, with the range over seeds; a panel for each measure.

    Args:
        rows: dictionaries with the keys arm, labels, and the measures, one for each arm, number of
            labels and seed.
        looks: the arms to draw, a dictionary from each to its role in ``COLORS`` and a format of
            matplotlib such as "o-".
        measures: a dictionary from a key of the rows to the title of its panel; shares from 0 to 1.
        chance: the share that guessing gets, drawn as a dotted line with its name.
        title: what the picture shows, in a sentence.
        xlabel: what is labelled.

    Returns:
        The ``Figure``.

    Raises:
        ValueError: no measures, or an arm without rows.
    """
    missing = [arm for arm in looks if all(row["arm"] != arm for row in rows)]
    if missing or not measures or not looks:
        raise ValueError(f"arms and measures are needed, and rows for each arm; without rows: {missing}")
    size = (7.2, 3.4)
    figure, axes = plt.subplots(
        1, len(measures), figsize=size, sharey=True, squeeze=False, layout="constrained"
    )
    for ax, (measure, panel) in zip(axes[0], measures.items(), strict=True):
        for arm, (color, style) in looks.items():
            counts = sorted({row["labels"] for row in rows if row["arm"] == arm})
            found = [
                [100 * row[measure] for row in rows if (row["arm"], row["labels"]) == (arm, count)]
                for count in counts
            ]
            ax.plot(counts, list(map(statistics.mean, found)), style, color=COLORS[color], label=arm)
            ax.fill_between(
                counts,
                list(map(min, found)),
                list(map(max, found)),
                color=COLORS[color],
                alpha=0.13,
                linewidth=0,
            )
        if chance is not None:
            ax.axhline(100 * chance, color=COLORS["light"], linestyle=":")
            place = {"transform": ax.get_yaxis_transform(), "ha": "right", "va": "top"}
            ax.text(0.995, 100 * chance - 0.5, "chance", size=8, **place)
        counts = sorted({row["labels"] for row in rows if row["arm"] in looks})
        ax.set_xscale("log")
        ax.set_xticks(counts, counts)
        ax.minorticks_off()
        ax.set(xlabel=xlabel, ylim=(0 if chance is None else 100 * chance - 20, 100))
        ax.set_title(panel, weight="normal", size=10)
    axes[0][0].set_ylabel("accuracy (%)")
    figure.legend(
        *axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=len(looks), frameon=False
    )
    if title:
        figure.suptitle(title, x=0.01, ha="left", weight="bold")
    return figure
