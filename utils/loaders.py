"""The data that this project ships: captions, film reviews, and results of sweeps."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
from datasets import Dataset, DatasetDict

DATA = Path(__file__).parents[1] / "data"
RESULTS = DATA / "results"
REVIEW_LABELS = ("negative", "positive")
REVIEW_SPLITS = ("train", "validation", "test", "challenge")


def load_captions(aligned_only: bool = False) -> Dataset:
    """The 110 caption triples of ``data/captions.tsv``, or only those with word alignments.

    A dataset with the text columns id, en, fr, de (tokens separated by spaces) and links_en_fr (Pharaoh
    form, empty where there are none). Used in notebook 02, *Reading the heat map*.
    """
    table: Any = pd.read_csv(DATA / "captions.tsv", sep="\t", dtype=str, keep_default_na=False, quoting=3)
    chosen = table[table["links_en_fr"].ne("")] if aligned_only else table
    return Dataset.from_dict(chosen.to_dict("list"))


def load_reviews() -> DatasetDict:
    """The film reviews of ``data/reviews.csv``; see the card beside the file.

    The splits train, validation, test and challenge have the columns id, text, label (0 negative,
    1 positive), stars (1 to 5) and kind ("plain", or one of the hard kinds "negation", "contrast", "irony",
    "faint"). Used in notebook 03, *A stress test: reviews that are hard on purpose*.
    """
    table: Any = pd.read_csv(DATA / "reviews.csv", dtype=str, keep_default_na=False)
    table = table.assign(label=table["label"].map(REVIEW_LABELS.index), stars=table["stars"].astype(int))
    parts = {split: table[table["split"] == split].drop(columns="split") for split in REVIEW_SPLITS}
    return DatasetDict({split: Dataset.from_dict(rows.to_dict("list")) for split, rows in parts.items()})


def load_results(name: str) -> pd.DataFrame:
    """The table ``data/results/NAME.csv``; used in notebook 01, *Watch it learn*, and in those after it."""
    return pd.read_csv(_existing(f"{name}.csv"))


def load_settings(name: str) -> dict:
    """How results were made, and what is no table: ``data/results/NAME.json``."""
    return json.loads(_existing(f"{name}.json").read_text(encoding="utf-8"))


def _existing(file: str) -> Path:
    name = re.sub(r"(-history|-probes)?\.(csv|json)$", "", file)
    if not (RESULTS / file).exists():
        raise FileNotFoundError(
            f"{RESULTS / file} is missing; restore it with `git checkout -- {RESULTS / file}`, or compute it "
            f"anew with `hello experiment {name}`"
        )
    return RESULTS / file
