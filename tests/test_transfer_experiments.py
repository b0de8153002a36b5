import json
from collections import Counter

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

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
    compare_probes,
    fine_tune,
)
from utils.digits import ARMS, LABEL_COUNTS
from utils.loaders import RESULTS, SEEDS, choose_labelled, load_results, load_reviews
from utils.models.language_models import RecurrentLanguageModel
from utils.texts import LanguageModel
from utils.tokens import train_tokenizer
from utils.transfer import LanguageModelBody, fit_probe, text_features


@pytest.fixture(scope="module")
def reviews():
    return load_reviews()


@pytest.fixture
def tiny_language_model(reviews):
    torch.manual_seed(0)
    tokenizer = train_tokenizer(reviews["train"]["text"], "en", 300, lowercase=True)
    assert isinstance(tokenizer, Tokenizer)
    network = RecurrentLanguageModel(tokenizer.get_vocab_size(), embedding_size=8, hidden_size=8)
    return LanguageModel(network.eval(), tokenizer)


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


@pytest.mark.parametrize("pooling", ["mean", "concat"])
def test_features_do_not_depend_on_the_company_of_a_text(tiny_language_model, pooling):
    body = LanguageModelBody(tiny_language_model.model)
    ids = tiny_language_model.encode(["Good.", "A long and winding story about nothing.", "Never again!"])
    together = text_features(body, ids, pooling, batch_size=2)
    alone = torch.cat([text_features(body, [row], pooling) for row in ids])
    assert together.shape == (3, 8 if pooling == "mean" else 24)
    assert torch.allclose(together, alone, atol=1e-6)


def test_a_probe_finds_the_feature_that_tells(reviews):
    generator = np.random.default_rng(0)
    features = generator.normal(size=(300, 20))
    labels = (features[:, 3] > 0).astype(int)
    probe = fit_probe(features[:100], labels[:100], (features[100:200], labels[100:200]))
    assert probe.score(features[200:], labels[200:]) > 0.85
    assert np.abs(probe[-1].coef_[0]).argmax() == 3


def test_accuracies_count_the_hard_reviews_of_both_splits(reviews):
    always = accuracies(lambda split: [1] * len(reviews[split]), reviews)
    assert always["test"] == pytest.approx(0.5)
    perfect = accuracies(lambda split: reviews[split]["label"], reviews)
    assert perfect == {"test": 1, "plain": 1, "hard": 1}
    plain = accuracies(
        lambda split: [
            label if kind == "plain" else 1 - label
            for label, kind in zip(reviews[split]["label"], reviews[split]["kind"], strict=True)
        ],
        reviews,
    )
    assert (plain["plain"], plain["hard"]) == (1, 0)


def test_adapting_changes_a_copy_and_helps(tiny_language_model, reviews):
    before = {k: v.clone() for k, v in tiny_language_model.model.state_dict().items()}
    adapted = adapt(tiny_language_model, reviews, epochs=1)
    assert all((before[k] == v).all() for k, v in tiny_language_model.model.state_dict().items())
    texts = list(reviews["test"]["text"])
    assert adapted.perplexity(texts) < tiny_language_model.perplexity(texts)


def test_fine_tuning_uses_the_chosen_labels_alone(tiny_language_model, reviews):
    splits = {split: tiny_language_model.encode(reviews[split]["text"]) for split in reviews}
    options = {"epochs": 1, "learning_rate": 1e-2}

    def run(seed):
        torch.manual_seed(1)
        network = RecurrentLanguageModel(**tiny_language_model.model.config)
        return fine_tune(LanguageModelBody(network), splits, reviews, 10, seed, **options)

    first, again, other = (run(seed).predict(splits["test"][:50]) for seed in (0, 0, 1))
    assert first.equal(again)
    # the same network, trained on ten other reviews
    logits = [run(seed)(torch.tensor([splits["test"][0]])) for seed in (0, 1)]
    assert not torch.allclose(*logits)
    assert other.shape == (50,)


def test_rows_of_probes_cover_all_counts_and_seeds(reviews):
    features = {split: np.array(reviews[split]["label"])[:, None] + np.zeros((1, 2)) for split in reviews}
    rows = compare_probes("oracle", features, reviews, counts=(10, 790))
    assert {(row["labels"], row["seed"]) for row in rows} == {(n, s) for n in (10, 790) for s in SEEDS}
    assert all(row["test"] == row["hard"] == 1 for row in rows)


def test_counting_words_is_a_pipeline_on_plain_text():
    classifier = bag_of_words().fit(["good film", "bad film"], [1, 0])
    assert classifier.predict(["a good one", "a bad one"]).tolist() == [1, 0]


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
    found = Counter((row["arm"], row["labels"], row["seed"]) for row in load_results(name))
    assert found == Counter((*key, seed) for key in SHIPPED[name] for seed in SEEDS)


def test_the_shipped_table_of_ulmfit_is_complete():
    rows = load_results("ulmfit")
    found = Counter((row["arm"], row["techniques"], row["labels"], row["seed"]) for row in rows)
    pairs = {(arm, "all three") for arm in LANGUAGE_MODELS} | {("pretrained", name) for name in TECHNIQUES}
    assert found == Counter(
        (*pair, count, seed) for pair in pairs for count in ULMFIT_EPOCHS for seed in SEEDS
    )
    assert json.loads((RESULTS / "ulmfit.json").read_text())["learning_rate"] == ULMFIT_RATE
