import numpy as np
import pandas as pd
import pytest
from datasets import DatasetDict
from transformers import BertConfig, BertModel

from scripts.experiments import reviews_elsewhere
from scripts.experiments.reviews_elsewhere import bag_of_words
from utils import loaders
from utils.features import draw_labels
from utils.loaders import load_reviews
from utils.tokens import train_tokenizer


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
    monkeypatch.setattr(reviews_elsewhere, "load_reviews", lambda: few)
    return few


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(loaders, "RESULTS", tmp_path)
    return tmp_path


def test_counting_words_is_a_pipeline_on_plain_text():
    classifier = bag_of_words().fit(["good film", "bad film"], [1, 0])
    assert classifier.predict(["a good one", "a bad one"]).tolist() == [1, 0]


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
