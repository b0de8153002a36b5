"""Shipped results: tables in ``data/results``, and beside each how it was made."""

import csv
import json
import re
from pathlib import Path

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


def write_configuration(name, configuration):
    """Write how results were made as ``data/results/NAME.json``."""
    text = json.dumps(configuration, indent=1, ensure_ascii=False)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def write_rows(name, rows):
    """Write a list of dictionaries with the same keys as ``data/results/NAME.csv``."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    with open(RESULTS / f"{name}.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
