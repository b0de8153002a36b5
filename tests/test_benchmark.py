import time

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from scripts.benchmark import (
    best_seconds,
    layer_seconds,
    main,
    product_rate,
    training_step,
    useful_operations,
)
from utils.models.transformer import TransformerTranslationModel
from utils.training import translation_loss


def make_model():
    torch.manual_seed(0)
    return TransformerTranslationModel(40, 50, width=32, heads=4, layers=2, feed_forward_size=64)


def batch(source_length, target_length, size=3):
    generator = torch.Generator().manual_seed(0)
    return tuple(
        torch.randint(4, 40, (size, length), generator=generator) for length in (source_length, target_length)
    )


def test_useful_operations_are_those_that_pytorch_counts():
    model, (source, target) = make_model(), batch(11, 9)
    with FlopCounterMode(display=False) as counter:
        loss, _ = translation_loss(model, (source, target))
        loss.backward()
    config = model.config
    # PyTorch counts the half of the decoder's looks that its mask throws away, too.
    thrown_away = 3 * 2 * config["layers"] * config["width"] * 3 * 8**2
    assert useful_operations(model, source, target) + thrown_away == pytest.approx(counter.get_total_flops())


def test_padding_is_no_useful_operation():
    model, (source, target) = make_model(), batch(11, 9)
    padded = [torch.nn.functional.pad(tokens, (0, 7)) for tokens in (source, target)]
    assert useful_operations(model, *padded) == useful_operations(model, source, target)


def test_the_shortest_run_counts_and_the_first_does_not():
    waits = iter([0.5, 0.05, 0.01, 0.05])
    assert best_seconds(lambda: time.sleep(next(waits)), repeats=3) == pytest.approx(0.01, abs=0.02)


def test_rates_are_positive_and_consistent():
    assert product_rate(sizes=(64,)) > 1e6
    model, pair = make_model(), batch(6, 5)
    measured = training_step(model, [pair])
    operations = measured["operations_per_second"] * measured["seconds"]
    assert operations == pytest.approx(useful_operations(model, *pair))
    assert measured["tokens_per_second"] * measured["seconds"] == pytest.approx(3 * 4)


def test_layers_are_timed_by_name():
    assert all(layer_seconds(kind, 8, width=16, repeats=1) > 0 for kind in ("recurrent", "self-attention"))
    with pytest.raises(ValueError, match="convolution"):
        layer_seconds("convolution", 8)


def test_the_command_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("HELLO_TRANSFORMERS_DATA", str(tmp_path))
    with pytest.raises(SystemExit, match="error: "):
        main([])
