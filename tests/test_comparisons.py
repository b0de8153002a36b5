"""Are the arms of a comparison treated alike, and does it go on where it was stopped?"""

from dataclasses import replace

import pandas as pd
import pytest
import torch

from scripts.experiments import comparisons
from utils import loaders
from utils.scores import exact_share
from utils.training import MODELS


@pytest.fixture(scope="module")
def tiny():
    comparison = replace(
        comparisons.COMPARISONS["attention-comparison"],
        ranges=((2, 24),),
        steps=4,
        part=2,
        tuned=2,
        sentences=300,
        validated=30,
        batches=(16,),
    )
    return comparison, comparisons.Corpus(comparison)


@pytest.mark.parametrize("name", comparisons.COMPARISONS)
def test_all_arms_have_as_many_parameters_within_two_percent(name):
    comparison = comparisons.COMPARISONS[name]
    pieces = [comparison.pieces] * 2
    if not comparison.pieces:
        tokenizers = comparisons.phrasebook_tokenizers(*comparison.languages).values()
        pieces = [tokenizer.get_vocab_size() for tokenizer in tokenizers]
    counts = []
    for arm in comparison.arms.values():
        model_class, fixed = MODELS[arm.model]
        networks = [model_class(*pieces, **fixed, **sizes) for sizes in (arm.sizes, *arm.others)]
        counts += [sum(weight.numel() for weight in network.parameters()) for network in networks]
    assert max(counts) / min(counts) < 1.02


@pytest.mark.parametrize("name", comparisons.COMPARISONS)
def test_all_arms_choose_from_grids_of_the_same_size(name):
    arms = comparisons.COMPARISONS[name].arms.values()
    assert len({(len(arm.rates), len(arm.others)) for arm in arms}) == 1
    assert len({str(arm.sizes.get("bidirectional")) for arm in arms if "gru" in arm.model}) == 1


def test_no_validation_sentence_is_trained_on(tiny):
    _, corpus = tiny
    trained = {tuple(ids) for ids in corpus.training[0]}
    assert corpus.validation[0]
    assert not trained & {tuple(ids) for ids in corpus.validation[0]}


def test_validation_counts_what_greedy_decoding_gets_exactly_right(tiny):
    _, corpus = tiny
    sizes = {"embedding_size": 32, "hidden_size": 48}
    translator = comparisons.new_translator("gru-attention", corpus.tokenizers, 0, 48, **sizes)
    pairs = [[side[:20] for side in part] for part in (corpus.training, corpus.training)]
    corpus.training = pairs[0]
    optimizer = torch.optim.AdamW(translator.model.parameters(), lr=0.01)
    for _ in range(80):  # learns part of them by heart
        for pair in comparisons.translation_batches(*corpus.training, 20, [0, 0]):
            loss, _ = comparisons.translation_loss(translator.model, pair, 0.0)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    translator.model.eval()
    found = comparisons.validate(translator.model, *corpus.training)
    english, french = (
        [tokenizer.decode(ids) for ids in side]
        for tokenizer, side in zip(corpus.tokenizers.values(), corpus.training, strict=True)
    )
    texts = [translation.text for translation in translator.translate(english)]
    assert found["exact"] == pytest.approx(exact_share(texts, french))
    assert found["exact"] > 0


def test_a_comparison_goes_on_where_it_was_stopped(tiny, tmp_path, monkeypatch):
    comparison, _ = tiny
    small = {"embedding_size": 8, "hidden_size": 8, "dropout": 0.0}
    arms = {label: replace(arm, sizes=small) for label, arm in comparison.arms.items()}
    monkeypatch.setattr(loaders, "RESULTS", tmp_path)
    monkeypatch.setitem(comparisons.COMPARISONS, "tiny", replace(comparison, arms=arms))
    monkeypatch.setattr(
        comparisons,
        "exact_by_length",
        lambda *_, **__: pd.DataFrame([{"low": 2, "high": 24, "sentences": 1, "exact": 0.0, "bleu": 0.0}]),
    )
    comparisons.compare("tiny", seeds=(0,))
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(comparisons.Corpus, "fit", None)  # nothing is trained a second time
    comparisons.compare("tiny", seeds=(0,))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first
    rows = pd.read_csv(tmp_path / "tiny-tuning.csv")
    assert rows.groupby("arm").size().tolist() == [4, 4]  # four rates
    assert set(pd.read_csv(tmp_path / "tiny.csv")["arm"]) == set(arms)


def test_captions_are_compared_by_bleu(tmp_path, monkeypatch):
    parts = loaders.load_captions().train_test_split(test_size=20, seed=0)
    splits = {"train": parts["train"], "validation": parts["test"], "test": parts["train"]}
    monkeypatch.setattr(comparisons, "load_multi30k", lambda *_: splits)
    monkeypatch.setattr(loaders, "RESULTS", tmp_path)
    full = comparisons.COMPARISONS["race-captions"]
    small = {"embedding_size": 32, "hidden_size": 32, "dropout": 0.0}
    arms = {"GRU with attention": comparisons.Arm("gru-attention", small, (0.02,))}
    shrunk = {"steps": 60, "part": 20, "tuned": 20, "warm_ups": (5,), "batches": (8,), "validated": 10}
    comparison = replace(full, arms=arms, pieces=300, averaging=0.5, **shrunk)
    monkeypatch.setitem(comparisons.COMPARISONS, "tiny", comparison)
    comparisons.compare("tiny", seeds=(0,))
    history, rows = pd.read_csv(tmp_path / "tiny-history.csv"), pd.read_csv(tmp_path / "tiny.csv")
    assert history["step"].tolist() == [20, 40, 60]
    assert history["loss"].is_monotonic_decreasing
    everything, *ranges = rows.to_dict("records")
    assert everything["sentences"] == sum(row["sentences"] for row in ranges) == len(parts["train"])
    assert everything["bleu"] > 0
