"""Results as files: a table, and beside it how it was made."""

import json
from collections.abc import Iterable
from typing import Any

import pandas as pd

from utils import loaders


def write_rows(name: str, rows: pd.DataFrame | Iterable[dict[str, Any]]) -> None:
    """Write a table as ``data/results/NAME.csv``."""
    loaders.RESULTS.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows)
    table.to_csv(loaders.RESULTS / f"{name}.csv", index=False, encoding="utf-8", lineterminator="\n")


def write_settings(name: str, settings: dict[str, Any]) -> None:
    """Write how results were made as ``data/results/NAME.json``."""
    loaders.RESULTS.mkdir(parents=True, exist_ok=True)
    text = json.dumps(settings, indent=1, ensure_ascii=False)
    (loaders.RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")


write_configuration = write_settings
