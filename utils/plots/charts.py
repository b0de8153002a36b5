"""Quality by length, the chart of notebook 01, *Where one vector gives way*, and of notebook 02."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from utils.plots.style import COLORS

_LOOKS = ("s--", "o-", "^-.")  # marker and line


def plot_quality_by_length(
    arms: Mapping[str, Any], measure: str = "exact", title: str | None = None,
    ylabel: str = "exactly right (%)", colors: Sequence[str] = ("encoder", "attention", "transformer"),
) -> Figure:  # fmt: skip
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
    import pandas  # these are imported here, because they take long
    import seaborn

    if not 1 <= len(arms) <= len(_LOOKS):
        raise ValueError(f"from 1 to {len(_LOOKS)} arms can be drawn, not {len(arms)}")
    tables = {name: pandas.DataFrame(rows).sort_values("low") for name, rows in arms.items()}
    places = {
        name: [f"{low} to {high}" for low, high in table[["low", "high"]].to_numpy()]
        for name, table in tables.items()
    }
    ranges, *others = [list(dict.fromkeys(found)) for found in places.values()]
    if any(other != ranges for other in others):
        raise ValueError(f"all arms need the same ranges of lengths: {[ranges, *others]}")
    with plt.rc_context({"text.parse_math": False}):  # a $ in a name is a dollar, not mathematics
        figure, ax = plt.subplots(figsize=(7.2, 3.2), layout="constrained")
        for number, (name, table) in enumerate(tables.items()):
            x = [ranges.index(place) + 0.06 * (number - (len(arms) - 1) / 2) for place in places[name]]
            y = table[measure] * (100 if measure == "exact" else 1)
            marker, line = _LOOKS[number][0], _LOOKS[number][1:]
            style: dict[str, Any] = {"color": COLORS[colors[number]], "marker": marker, "linestyle": line}
            spread: dict[str, Any] = {"errorbar": ("pi", 100), "err_style": "bars", "err_kws": {"capsize": 3}}
            seaborn.lineplot(x=x, y=y, ax=ax, label=name, legend=False, **style, **spread)
        ax.set_xticks(range(len(ranges)), ranges)
        ax.set(xlabel="words in the English sentence", ylabel=ylabel, ylim=(0, None))
        if len(arms) > 1:
            ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
        if title:
            figure.suptitle(title, x=0.01, ha="left", weight="bold", size=10)
    return figure
