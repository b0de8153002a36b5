"""The timeline of Figure 1-1: a calendar with a column for each year and a lane for each kind of model."""

import math

import pandas as pd
from matplotlib.patches import Rectangle

from scripts.diagrams import Diagram
from utils.loaders import DATA
from utils.plots.style import COLORS

LANES = {  # parts of a Transformer that a model uses: role of the colour, name, and what it is for
    "recurrent": ("text", "recurrent", "no Transformer: reads word after word"),
    "both": ("transformer", "encoder and decoder", "reads one text, writes another"),
    "encoder": ("encoder", "encoder", "reads and judges a text"),
    "decoder": ("decoder", "decoder", "writes a text on, word after word"),
}
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
UNITS = {"M": 1e6, "B": 1e9, "T": 1e12}

_CAPTION = "Month, and parameters of the largest; each piece of a bar is a factor of ten, from 10 million on"
# Tenths of an inch: width of the page, a column of it, a row of models, and the heading of a lane.
_WIDTH, _COLUMN, _ROW, _HEADING = 72, 8.8, 3.9, 2.8


def load_timeline(path=DATA / "timeline.csv"):
    """The models of Figure 1-1, the oldest first: a ``DataFrame`` of text.

    Columns: name; date, a day or a month; dated, what came out on that date (paper, blog or release);
    parameters (empty where the source does not say); part, one of ``LANES``; source; and note, which says why
    the month of an arXiv id differs. The tests say what a row needs.
    """
    return pd.read_csv(path, dtype=str, keep_default_na=False).sort_values("date", kind="stable")


def largest(parameters):
    """The number that a size such as "110 to 340 M" ends with, or None if there is no size."""
    if not parameters:
        return None
    number, unit = parameters.split(" to ")[-1].split()
    return float(number) * UNITS[unit]


def plot_timeline(table, title, bold=()):
    """Draw models in the column of their year and the lane of their part, each above a bar for its size.

    Args:
        table: models as ``load_timeline`` reads them; of a range of sizes the largest is drawn.
        title: what the picture shows, in a sentence.
        bold: names of models that stand out.

    Returns:
        The ``Diagram``.

    Raises:
        ValueError: there are no entries.
    """
    if table.empty:
        raise ValueError("a timeline needs at least one model")
    years = table["date"].str[:4].astype(int)
    first, last = years.min(), years.max()
    cells = {key: list(rows.itertuples()) for key, rows in table.groupby([table["part"], years])}
    rows = {part: max((len(cells.get((part, y), ())) for y in years), default=0) for part in LANES}
    height = sum(_HEADING + _ROW * count + 1 for count in rows.values() if count)
    page = Diagram(_WIDTH, height + 7.8, title)
    page.label(1, height + 3.6, _CAPTION, ha="left", color="muted")
    top = height
    for year in range(first, last + 1):
        x = 1.4 + _COLUMN * (year - first)
        page.label(x, top + 1.3, str(year), ha="left", weight="bold")
    for part, (color, name, purpose) in LANES.items():
        if not rows[part]:
            continue
        bottom = top - _HEADING - _ROW * rows[part]
        page.frame(0.5, bottom, _WIDTH - 0.5, top, color=color)
        for year in range(first + 1, last + 1):
            x = 0.9 + _COLUMN * (year - first)
            page.axes.plot([x, x], [bottom, top - _HEADING], color="white", linewidth=1.2, zorder=1.5)
        page.label(1.4, top - 1.5, name, color=color, weight="bold", ha="left")
        page.label(_WIDTH - 1.4, top - 1.5, purpose, color="muted", ha="right")
        for year in range(first, last + 1):
            for row, entry in enumerate(cells.get((part, year), ())):
                x, y = 1.4 + _COLUMN * (year - first), top - _HEADING - _ROW * row
                _draw(page, x, y, entry, color, entry.name in bold)
        top = bottom - 1
    return page


def _draw(page, x, y, entry, color, bold):
    """Name, month and size of a model, and its bar, with their upper left corner at (x, y)."""
    size, month = largest(entry.parameters), MONTHS[int(entry.date[5:7]) - 1]
    page.label(x, y - 0.7, entry.name, weight="bold" if bold else "normal", ha="left")
    words = [month] if size is None else [month, entry.parameters.split(" to ")[-1]]
    page.label(x, y - 2.05, " · ".join(words), color="muted", ha="left")
    decades = 0 if size is None else math.log10(size) - 7
    for piece in range(math.ceil(decades)):
        width = 1.2 * min(decades - piece, 1)
        bar = Rectangle((x + 1.35 * piece, y - 3.3), width, 0.5, facecolor=COLORS[color], zorder=3)
        page.axes.add_patch(bar)
