"""The film reviews that were written for this project, with their labels."""

import csv
from pathlib import Path

import numpy as np
from datasets import Dataset, DatasetDict, Features, Value

REVIEWS = Path(__file__).parents[2] / "data" / "reviews.csv"
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
