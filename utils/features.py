"""Features of real film reviews by frozen bodies: numbers without text, from which heads learn."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open

FOLDER = Path(__file__).parents[1] / "data" / "features"
FEATURES = ("smollm2", "minilm", "lstm", "lstm-untrained", "smollm2-random")


class Features(NamedTuple):
    """One vector for each of some reviews of IMDb (Maas et al. 2011): [texts, width], labels and ids.

    A label is 0 or 1 (positive); the id "train/neg/4593_1" names a file of the corpus and its stars.
    """

    train: np.ndarray
    train_labels: np.ndarray
    train_ids: list[str]
    test: np.ndarray
    test_labels: np.ndarray
    test_ids: list[str]
    body: str


def load_features(name: str, folder: Path = FOLDER) -> Features:
    """The features by one of the bodies ``FEATURES``; used in notebook 03.

    An unknown name, or a file that is missing, damaged or of another body, is a ValueError that says which.
    """
    if name not in FEATURES:
        raise ValueError(f"there are no features {name!r}; choose one of {', '.join(FEATURES)}")
    path = folder / f"{name}.safetensors"
    restore = f"restore it with `git checkout -- {path}`"
    try:
        with safe_open(path, framework="np") as file:
            found = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            about = file.metadata() or {}
        parts = []
        for split in ("train", "test"):
            vectors = found[split] * found["scale"] + found["minimum"]  # [texts, width], from one byte each
            labels, ids = found[f"{split}_labels"].astype(int), about[f"{split}_ids"].split("\n")
            if not len(vectors) == len(labels) == len(ids) or not np.isfinite(vectors).all():
                raise ValueError(f"{len(vectors)} vectors, {len(labels)} labels and {len(ids)} ids")
            parts += [vectors.astype(np.float32), labels, ids]
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is missing or damaged ({error}); {restore}") from error
    if about["name"] != name:
        raise ValueError(f"{path} holds the features {about['name']!r}, not {name!r}; {restore}")
    return Features._make([*parts, about["body"]])


def draw_labels(labels: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """The places of ``count`` random examples, half of each label; for one seed, fewer are a part."""
    most = 2 * min(np.sum(labels == 0), np.sum(labels == 1))
    if count < 2 or count % 2 or count > most:
        raise ValueError(f"the number of labels must be even and from 2 to {most}, not {count}")
    order = np.random.default_rng(seed).permutation(len(labels))
    halves = [order[labels[order] == label][: count // 2] for label in (0, 1)]
    return np.stack(halves, axis=1).ravel()
