import json

import pytest

from phrasebook import HELD_OUT
from scripts.experiments import short_trainings
from scripts.experiments.short_trainings import SHORT_TRAININGS, reversed_words, train_short
from utils.loaders import load_settings

SIZES = {
    "gru": {"embedding_size": 8, "hidden_size": 8, "dropout": 0.0},
    "gru-attention": {"embedding_size": 8, "hidden_size": 8, "dropout": 0.0},
    "transformer": {"width": 8, "heads": 2, "layers": 2, "feed_forward_size": 8, "dropout": 0.0},
}


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """The short trainings, cut down to four steps of a tiny model."""
    for name, settings in SHORT_TRAININGS.items():
        short = settings | {"steps": 4, "batch_size": 8, "sizes": SIZES[settings["model"]]}
        monkeypatch.setitem(SHORT_TRAININGS, name, short)


@pytest.mark.parametrize("name", sorted(SHORT_TRAININGS))
def test_a_short_training_sees_each_sentence_once(name, monkeypatch):
    met = []

    def fit(translator, pairs, validation, **options):
        met.append((pairs, validation, options))
        return [{"epoch": 1}]

    monkeypatch.setattr(short_trainings, "fit_translator", fit)
    found = train_short(name, max_words=10)
    (pairs, validation, options), target = met[0], SHORT_TRAININGS[name]["target"]
    assert len(pairs[0]) == len(pairs[1]) == len(set(pairs[0])) == 32
    assert set(pairs[0]) == found.seen
    assert validation[0]
    assert not found.seen & ({row["en"] for row in HELD_OUT} | set(validation[0]))
    assert options["each_once"]
    assert options["epochs"] == 8
    assert found.translator.languages == ("en", target)


@pytest.mark.slow
def test_a_short_training_is_fixed_by_its_seed():
    runs = [train_short("pair", seed, parts=2, max_words=8) for seed in (0, 0, 1)]
    losses = [[record["loss"] for record in run.history] for run in runs]
    assert runs[0].seen == runs[1].seen != runs[2].seen
    assert losses[0] == losses[1] != losses[2]
    assert all(0 <= part["validation_exact"] <= 1 for part in runs[0].history)
    assert runs[0].translator.translate(["The train was old ."])[0].target_tokens


def test_what_is_read_can_be_prepared(monkeypatch):
    met = []
    monkeypatch.setattr(short_trainings, "fit_translator", lambda t, pairs, *_, **__: met.append(pairs) or [])
    seen = train_short("pair", prepare=reversed_words).seen
    assert {reversed_words(sentence) for sentence in met[0][0]} == seen
    assert reversed_words("The train was fast .") == ". fast was train The"


def test_unknown_names_are_answered_with_those_that_there_are():
    with pytest.raises(KeyError, match="no short training 'marathon'; there are pair"):
        train_short("marathon")


def test_the_shipped_sweep_is_the_one_that_the_code_describes(monkeypatch):
    monkeypatch.undo()  # the trainings as they are
    for settings in load_settings("phrasebook-pair")["trainings"].values():
        assert settings in json.loads(json.dumps(list(SHORT_TRAININGS.values())))
