import json

import pandas as pd
import pytest

from phrasebook import HELD_OUT
from scripts.experiments import phrasebook_sweeps
from scripts.experiments.phrasebook_sweeps import SWEEPS, sweep
from scripts.experiments.short_trainings import SHORT_TRAININGS, ShortTraining, reversed_words
from scripts.lengths import LENGTH_RANGES, SEEDS, exact_by_length
from utils import loaders
from utils.loaders import load_results, load_settings


@pytest.mark.slow
def test_a_sweep_writes_a_row_for_each_arm_seed_and_length(monkeypatch, tmp_path, attentive):
    asked = []

    def train_short(name, seed, prepare):
        asked.append((name, seed, prepare("a b")))
        history = [
            {"epoch": part, "seconds": 0.5, "loss": 1 / part, "validation_exact": 0.0} for part in (1, 2)
        ]
        return ShortTraining(attentive, history, set())

    monkeypatch.setattr(loaders, "RESULTS", tmp_path)
    monkeypatch.setattr(phrasebook_sweeps, "train_short", train_short)
    arms = {"one": ("pair", str), "other": ("pair", reversed_words)}
    sweep("small", arms, seeds=range(2), ranges=((2, 4), (5, 6)), sentences=3)
    assert asked == [("pair", seed, text) for seed, text in ((0, "a b"), (0, "b a"), (1, "a b"), (1, "b a"))]
    table, history = (pd.read_csv(tmp_path / f"{name}.csv") for name in ("small", "small-history"))
    assert list(table.columns) == ["arm", "seed", "low", "high", "sentences", "exact", "bleu"]
    assert len(table) == len(history) == 8
    assert history["step"].tolist()[:2] == [700, 1400]
    assert history["seconds"].tolist()[:2] == [0.5, 1.0]
    settings = json.loads((tmp_path / "small.json").read_text(encoding="utf-8"))
    assert settings["trainings"]["one"] == SHORT_TRAININGS["pair"]
    assert settings["seconds"] == {"one": [1.0, 1.0], "other": [1.0, 1.0]}
    assert [len(texts) for texts in settings["translations"]["one"]] == [len(HELD_OUT)] * 2


@pytest.mark.parametrize("name", SWEEPS)
def test_what_is_shipped_is_what_a_sweep_writes(name):
    table, settings = load_results(name), load_settings(name)
    found = table.groupby(["arm", "seed"], sort=False)[["low", "high"]]
    assert set(found.groups) == {(arm, seed) for arm in SWEEPS[name] for seed in SEEDS}
    assert all(tuple(rows.itertuples(index=False, name=None)) == LENGTH_RANGES for _, rows in found)
    assert set(load_results(f"{name}-history")["arm"]) == set(settings["trainings"]) == set(SWEEPS[name])


def test_new_sentences_of_each_length_are_counted(attentive):
    table = exact_by_length(attentive, [(2, 4), (9, 10)], sentences=5)
    assert table[["low", "high", "sentences"]].values.tolist() == [[2, 4, 5], [9, 10, 5]]
    assert table["exact"].tolist() == [0, 0]  # it has learnt nothing
    with pytest.raises(ValueError, match="only 0 new sentences of 2 to 4 words"):
        exact_by_length(attentive, [(2, 4)], 5, seen=_Everything())


class _Everything(set):
    def __contains__(self, sentence):
        return True
