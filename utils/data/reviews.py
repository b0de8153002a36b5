"""The film reviews that were written for this project, with their labels."""

import csv
from pathlib import Path

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


def _check(row):
    if not (row["text"] or "").strip():
        raise ValueError(f"review {row['id']} has no text; write one or take the line out")
    for name, allowed in (("label", REVIEW_LABELS), ("split", REVIEW_SPLITS), ("stars", tuple("12345"))):
        if row[name] not in allowed:
            raise ValueError(
                f"review {row['id']} has the {name} {row[name]!r}; it must be one of {', '.join(allowed)}"
            )
