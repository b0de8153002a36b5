import json

import pytest

from phrasebook import HELD_OUT
from scripts.experiments import cards
from scripts.experiments import phrasebook_sweeps as sweeps
from scripts.experiments.cards import describe_phrasebook
from scripts.experiments.phrasebook_sweeps import sweep
from scripts.train import build_parser
from utils import loaders as results
from utils.loaders import LENGTH_RANGES, RESULTS, SEEDS, load_results
from utils.short_trainings import LIVE_TRAININGS, reversed_words, train_live
from utils.translator import load_translator


@pytest.fixture
def small(monkeypatch):
    """The live trainings, shortened to four steps of a tiny model."""
    sizes = {
        "gru": {"embedding_size": 8, "hidden_size": 8, "dropout": 0.0},
        "gru-attention": {"embedding_size": 8, "hidden_size": 8, "dropout": 0.0},
        "transformer": {"width": 8, "heads": 2, "layers": 2, "feed_forward_size": 8, "dropout": 0.0},
    }
    for name, settings in LIVE_TRAININGS.items():
        short = settings | {"steps": 4, "batch_size": 8, "sizes": sizes[settings["model"]]}
        monkeypatch.setitem(LIVE_TRAININGS, name, short)


@pytest.mark.parametrize("name", sorted(LIVE_TRAININGS))
def test_a_live_training_sees_each_sentence_once(small, name):
    run = train_live(name, parts=2)
    assert len(run.history) == 2
    assert all(0 <= part["validation_exact"] <= 1 for part in run.history)
    assert 16 < len(run.seen) <= 32
    assert not run.seen & {row["en"] for row in HELD_OUT}
    assert run.translator.translate(["The minister signed the treaty ."])[0].target_tokens


def test_a_live_training_is_fixed_by_its_seed(small):
    first, again, other = (train_live("pair", seed, parts=1) for seed in (0, 0, 1))
    assert first.seen == again.seen != other.seen
    assert first.history[0]["loss"] == again.history[0]["loss"] != other.history[0]["loss"]


def test_unknown_live_trainings_and_results_are_named(monkeypatch, tmp_path):
    with pytest.raises(KeyError, match="race-transformer"):
        train_live("marathon")
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"utils\.experiments phrasebook-race"):
        load_results("phrasebook-race-history")


def test_a_sweep_writes_what_the_notebooks_read(small, monkeypatch, tmp_path):
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    monkeypatch.setattr(sweeps, "SEEDS", range(2))
    monkeypatch.setattr(sweeps, "LENGTH_RANGES", ((2, 8), (9, 12)))
    monkeypatch.setattr(sweeps, "train_live", lambda *a: train_live(*a, max_words=8, parts=2))
    sweep("tiny", {"as written": ("pair", str), "reversed": ("pair", reversed_words)})
    rows, history = load_results("tiny"), load_results("tiny-history")
    assert len(rows) == len(history) == 2 * 2 * 2
    assert {row["arm"] for row in rows} == {"as written", "reversed"}
    assert all(isinstance(row["exact"], float) and row["sentences"] == 200 for row in rows)
    assert all(row["seconds"] > 0 for row in history)
    configuration = json.loads((tmp_path / "tiny.json").read_text())
    assert configuration["trainings"]["reversed"] == LIVE_TRAININGS["pair"]


def test_words_are_reversed():
    assert reversed_words("The train was fast .") == ". fast was train The"


@pytest.mark.parametrize("name", ["phrasebook-pair", "phrasebook-race"])
def test_shipped_sweeps_are_those_that_the_code_describes(name):
    configuration = json.loads((RESULTS / f"{name}.json").read_text())
    for settings in configuration["trainings"].values():
        assert json.loads(json.dumps(settings)) in json.loads(json.dumps(list(LIVE_TRAININGS.values())))
    assert configuration["seeds"] == list(SEEDS)
    rows = load_results(name)
    keys = [(row["arm"], row["seed"], row["low"], row["high"]) for row in rows]
    assert sorted(keys) == sorted(
        (arm, seed, *bounds)
        for arm in configuration["trainings"]
        for seed in SEEDS
        for bounds in LENGTH_RANGES
    )
    assert all(row["sentences"] >= 200 for row in rows)


def test_the_race_is_fair():
    configuration = json.loads((RESULTS / "phrasebook-race.json").read_text())
    parameters = configuration["parameters"].values()
    assert max(parameters) / min(parameters) < 1.02
    data = [
        {key: settings[key] for key in ("target", "theme", "short_share", "steps", "batch_size")}
        for settings in configuration["trainings"].values()
    ]
    assert data[0] == data[1] == data[2]


def test_a_card_says_how_a_checkpoint_was_trained_and_how_good_it_is(monkeypatch, tmp_path):
    folder = tmp_path / "phrasebook-en-de-gru"
    output = ["--corpus", "phrasebook", "--model", "gru", "--target", "de", "--output", str(folder)]
    sizes = ["--embedding-size", "8", "--hidden-size", "8", "--dropout", "0", "--one-way"]
    rest = ["--count", "300", "--epochs", "1", "--max-words", "24", "--state", str(tmp_path / "state")]
    parsed = build_parser().parse_args(["translator", *output, *sizes, *rest])
    parsed.function(parsed)
    monkeypatch.setattr(cards, "CHECKPOINTS", tmp_path)
    monkeypatch.setattr(cards, "load_translator", lambda name: load_translator(tmp_path / name))
    monkeypatch.setattr(results, "RESULTS", tmp_path)
    describe_phrasebook("phrasebook-en-de-gru", "01_encoder_decoder")
    rows = load_results("phrasebook-en-de-gru")
    assert [(row["low"], row["high"]) for row in rows] == [*LENGTH_RANGES, (25, 30)]
    assert all(row["exact"] == 0 and row["sentences"] == 500 for row in rows)
    assert rows[0]["met"] > rows[1]["met"] == rows[-1]["met"] == 0  # only the shortest repeat
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "license: mit" in card
    assert "--dropout 0.0" in card
    assert "--one-way" in card
    assert "--one-way True" not in card
    assert "no attention" in card
    assert card.count("wrong: *") == 2  # nothing is learnt from 300 sentences
    assert "| 25 to 30 (longer than in training) | 0% |" in card
