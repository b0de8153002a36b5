"""Results as files: a table, and beside it how it was made."""

import json
import platform
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from utils import loaders


def machine() -> str:
    """What computes, for results beside which a time stands."""
    import torch  # imported here, because it takes long

    return f"{platform.machine()}, {torch.get_num_threads()} threads"


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


def rounded(figures: Any) -> Any:
    """What JSON can hold, with every number that is not whole at two decimals."""
    return json.loads(json.dumps(figures), parse_float=lambda number: round(float(number), 2))


def found(name: str, key: dict) -> dict | None:
    """The row of ``data/results/NAME.csv`` that has these entries, if there is one."""
    path = loaders.RESULTS / f"{name}.csv"
    if not path.exists():
        return None
    table = pd.read_csv(path, keep_default_na=False)
    same = np.logical_and.reduce(
        [table[column].astype(type(value)) == value for column, value in key.items()]
    )
    return table[same].iloc[0].to_dict() if same.any() else None


def add_row(name: str, row: dict) -> None:
    """Append a row to ``data/results/NAME.csv``; the file's columns are kept, and others are added."""
    path = loaders.RESULTS / f"{name}.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False) if path.exists() else pd.DataFrame()
    table = pd.concat([table, pd.DataFrame([row]).astype(object)]).fillna("")
    table.to_csv(path, index=False, encoding="utf-8", lineterminator="\n")
    print(json.dumps(row), flush=True)
