"""The timeline of Figure 1-1: labels like flags on poles, placed so that nothing overlaps."""

import datetime

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from scripts.diagrams import Diagram
from utils.loaders import PARTS
from utils.plots.style import COLORS

_LANES = {  # name, role of its colour, marker
    "recurrent": ("recurrent", "text", "D"),
    "both": ("encoder\nand decoder", "transformer", "s"),
    "encoder": ("encoder", "encoder", "o"),
    "decoder": ("decoder", "decoder", "^"),
}

_CAPTION = "Date of the first version, parameters of the largest; the story of this chapter is in bold"

# Tenths of an inch: width of the page, margin for the names of the lanes, a level, and around a lane.
_WIDTH, _MARGIN, _LEVEL, _GAP = 72, 10.5, 1.45, 1.5


def flag_levels(starts, widths):
    """Give each flag a height, so that no flag touches another one or another one's pole.

    A flag begins at its pole and flies to the right. Seen from the right, each takes the lowest level
    above all flags whose poles stand below it.

    Args:
        starts: where the poles stand.
        widths: how long the flags are.

    Returns:
        A list of levels, 1 being the lowest.
    """
    levels = {}
    for index in sorted(range(len(starts)), key=lambda index: (starts[index], index), reverse=True):
        end = starts[index] + widths[index]
        levels[index] = 1 + max((levels[other] for other in levels if starts[other] < end), default=0)
    return [levels[index] for index in range(len(starts))]


def plot_timeline(table, title, bold=()):
    """Draw models by date, one lane for each of the parts that they use.

    Args:
        table: models as ``load_timeline`` reads them; of a range of sizes the largest is written.
        title: what the picture shows, in a sentence.
        bold: names of models that stand out.

    Returns:
        The ``Diagram``.

    Raises:
        ValueError: there are no entries.
    """
    entries = list(table.itertuples())
    if not entries:
        raise ValueError("a timeline needs at least one model")
    flags = {}
    for entry in entries:
        weight = "bold" if entry.name in bold else "normal"
        size = entry.parameters.split(" to ")[-1]
        flags[entry.name] = (weight, size, _length(entry.name, weight), _length(size, "normal"))
    lengths = {name: 1.8 + flag[2] + flag[3] for name, flag in flags.items()}
    first, last = (pick(entry.day.year for entry in entries) for pick in (min, max))
    start, years = datetime.date(first, 1, 1).toordinal(), range(first, last + 2)
    marks = {year: datetime.date(year, 1, 1).toordinal() - start for year in years}
    scale = (_WIDTH - _MARGIN - max(lengths.values()) - 0.5) / max(marks.values())
    lanes, top = [], 3.4
    for part in reversed(PARTS):
        members = [entry for entry in entries if entry.part == part]
        poles = [_MARGIN + scale * (entry.day.toordinal() - start) for entry in members]
        levels = flag_levels(poles, [lengths[entry.name] for entry in members])
        height = _LEVEL * max(levels, default=1) + 2 * _GAP
        lanes.append((part, top, height, list(zip(members, poles, levels, strict=True))))
        top += height
    page = Diagram(_WIDTH, top + 6, title)
    page.label(1, top + 1.6, _CAPTION, ha="left", color="muted")
    for year, days in marks.items():
        x = _MARGIN + scale * days
        page.axes.plot([x, x], [3, top - 0.5], color="white", linewidth=1.2, zorder=1.5)
        page.label(x, 1.8, str(year))
    for part, bottom, height, members in lanes:
        name, color, marker = _LANES[part]
        page.frame(0.5, bottom, _WIDTH - 0.5, bottom + height - 0.5, color=color)
        page.label(1.6, bottom + height / 2, name, color=color, weight="bold", ha="left")
        for entry, x, level in members:
            weight, size, length, _ = flags[entry.name]
            y = bottom + 1.0 + _LEVEL * level
            page.axes.plot([x, x], [bottom + 1.0, y + 0.55], color=COLORS[color], linewidth=0.9, zorder=2)
            page.axes.plot(x, bottom + 1.0, marker, color=COLORS[color], markersize=4, zorder=3)
            page.label(x + 0.5, y, entry.name, weight=weight, ha="left")
            page.label(x + 1.1 + length, y, size, color="muted", ha="left")
    return page


def _length(text, weight):
    """Width of a text of 8 points in tenths of an inch."""
    if not text:
        return 0.0
    return TextPath((0, 0), text, size=8, prop=FontProperties(weight=weight)).get_extents().x1 / 7.2
