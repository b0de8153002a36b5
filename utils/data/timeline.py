"""The models of Figure 1-1: when each came out, how large it is, and which parts it uses."""

import csv
import datetime
import re
from dataclasses import dataclass
from pathlib import Path

TIMELINE = Path(__file__).parents[2] / "data" / "timeline.csv"
PARTS = ("recurrent", "both", "encoder", "decoder")
_COLUMNS = ["name", "date", "parameters", "part", "source"]


@dataclass
class TimelineEntry:
    """A model of the timeline.

    Attributes:
        name: as its authors write it.
        date: the day its first version came out, as "2017-06-12", or the month, as "2021-03".
        parameters: how many, as text ("65 to 213 M"); empty where the source does not say.
        part: "encoder", "decoder", "both", or "recurrent" for what is not a Transformer.
        source: "arXiv:1706.03762", or another report or release.
    """

    name: str
    date: str
    parameters: str
    part: str
    source: str

    @property
    def day(self):
        """The date as a ``datetime.date``; a month counts as its 15th."""
        return datetime.date.fromisoformat(self.date if len(self.date) > 7 else f"{self.date}-15")

    @property
    def arxiv_month(self):
        """The month that the paper's arXiv id begins with, as "2017-06"; None without an id."""
        found = re.fullmatch(r"arXiv:(\d\d)(\d\d)\.\d{5}", self.source)
        return f"20{found[1]}-{found[2]}" if found else None


def load_timeline(path=TIMELINE):
    """Read and check the timeline.

    Args:
        path: a file with the columns name, date, parameters, part and source.

    Returns:
        A list of ``TimelineEntry``, the oldest first.

    Raises:
        ValueError: a damaged row; the message gives the file, the line, and what is wrong.
    """
    with open(path, encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != _COLUMNS:
            raise ValueError(f"{path} must have the columns {_COLUMNS}, not {reader.fieldnames}")
        entries = [_entry(row, f"{path}, line {reader.line_num}") for row in reader]
    names = [entry.name for entry in entries]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{path} has more than one row for {', '.join(twice)}")
    return sorted(entries, key=lambda entry: entry.day)


def _entry(row, place):
    if None in row or None in row.values():
        raise ValueError(f"{place}: a row needs {len(_COLUMNS)} fields, separated by commas")
    entry = TimelineEntry(**row)
    if not entry.name or not entry.source:
        raise ValueError(f"{place}: a row needs a name and a source")
    if entry.part not in PARTS:
        raise ValueError(f"{place} ({entry.name}): the part must be one of {PARTS}, not {entry.part!r}")
    if entry.source.startswith("arXiv:") and entry.arxiv_month is None:
        raise ValueError(f"{place} ({entry.name}): {entry.source!r} is not like 'arXiv:1706.03762'")
    try:
        if not re.fullmatch(r"\d{4}-\d\d(-\d\d)?", entry.date):
            raise ValueError
        _ = entry.day
    except ValueError:
        raise ValueError(
            f"{place} ({entry.name}): the date must be a day such as 2017-06-12 or a month such as 2021-03, "
            f"not {entry.date!r}"
        ) from None
    return entry
