"""The captions that were written for this project, with their hand-made alignments."""

import csv
from pathlib import Path

from datasets import Dataset

from utils.alignment import link_matrix, parse_links

CAPTIONS = Path(__file__).parents[2] / "data" / "captions.tsv"


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
