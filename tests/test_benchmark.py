import dataclasses
import json
import time
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from torch.utils.flop_counter import FlopCounterMode

from scripts import benchmark
from scripts.benchmark import (
    MARIAN,
    batch_loss,
    compared,
    generation,
    main,
    marian,
    median_seconds,
    product_rate,
    take_turns,
    target_tokens,
    training_steps,
    useful_operations,
)
from utils.models import transformer
from utils.models.transformer import TransformerTranslationModel


def make_transformer():
    torch.manual_seed(0)
    return TransformerTranslationModel(40, 50, width=32, heads=4, layers=2, feed_forward_size=64)


def batch(source_length, target_length, size=3):
    generator = torch.Generator().manual_seed(0)
    return tuple(
        torch.randint(4, 40, (size, length), generator=generator) for length in (source_length, target_length)
    )


@pytest.mark.parametrize("padding", [0, 5])
def test_operations_of_a_transformer_are_those_of_its_matrices(monkeypatch, padding):
    def by_hand(*inputs):  # PyTorch's counter does not see into its own function
        return transformer.scaled_dot_product_attention(*inputs)[0]

    monkeypatch.setattr(transformer.F, "scaled_dot_product_attention", by_hand)
    model, (source, target) = make_transformer(), batch(11, 9)
    padded = [torch.nn.functional.pad(tokens, (0, padding)) for tokens in (source, target)]
    with FlopCounterMode(display=False) as counter:
        model(source, target[:, :-1])
    unseen = 2 * 4 * 32 * 3 * (8 * 8 - 8 * 9 // 2)  # two layers multiply what the causal mask hides
    assert useful_operations(model, *padded) == 3 * (counter.get_total_flops() - unseen)


def test_padding_and_the_start_are_no_target_tokens():
    source, target = batch(11, 9)
    assert target_tokens([(source, torch.nn.functional.pad(target, (0, 7)))] * 2) == 2 * 3 * 8


@pytest.mark.parametrize("shared", [False, True])
def test_marian_is_as_large_as_ours(shared):
    torch.manual_seed(0)
    sizes = {"width": 32, "layers": 2, "feed_forward_size": 64, "shared_embeddings": shared}
    ours = TransformerTranslationModel(50, 50 if shared else 40, **sizes)
    theirs = marian(ours)
    norms = 2 * 2 * 32  # ours has one more on either side, behind the last layer
    learnt = sum(parameter.numel() for parameter in theirs.parameters() if parameter.requires_grad)
    assert (
        learnt == sum(parameter.numel() for parameter in ours.parameters()) - norms - ours.output_bias.numel()
    )
    assert theirs.final_logits_bias.shape == (1, len(ours.output_bias))  # the bias that it does not learn


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_steps_train_both(precision):
    source, target = batch(11, 9)
    target = torch.nn.functional.pad(target, (0, 2))
    for model in (make_transformer(), marian(make_transformer())):
        torch.manual_seed(0)
        model.eval()
        losses = [batch_loss(model, (source, target)).item()]
        for _ in range(20):
            training_steps(model, [(source, target)], precision)()
        losses.append(batch_loss(model.eval(), (source, target)).item())
        assert losses[1] < losses[0]
        assert losses[0] == pytest.approx(4, abs=0.7)  # nats: the logarithm of the vocabulary's size


def test_all_take_turns():
    calls = []
    seconds = take_turns({"a": lambda: calls.append("a"), "b": lambda: time.sleep(0.02)}, rounds=3)
    assert calls == ["a"] * 4
    assert [len(found) for found in seconds.values()] == [3, 3]
    assert min(seconds["b"]) >= 0.02
    assert compared({"a": [1.0, 2.0, 4.0], "b": [3.0, 3.0, 4.0]}, "a", "b") == "1.50 (1.00 to 3.00)"


def test_the_library_writes_as_many_tokens(monkeypatch):
    words = ["a dog runs .", "a dog .", "the black dog runs on the grass ."]
    found = [SimpleNamespace(target_tokens=["x"] * length) for length in (7, 4, 9)]
    encodings = [SimpleNamespace(ids=[2, *range(4, 4 + len(text.split())), 3]) for text in words]
    tokenizer = SimpleNamespace(encode_batch=lambda _: encodings)
    translator = SimpleNamespace(translate=lambda *_, **__: found, source_tokenizer=tokenizer)
    model, written = marian(make_transformer()), []
    generate = model.generate
    monkeypatch.setattr(model, "generate", lambda *a, **k: written.append(generate(*a, **k)))
    generation(model, translator, words, 2)()
    assert [tuple(ids.shape) for ids in written] == [(2, 1 + 7), (1, 1 + 9)]  # <s>, and the longest


def test_a_call_that_sleeps_takes_as_long():
    assert median_seconds(lambda: time.sleep(0.05), seconds=0.1) == pytest.approx(0.05, abs=0.03)
    assert product_rate(sizes=(64,)) > 1e6
    assert product_rate(torch.bfloat16, sizes=(64,)) > 1e6


@pytest.mark.slow
def test_the_command_measures(monkeypatch, tmp_path, capsys, attentive):
    rows = {"en": ["A dog runs ."] * 6, "fr": ["Un chien court ."] * 6}
    corpus = dict.fromkeys(("train", "test"), Dataset.from_dict(rows))
    sizes = (attentive.source_tokenizer.get_vocab_size(), attentive.target_tokenizer.get_vocab_size())
    small = TransformerTranslationModel(*sizes, width=16, layers=2, feed_forward_size=24).eval()
    translators = {"one": dataclasses.replace(attentive, model=small), "two": attentive}
    monkeypatch.setattr(benchmark, "load_multi30k", lambda *_: corpus)
    monkeypatch.setattr(benchmark, "load_translator", translators.get)
    monkeypatch.setattr(benchmark, "product_rate", lambda _: 1e9)
    path = tmp_path / "report.json"
    options = ["--batches", "1", "--batch-size", "4", "--rounds", "2", "--output", str(path)]
    main([*options, "--checkpoints", "one", "two"])
    report = json.loads(path.read_text(encoding="utf-8"))
    assert report == json.loads(capsys.readouterr().out)
    names = ["one", "two", MARIAN]
    assert [(step["precision"], step["checkpoint"]) for step in report["steps"]] == [
        (precision, name) for precision in ("float32", "bfloat16") for name in names
    ]
    assert all(step["target tokens/s"] > 0 for step in report["steps"])
    assert ["share of the product" in step for step in report["steps"]] == [True, False, True] * 2
    assert all(f"seconds for 6 captions, greedy, {name}" in report for name in names)
    assert f"greedy, one, times {MARIAN}, each with its best size" in report
    assert len(report["day"]) == 10


def test_the_command_refuses_no_batches():
    with pytest.raises(ValueError, match="--batches must be an integer of at least 1, not 0"):
        main(["--batches", "0"])
