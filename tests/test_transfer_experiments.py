import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import DatasetDict
from transformers import BertConfig, BertModel

from scripts.experiments import pretrained_features, transfer_sweeps
from scripts.experiments.digits import (
    ARMS,
    CANVAS,
    LABEL_COUNTS,
    digit_accuracy,
    digit_body,
    digit_images,
    fit_images,
    new_digits,
    pretrain_digit_body,
    scatter,
)
from scripts.experiments.transfer_sweeps import (
    LANGUAGE_MODELS,
    MINILM_EPOCHS,
    MINILM_RATES,
    REVIEW_COUNTS,
    TECHNIQUES,
    ULMFIT_EPOCHS,
    ULMFIT_RATE,
    accuracies,
    adapt,
    bag_of_words,
    choose_labelled,
    compare_probes,
    fit_probe,
)
from utils import loaders
from utils.loaders import SEEDS, load_results, load_reviews, load_settings
from utils.models.language_models import RecurrentLanguageModel
from utils.texts import LanguageModel
from utils.tokens import encode_texts, train_tokenizer


@pytest.fixture(scope="module")
def reviews():
    return load_reviews()


@pytest.fixture(scope="module")
def tokenizer(reviews):
    return train_tokenizer(reviews["train"]["text"], "en", 300, lowercase=True)


@pytest.fixture
def few_reviews(reviews, monkeypatch):
    """Sweeps get forty reviews of each split, half of them positive."""
    chosen = {split: choose_labelled(reviews[split]["label"], 40, seed=0) for split in reviews}
    few = DatasetDict({split: reviews[split].select(rows) for split, rows in chosen.items()})
    for module in (transfer_sweeps, pretrained_features):
        monkeypatch.setattr(module, "load_reviews", lambda: few)
    return few


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(loaders, "RESULTS", tmp_path)
    return tmp_path


def tiny_language_model(tokenizer):
    torch.manual_seed(0)
    network = RecurrentLanguageModel(tokenizer.get_vocab_size(), embedding_size=8, hidden_sizes=(8,))
    return LanguageModel(network.eval(), tokenizer)


# Digits


def test_scattering_moves_a_digit_and_changes_nothing_else():
    images = digit_images()[0][:20]
    canvases = scatter(images, torch.Generator().manual_seed(0), noise=0.0)
    assert canvases.shape == (20, 1, CANVAS, CANVAS)
    assert torch.allclose(canvases.sum(dim=(1, 2, 3)), images.sum(dim=(1, 2, 3)))
    windows = canvases.unfold(2, 8, 1).unfold(3, 8, 1)  # [20, 1, 9, 9, 8, 8]
    found = (windows == images[:, :, None, None]).all(dim=(-1, -2)).flatten(1).any(dim=1)
    assert found.all()
    places = canvases.sum(dim=(1, 3)).bool().int().argmax(dim=1)
    assert len(set(places.tolist())) > 3


def test_new_digits_are_balanced_and_never_tested_on():
    images, labels, test_images, test_labels = new_digits(0, 20)
    assert labels.bincount().tolist() == [4] * 5
    assert not (images[:, None] == test_images[None]).all(dim=(-1, -2, -3)).any()
    assert torch.equal(new_digits(0, 20)[0], images)
    assert not torch.equal(new_digits(1, 20)[0], images)
    assert set(test_labels.tolist()) == set(range(5))


@pytest.mark.parametrize("count", [0, 7, 500])
def test_impossible_counts_of_digits_are_refused(count):
    with pytest.raises(ValueError, match=f"multiple of 5 from 5 to 350, not {count}"):
        new_digits(0, count)


@pytest.mark.slow
def test_a_digit_body_is_copied_and_stays_so():
    body = pretrain_digit_body(0, steps=5)
    before = [parameter.clone() for parameter in body.parameters()]
    scores = {arm: digit_accuracy(arm, body, 0, 10, steps=20) for arm in ARMS}
    assert all(torch.equal(a, b) for a, b in zip(before, body.parameters(), strict=True))
    assert len(set(scores.values())) > 1
    with pytest.raises(ValueError, match="from scratch, frozen body, fine-tuned"):
        digit_accuracy("half", body, 0, 10)


@pytest.mark.slow
def test_fitting_digits_lowers_the_loss():
    torch.manual_seed(0)
    images, labels, *_ = new_digits(0, 50)
    network = torch.nn.Sequential(digit_body(), torch.nn.Linear(64, 5))
    fit_images(network, network.parameters(), lambda: (images, labels), 60, 3e-3)
    assert (network(images).argmax(dim=1) == labels).float().mean() > 0.8


# Reviews


def test_accuracies_count_the_hard_reviews_of_both_splits(reviews):
    always = accuracies(lambda split: [1] * len(reviews[split]), reviews)
    assert always["test"] == pytest.approx(0.5)
    perfect = accuracies(lambda split: reviews[split]["label"], reviews)
    assert perfect == {"test": 1, "plain": 1, "hard": 1}

    def right_if_plain(split):
        pairs = zip(reviews[split]["label"], reviews[split]["kind"], strict=True)
        return [label if kind == "plain" else 1 - label for label, kind in pairs]

    found = accuracies(right_if_plain, reviews)
    assert (found["plain"], found["hard"]) == (1, 0)


@pytest.mark.slow
def test_adapting_changes_a_copy_and_helps(tokenizer, reviews):
    model = tiny_language_model(tokenizer)
    before = {name: weight.clone() for name, weight in model.model.state_dict().items()}
    adapted = adapt(model, reviews, epochs=1)
    assert all(before[name].equal(weight) for name, weight in model.model.state_dict().items())
    texts = list(reviews["test"]["text"])
    assert adapted.perplexity(texts) < model.perplexity(texts)


@pytest.mark.slow
def test_rows_of_probes_cover_all_counts_and_seeds(reviews):
    features = {split: np.array(reviews[split]["label"])[:, None] + np.zeros((1, 2)) for split in reviews}
    rows = compare_probes("oracle", features, reviews, (10, 200), seeds=range(2))
    assert [(row["labels"], row["seed"]) for row in rows] == [(10, 0), (10, 1), (200, 0), (200, 1)]
    assert all(row["test"] == row["hard"] == 1 for row in rows)


def test_counting_words_is_a_pipeline_on_plain_text():
    classifier = bag_of_words().fit(["good film", "bad film"], [1, 0])
    assert classifier.predict(["a good one", "a bad one"]).tolist() == [1, 0]


@pytest.mark.slow
def test_a_probe_on_counted_words_beats_guessing(tokenizer):
    class Counting(torch.nn.Module):
        """One unit for each piece: the mean over a text is how often it occurs."""

        def forward(self, tokens, mask):
            return torch.nn.functional.one_hot(tokens, 300).float()

    right = pretrained_features.probe_reviews(Counting(), lambda texts: encode_texts(tokenizer, texts))
    assert right.shape == (420,)
    assert 0.55 < right.mean() < 0.8


def test_a_probe_finds_the_feature_that_tells():
    features = np.random.default_rng(0).normal(size=(300, 20))
    labels = (features[:, 3] > 0).astype(int)
    probe = fit_probe(features[:100], labels[:100], (features[100:200], labels[100:200]))
    assert probe.score(features[200:], labels[200:]) > 0.85
    assert np.abs(probe[-1].coef_[0]).argmax() == 3


def test_labelled_examples_are_balanced_distinct_and_fixed_by_the_seed():
    labels = [0] * 30 + [1] * 20
    chosen = choose_labelled(labels, 20, seed=1)
    assert len(set(chosen)) == 20
    assert Counter(labels[i] for i in chosen) == {0: 10, 1: 10}
    assert chosen == choose_labelled(labels, 20, seed=1) != choose_labelled(labels, 20, seed=2)
    assert choose_labelled(labels, 50, seed=1) == list(range(50))


@pytest.mark.parametrize("count", [0, 7, 42, 60])
def test_impossible_numbers_of_labels_are_refused(count):
    with pytest.raises(ValueError, match=f"^{count} examples"):
        choose_labelled([0] * 30 + [1] * 20, count, seed=0)


# The sweeps, made small


@pytest.mark.slow
def test_the_sweep_of_digits(results):
    transfer_sweeps.sweep_digits("digits", counts=(5, 10), seeds=range(2), pretraining=2, steps=2)
    table = pd.read_csv(results / "digits.csv")
    assert list(table.columns) == ["arm", "seed", "labels", "accuracy"]
    assert Counter(zip(table["arm"], table["labels"], table["seed"], strict=True)) == Counter(
        (arm, count, seed) for arm in ARMS for count in (5, 10) for seed in range(2)
    )
    assert table["accuracy"].between(0, 1).all()
    assert json.loads((results / "digits.json").read_text(encoding="utf-8"))["seeds"] == [0, 1]


@pytest.mark.slow
def test_the_sweep_of_minilm(results, few_reviews, tokenizer):
    config = BertConfig(
        vocab_size=300, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )

    def load(pretrained):
        return BertModel(config, add_pooling_layer=False).eval(), tokenizer

    transfer_sweeps.sweep_minilm("minilm", counts=(10,), epochs={10: 1}, seeds=range(1), load=load)
    table = pd.read_csv(results / "minilm.csv")
    assert list(table.columns) == ["arm", "seed", "labels", "test", "plain", "hard"]
    assert set(table["arm"]) == {"bag of words", "frozen", "frozen, untrained", *MINILM_RATES}
    assert json.loads((results / "minilm.json").read_text(encoding="utf-8"))["epochs"] == {"10": 1}


@pytest.mark.slow
def test_the_sweep_of_ulmfit(results, few_reviews, tokenizer):
    def load():
        return {arm: tiny_language_model(tokenizer) for arm in ("untrained", "pretrained", "adapted")}

    transfer_sweeps.sweep_ulmfit("small", (10,), {10: 1}, seeds=range(1), load=load, reading=1)
    table, probes = (pd.read_csv(results / f"{name}.csv") for name in ("small", "small-probes"))
    assert set(probes["arm"]) == set(table["arm"]) == set(LANGUAGE_MODELS)
    assert set(table["techniques"]) == set(TECHNIQUES)
    assert len(table) == len(LANGUAGE_MODELS) + len(TECHNIQUES) - 1
    settings = json.loads((results / "small.json").read_text(encoding="utf-8"))
    perplexities = settings["perplexity per word, test reviews"]
    assert perplexities["adapted briefly"] < perplexities["pretrained"] == perplexities["untrained"]


@pytest.mark.slow
def test_the_comparison_with_real_reviews(results, few_reviews, monkeypatch, tokenizer):
    theirs = few_reviews["train"].select([i % 40 for i in range(4200)])
    monkeypatch.setattr(transfer_sweeps, "load_sentence_polarity", lambda: theirs)
    model = BertModel(
        BertConfig(
            vocab_size=300, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4
        ),
        add_pooling_layer=False,
    )
    monkeypatch.setattr(transfer_sweeps, "load_minilm", lambda: (model, tokenizer))
    transfer_sweeps.compare_elsewhere("elsewhere", tested=200)
    table = pd.read_csv(results / "elsewhere.csv")
    assert table["trained on"].tolist() == ["ours", "ours", "theirs", "theirs"]
    assert table["texts"].tolist() == [40, 200, 40, 200]
    assert table["bag of words"].between(0, 1).all()
    assert table["bag of words"].iloc[1] == 1  # theirs are among ours


@pytest.mark.slow
def test_the_comparison_of_features_and_the_gaps_in_reviews(results, few_reviews, monkeypatch):
    right = np.arange(420) % 5 > 0
    encoder = torch.nn.Linear(2, 2)
    encoder.config = BertConfig(hidden_size=2)
    decoder = torch.nn.Module()
    decoder.model = encoder
    monkeypatch.setattr(pretrained_features, "load_minilm", lambda: (encoder, None))
    monkeypatch.setattr(pretrained_features, "load_smollm2", lambda: (decoder, None))
    monkeypatch.setattr(pretrained_features, "probe_reviews", lambda body, encode: right)
    pretrained_features.compare_features("features")
    table = pd.read_csv(results / "features.csv")
    assert table["model"].tolist() == ["MiniLM (encoder)", "SmolLM2 (decoder)"]
    assert table["accuracy"].tolist() == [0.8, 0.8]
    assert (table["low"].between(0.74, 0.78) & table["high"].between(0.82, 0.86)).all()
    pretrained_features.fill_reviews("gaps", seeds=1, epochs=1, width=16)
    gaps = pd.read_csv(results / "gaps.csv")
    assert gaps["seed"].tolist() == [0]
    assert gaps["masked"].item() > gaps["unigram"].item() > 3  # one pass is too little


# What is shipped

SHIPPED = {
    "transfer-digits": {(arm, count) for arm in ARMS for count in LABEL_COUNTS},
    "transfer-reviews": {
        (arm, count) for arm in ("bag of words", "frozen", "frozen, untrained") for count in REVIEW_COUNTS
    }
    | {(arm, count) for arm in MINILM_RATES for count in MINILM_EPOCHS},
    "ulmfit-probes": {(arm, count) for arm in LANGUAGE_MODELS for count in REVIEW_COUNTS},
}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_sweeps_are_complete(name):
    table = load_results(name)
    found = Counter(table[["arm", "labels", "seed"]].itertuples(index=False, name=None))
    assert found == Counter((*key, seed) for key in SHIPPED[name] for seed in SEEDS)


def test_the_shipped_table_of_ulmfit_is_complete():
    columns = ["arm", "techniques", "labels", "seed"]
    found = Counter(load_results("ulmfit")[columns].itertuples(index=False, name=None))
    pairs = {(arm, "all three") for arm in LANGUAGE_MODELS} | {("pretrained", name) for name in TECHNIQUES}
    assert found == Counter(
        (*pair, count, seed) for pair in pairs for count in ULMFIT_EPOCHS for seed in SEEDS
    )
    assert load_settings("ulmfit")["learning_rate"] == ULMFIT_RATE


def test_the_slanted_triangle_is_the_one_of_the_paper():
    rates = [transfer_sweeps.slanted_triangular(step, 100, 0.01) for step in range(100)]
    assert rates[0] == pytest.approx(0.01 / 32)
    assert max(rates) == rates[10] == pytest.approx(0.01)
    share = 1 - (55 - 10) / (10 * (1 / 0.1 - 1))  # equation 3, at step 55
    assert rates[55] == pytest.approx(0.01 * (1 + share * 31) / 32)
