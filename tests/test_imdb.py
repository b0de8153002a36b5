import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import Dataset, DatasetDict
from transformers import BertConfig, BertModel, LlamaConfig, LlamaModel

from scripts.experiments import cards, imdb_draws, imdb_sweep, imdb_transformers
from scripts.experiments.imdb_sweep import OFF, Recipe, Settings, rate, runs, shorten, sweep
from scripts.settings import LanguageModelTraining, Places
from scripts.tables import found, write_settings
from scripts.train import fit, large_corpus
from utils import features, loaders, pretrained
from utils.features import load_features
from utils.loaders import load_results, load_settings
from utils.texts import load_language_model

LABELS = np.array([0] * 12_500 + [1] * 12_500)
WORDS = {0: ("awful", "dull", "poor"), 1: ("lovely", "fine", "great")}


def write_reviews(split, count):
    """Short reviews, of which the words say the label."""
    draw, rows = np.random.default_rng([count, len(split)]), []
    for number in range(count):
        label = number % 2
        words = draw.choice(WORDS[label], 2)
        text = f"The film was {words[0]}<br />and the actors were {words[1]}."
        rows.append({"id": f"{split}/{('neg', 'pos')[label]}/{number}_5", "text": text, "label": label})
    return rows


@pytest.fixture
def small_imdb(tmp_path, monkeypatch):
    """80 reviews of each split instead of IMDb's, and an empty folder of results."""
    imdb = DatasetDict({split: Dataset.from_list(write_reviews(split, 80)) for split in ("train", "test")})
    for module in (imdb_sweep, imdb_transformers):
        monkeypatch.setattr(module, "load_imdb", lambda: imdb)
    monkeypatch.setattr(loaders, "RESULTS", tmp_path / "results")
    (tmp_path / "results").mkdir()
    return tmp_path / "results"


def test_draws_keep_away_from_the_development_sample():
    learn, look = imdb_draws.development(LABELS)
    assert len(learn) == len(look) == 2000
    held = set(learn) | set(look)
    assert len(held) == 4000
    for seed in range(5):
        few, many = imdb_draws.draw(LABELS, 50, seed), imdb_draws.draw(LABELS, 2000, seed)
        assert list(many[:50]) == list(few)
        assert not held & set(many)
        assert LABELS[many].sum() == 1000
    assert len(imdb_draws.draw(LABELS, 25_000, 0)) == 25_000
    assert LABELS[imdb_draws.choose_tested(LABELS)].sum() == 2500


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (0, "even and at least 2"),
        (7, "even and at least 2"),
        (24_000, "24000 labels were asked for, and there are"),
    ],
)
def test_a_number_of_labels_that_cannot_be_had_is_refused(count, message):
    with pytest.raises(ValueError, match=message):
        imdb_draws.draw(LABELS, count, 0)


def test_a_long_review_is_cut_in_the_middle():
    assert shorten(list(range(9)), 4, 5) == list(range(9))
    assert shorten(list(range(3000)), 2, 3) == [0, 1, 2997, 2998, 2999]


def test_rates_rise_and_fall_or_stay():
    recipe = Recipe(rate=1.0, steps=100)
    rates = [rate(recipe, step) for step in range(100)]
    assert np.argmax(rates) == 9
    assert rates[9] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(1 / 32)
    assert {rate(replace(recipe, schedule="constant"), step) for step in range(100)} == {1.0}


def test_each_technique_is_off_in_turn():
    settings = Settings(plan=((500, ("wikipedia+imdb",), True), (2000, ("scratch",), False)), seeds=(0,))
    chosen = {"pretrained": Recipe(), "scratch": Recipe(steps=50)}
    planned = list(runs(settings, imdb_sweep.BODIES, chosen))
    assert [off for _, off, *_ in planned] == [*OFF, "none", ""]
    full = planned[-2][-1]
    for _, off, _, _, recipe in planned[:4]:
        assert recipe == replace(full, **OFF[off]) != full
    assert planned[-1][-1].steps == 250  # two passes


@pytest.mark.slow
def test_the_sweep_learns_is_measured_and_goes_on(small_imdb, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(imdb_sweep, "count_words", lambda *arguments: None)
    tiny = Recipe(steps=40, batch=8)
    settings = Settings(
        pretrained=(tiny, replace(tiny, rate=1e-6, steps=2)),
        scratch=(replace(tiny, steps=2),),
        plan=((20, ("wikipedia+imdb", "scratch", "imdb"), False),),
        seeds=(0,),
        tested=40,
        looked_at=20,
    )
    bodies = imdb_sweep.BODIES | {"imdb": tmp_path / "missing"}
    sweep(settings, bodies)
    table = load_results("imdb-sweep")
    assert list(table["arm"]) == ["wikipedia+imdb", "scratch"]
    assert table["accuracy"][0] > 0.8
    assert set(table["tested"]) == {40}
    assert table["steps"][0] == 40  # the better of the two
    assert "hello train language-model --corpus imdb" in capsys.readouterr().out
    before = (small_imdb / "imdb-sweep.csv").read_bytes()
    sweep(settings, bodies)
    assert (small_imdb / "imdb-sweep.csv").read_bytes() == before


def test_counting_words_learns_from_the_labelled_alone(small_imdb):
    imdb = imdb_sweep.load_imdb()
    settings = Settings(seeds=(0, 1), tested=40)
    sizes = (4, 20)
    imdb_sweep.count_words(imdb, settings, "imdb-sweep", strengths=(1, 10), sizes=sizes)
    table = load_results("imdb-sweep")
    assert list(table["labels"]) == [4, 4, 20, 20]
    assert table["accuracy"].iloc[-1] == 1.0
    assert found("imdb-sweep", {"arm": "tf-idf", "labels": 20, "seed": 1, "off": ""})["accuracy"] == 1.0
    assert found("imdb-sweep", {"arm": "tf-idf", "labels": 22}) is None


def test_the_best_unit_is_found_whatever_its_sign():
    draw = np.random.default_rng(0)
    labels = np.tile([0, 1], 50)
    vectors = draw.normal(size=(100, 6))
    vectors[:, 4] -= 5 * labels
    unit, threshold, sign, right = imdb_transformers.best_unit(vectors, labels)
    assert (unit, sign) == (4, -1)
    assert right > 0.95
    assert imdb_transformers.unit_accuracy(vectors, labels, unit, threshold, -sign) == pytest.approx(
        1 - right
    )


@pytest.fixture
def small_networks(monkeypatch, small_imdb):
    """A Llama and a BERT of two layers instead of SmolLM2 and MiniLM, with the pieces of the LSTM."""
    language_model = load_language_model("language-model-imdb")
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "vocab_size": 6000}
    llama = LlamaConfig(**sizes, num_hidden_layers=3)
    bert = BertConfig(**sizes, num_hidden_layers=2)
    encode = language_model.encode
    monkeypatch.setattr(imdb_transformers, "smollm2", lambda random=False: (LlamaModel(llama).eval(), encode))
    monkeypatch.setattr(imdb_transformers, "minilm", lambda: (BertModel(bert).eval(), encode))
    monkeypatch.setattr(imdb_transformers, "load_minilm", lambda: (BertModel(bert), None))
    monkeypatch.setattr(imdb_transformers, "LAYER", 2)
    return imdb_transformers.Settings(
        sizes=(4, 20),
        tuned=(20,),
        seeds=(0, 1),
        tested=40,
        shipped=30,
        shipped_random=10,
        length=16,
        recipes=(Recipe(steps=2, pooling="mean", body=0.1),),
    )


def test_layers_and_units_are_measured(small_networks):
    imdb_transformers.sweep_layers(small_networks)
    table = load_results("smollm2-layers")
    assert len(table) == 2 * 2 * 4 * 2  # models, poolings, layers with the embedding, sizes
    assert (table["low"] <= table["accuracy"]).all()
    rows = load_results("imdb-sweep").query("arm == 'smollm2 frozen'")
    expected = table.query("model == 'smollm2' and layer == 2 and pooling == 'mean' and labels == 20")
    assert rows.query("labels == 20")["accuracy"].mean() == pytest.approx(
        expected["accuracy"].item(), abs=1e-4
    )
    choices = load_results("smollm2-layer-choice")
    assert len(choices) == 2 * 2 * 2  # models, sizes, seeds
    rows = load_results("imdb-sweep").query("arm == 'smollm2 layer by labels'")
    mine = choices.query("model == 'smollm2'")
    assert (
        rows.set_index(["labels", "seed"])["accuracy"].to_dict()
        == mine.set_index(["labels", "seed"])["accuracy"].to_dict()
    )


def test_minilm_is_measured_frozen_and_fine_tuned(small_networks):
    imdb_transformers.sweep_minilm(small_networks)
    table = load_results("imdb-sweep")
    assert list(table["arm"]) == ["minilm frozen"] * 4 + ["minilm"] * 2
    assert set(table.query("arm == 'minilm'")["body"]) == {0.1}


def test_features_are_written_as_they_are_read(small_networks, tmp_path, monkeypatch):
    monkeypatch.setattr(features, "FOLDER", tmp_path / "features")
    monkeypatch.setattr(imdb_transformers, "shipped_places", lambda labels, settings: np.arange(40))
    imdb_transformers.write_features(small_networks)
    found = load_features("lstm", tmp_path / "features")
    assert found.train.shape == (30, 256)
    assert found.train_ids[:2] == ["train/neg/0_5", "train/pos/1_5"]
    language_model = load_language_model("language-model-imdb")
    text = write_reviews("train", 80)[0]["text"].replace("<br />", " ")
    tokens = torch.tensor(language_model.encode([text]))
    expected = language_model.model.read(tokens)[0][0].mean(dim=0).detach().numpy()
    # Within a byte's step of each column; the first 16 of its pieces are all that is read.
    assert np.abs(found.train[0] - expected).max() < 0.5
    assert len(load_features("smollm2-random", tmp_path / "features").train) == 10


def test_large_corpora_are_split(tmp_path, monkeypatch):
    articles = [f"Article {number} is about a town." for number in range(60)]
    reviews = {split: write_reviews(split, 40) for split in ("train", "test", "unsupervised")}
    monkeypatch.setattr("scripts.corpora.load_wikipedia", lambda: Dataset.from_dict({"text": articles}))
    monkeypatch.setattr(
        "scripts.corpora.load_imdb",
        lambda: DatasetDict({split: Dataset.from_list(rows) for split, rows in reviews.items()}),
    )
    parts = large_corpus("wikipedia", held_out=6, validating=4)
    assert parts["test"] == articles[::10]
    assert not set(parts["train"]) & set(parts["test"])
    assert not set(parts["train"]) & set(parts["validation"])
    imdb = large_corpus("imdb")
    assert "<br />" not in " ".join(imdb["train"] + imdb["test"])
    assert len(imdb["test"]) == 40
    tiny = {"epochs": 2, "batch_size": 4, "window": 8, "stateful": True, "learning_rate": 1e-2}
    sizes = {"vocabulary_size": 120, "embedding_size": 8, "hidden_sizes": [12, 8]}
    first, second = tmp_path / "first", tmp_path / "second"
    fit(LanguageModelTraining(corpus="wikipedia", **tiny, **sizes), Places(str(first), str(tmp_path / "a")))
    settings = LanguageModelTraining(corpus="imdb", start=str(first), **tiny)
    fit(settings, Places(str(second), str(tmp_path / "b")))
    history = json.loads((second / "training.json").read_text(encoding="utf-8"))["history"]
    assert history[1]["loss"] < history[0]["loss"]
    assert load_language_model(second).tokenizer.to_str() == load_language_model(first).tokenizer.to_str()
    with pytest.raises(ValueError, match="need more text"):
        fit(
            LanguageModelTraining(corpus="wikipedia", limit=1, **tiny, **sizes),
            Places(str(tmp_path / "c"), str(tmp_path / "d")),
        )


@pytest.mark.slow
def test_a_language_model_is_measured_before_and_after(small_imdb, tmp_path, monkeypatch):
    texts = ["The film was lovely and the actors were great.", "The town has a church."] * 6
    monkeypatch.setattr(pretrained, "CHECKPOINTS", tmp_path)
    for place in ("scripts.train.large_corpus", "scripts.experiments.cards.language_model_texts"):
        monkeypatch.setattr(place, lambda corpus: {"train": texts, "validation": texts[:2], "test": texts})
    entry = {"texts": 12, "words": 84, "generations": [{"prompt": "the film", "seed": 1}]}
    write_settings("language-models", {"wikipedia": entry, "imdb": entry})
    tiny = {"epochs": 4, "batch_size": 2, "window": 8, "stateful": True, "learning_rate": 1e-2}
    sizes = {"vocabulary_size": 120, "embedding_size": 8, "hidden_sizes": [12, 8]}
    for corpus, options in (
        ("wikipedia", sizes),
        ("imdb", {"start": str(tmp_path / "language-model-wikipedia")}),
    ):
        name = f"language-model-{corpus}"
        settings = LanguageModelTraining(corpus=corpus, **tiny, **options)
        fit(settings, Places(str(tmp_path / name), str(tmp_path / "state" / name)))
        cards.describe_language_model(name)
    found = load_settings("language-models")
    assert found["wikipedia"]["perplexity"]["imdb"]["after"] == found["imdb"]["perplexity"]["imdb"]["before"]
    figures = found["imdb"]["perplexity"]["imdb"]
    assert figures["after"] < figures["before"]
    assert figures["words"] == 84
    assert found["imdb"]["generations"][0]["text"].startswith("the film")
    card = (tmp_path / "language-model-imdb" / "README.md").read_text(encoding="utf-8")
    assert (
        f"| the 25,000 test reviews of IMDb | 84 | {figures['before']:,.0f} | {figures['after']:,.0f} |"
        in card
    )
