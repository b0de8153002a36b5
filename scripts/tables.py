"""scripts.tables"""

import csv
import json

from utils.loaders import RESULTS


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
