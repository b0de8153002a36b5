"""The captions that were written for this project, with their hand-made alignments.

The film reviews that were written for this project, with their labels.

The models of Figure 1-1: when each came out, how large it is, and which parts it uses.

Shipped results: tables in ``data/results``, and beside each how it was made.
"""

import csv
import datetime
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from datasets import Dataset, DatasetDict, Features, Value

from utils.alignment import link_matrix, parse_links

CAPTIONS = Path(__file__).parents[1] / "data" / "captions.tsv"


def load_captions(aligned_only=False):
    """Load the 110 caption triples in ``data/captions.tsv``; see the card beside the file.

    Args:
        aligned_only: whether only those with word alignments are wanted.

    Returns:
        A ``datasets.Dataset`` with the text columns id, en, fr, de (tokens separated by spaces) and
        links_en_fr (Pharaoh form, empty where there are none).
    """
    with open(CAPTIONS, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return Dataset.from_list([row for row in rows if row["links_en_fr"] or not aligned_only])


def gold_alignment(row):
    """The sure and the possible links of one row, as matrices [target words, source words]."""
    shape = len(row["fr"].split()), len(row["en"].split())
    sure, possible = parse_links(row["links_en_fr"])
    return link_matrix(sure, *shape), link_matrix(possible, *shape)


REVIEWS = Path(__file__).parents[1] / "data" / "reviews.csv"


REVIEW_LABELS = ("negative", "positive")


REVIEW_SPLITS = ("train", "validation", "test", "challenge")


_FEATURES = Features(
    {
        "id": Value("string"),
        "text": Value("string"),
        "label": Value("int64"),
        "stars": Value("int64"),
        "kind": Value("string"),
    }
)


def load_reviews(path=REVIEWS):
    """Load the film reviews in ``data/reviews.csv``; see the card beside the file.

    Args:
        path: a file with the columns id, split, label, stars, kind and text.

    Returns:
        A ``datasets.DatasetDict`` with the splits train, validation, test and challenge, each with the
        columns id, text, label (0 negative, 1 positive), stars (1 to 5) and kind ("plain", or one of
        the hard kinds "negation", "contrast", "irony", "faint").

    Raises:
        ValueError: a review without text, or with an unknown label, split or number of stars; the
            message names the review.
    """
    rows = {split: [] for split in REVIEW_SPLITS}
    with open(path, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            _check(row)
            label, stars = REVIEW_LABELS.index(row["label"]), int(row["stars"])
            rows[row["split"]].append(row | {"label": label, "stars": stars})
    columns = {
        split: {name: [row[name] for row in part] for name in _FEATURES} for split, part in rows.items()
    }
    return DatasetDict({split: Dataset.from_dict(part, _FEATURES) for split, part in columns.items()})


def choose_labelled(labels, count, seed):
    """Choose examples at random, as many of each label.

    Args:
        labels: the label of each example.
        count: how many to choose in all; all of them if ``count`` is their number.
        seed: of the choice.

    Returns:
        A list of indices.

    Raises:
        ValueError: so many cannot be had, or not as many of each.
    """
    if count == len(labels):
        return list(range(count))
    order = np.random.default_rng(seed).permutation(len(labels)).tolist()
    kinds = sorted(set(labels))
    chosen = [[i for i in order if labels[i] == kind][: count // len(kinds)] for kind in kinds]
    if count % len(kinds) or sum(map(len, chosen)) != count or not count:
        raise ValueError(
            f"{count} examples, as many of each of {len(kinds)} labels, cannot be chosen from {len(labels)}"
        )
    return [i for indices in chosen for i in indices]


def _check(row):
    if not (row["text"] or "").strip():
        raise ValueError(f"review {row['id']} has no text; write one or take the line out")
    for name, allowed in (("label", REVIEW_LABELS), ("split", REVIEW_SPLITS), ("stars", tuple("12345"))):
        if row[name] not in allowed:
            raise ValueError(
                f"review {row['id']} has the {name} {row[name]!r}; it must be one of {', '.join(allowed)}"
            )


TIMELINE = Path(__file__).parents[1] / "data" / "timeline.csv"


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


RESULTS = Path(__file__).parents[1] / "data" / "results"


SEEDS = range(5)


LENGTH_RANGES = ((2, 8), (9, 12), (13, 16), (17, 20), (21, 24))  # English words


def load_results(name):
    """The rows of ``data/results/NAME.csv``, numbers as numbers.

    Raises:
        FileNotFoundError: there are no such results; the message says what computes them.
    """
    path = RESULTS / f"{name}.csv"
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing; restore it with `git checkout -- {path}`, or compute it anew with "
            f"`python -m utils.experiments {re.sub('-(history|probes)$', '', name)}`"
        )
    with open(path, encoding="utf-8", newline="") as file:
        return [{k: _number(v) for k, v in row.items()} for row in csv.DictReader(file)]


def _number(text):
    try:
        return float(text) if "." in text or "e" in text else int(text)
    except ValueError:
        return text
