import numpy as np
import pandas as pd
import pytest
import torch
from datasets import DatasetDict
from transformers import BertConfig, BertModel

from scripts.experiments import pretrained_features, reviews_elsewhere
from scripts.experiments.pretrained_features import fit_probe
from scripts.experiments.reviews_elsewhere import bag_of_words
from utils import loaders
from utils.features import draw_labels
from utils.loaders import load_reviews
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
    chosen = {split: draw_labels(np.array(reviews[split]["label"]), 40) for split in reviews}
    few = DatasetDict({split: reviews[split].select(rows) for split, rows in chosen.items()})
    for module in (reviews_elsewhere, pretrained_features):
        monkeypatch.setattr(module, "load_reviews", lambda: few)
    return few


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(loaders, "RESULTS", tmp_path)
    return tmp_path


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


@pytest.mark.slow
def test_the_comparison_with_real_reviews(results, few_reviews, monkeypatch, tokenizer):
    theirs = few_reviews["train"].select([i % 40 for i in range(4200)])
    monkeypatch.setattr(reviews_elsewhere, "load_sentence_polarity", lambda: theirs)
    model = BertModel(
        BertConfig(
            vocab_size=300, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4
        ),
        add_pooling_layer=False,
    )
    monkeypatch.setattr(reviews_elsewhere, "load_minilm", lambda: (model, tokenizer))
    reviews_elsewhere.compare_elsewhere("elsewhere", tested=200)
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
