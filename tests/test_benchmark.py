import json
import time

import pytest
import torch
from datasets import Dataset
from torch.utils.flop_counter import FlopCounterMode

from scripts import benchmark
from scripts.benchmark import main, median_seconds, product_rate, training_step, useful_operations
from utils.models import transformer
from utils.models.recurrent import RecurrentTranslationModel
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


def test_padding_is_no_target_token_and_a_gru_has_no_count():
    torch.manual_seed(0)
    model = RecurrentTranslationModel(40, 50, True, embedding_size=8, hidden_size=8)
    source, target = batch(11, 9)
    measured = training_step(model, [(source, torch.nn.functional.pad(target, (0, 7)))])
    assert measured["tokens_per_second"] * measured["seconds"] == pytest.approx(3 * 8)
    assert measured["operations_per_second"] is None


def test_a_call_that_sleeps_takes_as_long():
    assert median_seconds(lambda: time.sleep(0.05), seconds=0.1) == pytest.approx(0.05, abs=0.03)
    assert product_rate(sizes=(64,)) > 1e6


@pytest.mark.slow
def test_the_command_measures(monkeypatch, tmp_path, capsys, attentive):
    rows = {"en": ["A dog runs ."] * 6, "fr": ["Un chien court ."] * 6}
    corpus = dict.fromkeys(("train", "test"), Dataset.from_dict(rows))
    monkeypatch.setattr(benchmark, "load_multi30k", lambda *_: corpus)
    monkeypatch.setattr(benchmark, "load_translator", lambda name: attentive)
    monkeypatch.setattr(benchmark, "product_rate", lambda: 1e9)
    path = tmp_path / "report.json"
    main(["--batches", "1", "--batch-size", "4", "--checkpoints", "one", "--output", str(path)])
    report = json.loads(path.read_text(encoding="utf-8"))
    assert report == json.loads(capsys.readouterr().out)
    assert [step["precision"] for step in report["steps"]] == ["float32", "bfloat16"]
    assert all(step["target tokens/s"] > 0 for step in report["steps"])
    assert "seconds for 6 captions, greedy, one" in report


def test_the_command_refuses_no_batches():
    with pytest.raises(ValueError, match="--batches must be an integer of at least 1, not 0"):
        main(["--batches", "0"])
