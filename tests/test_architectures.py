import pytest
import torch
from transformers import AutoConfig, AutoModel
from transformers.utils import logging

from scripts import architectures
from scripts.architectures import (
    EXCEPTIONS,
    LARGEST,
    SIZES,
    call_architectures,
    example_inputs,
    small_config,
    text_models,
)


def test_one_function_makes_them_small():
    for name in ("bert", "gpt2", "t5", "llama", "mixtral", "bloom", "distilbert"):
        parameters = sum(p.numel() for p in AutoModel.from_config(small_config(name)).parameters())
        assert 1_000 < parameters < 100_000
    assert small_config("gpt2").n_embd == small_config("bert").hidden_size == SIZES["hidden_size"]
    assert AutoConfig.for_model("bert").hidden_size == 768  # the registry is as it was


def test_there_are_few_exceptions_and_each_is_needed(monkeypatch):
    assert len(EXCEPTIONS) <= 5
    answered, refused = call_architectures(EXCEPTIONS)
    assert [row["name"] for row in answered] == list(EXCEPTIONS)
    assert not refused
    monkeypatch.setattr(architectures, "EXCEPTIONS", {})
    answered, refused = call_architectures(EXCEPTIONS)
    assert not answered
    assert [row["name"] for row in refused] == list(EXCEPTIONS)


def test_rows_say_what_answered():
    before = logging.get_verbosity()
    rows, refused = call_architectures(["bert", "gpt2", "t5", "perceiver"])
    assert [(row["name"], row["model_class"], row["type"]) for row in rows] == [
        ("bert", "BertModel", "encoder"),
        ("gpt2", "GPT2Model", "decoder"),
        ("t5", "T5Model", "both"),
    ]
    assert {row["shape"] for row in rows} == {(1, 8, 32)}
    assert rows[0]["parameters"] == AutoModel.from_config(small_config("bert")).num_parameters() < LARGEST
    ((name, reason),) = [row.values() for row in refused]
    assert name == "perceiver"
    assert "not made small: 2" in reason
    assert logging.get_verbosity() == before


def test_only_a_pair_reads_on_two_sides():
    assert set(example_inputs(small_config("gpt2"))) == {"input_ids"}
    inputs = example_inputs(small_config("t5"))
    assert torch.equal(inputs["input_ids"], inputs["decoder_input_ids"])


def test_the_list_holds_models_of_text():
    names = text_models()
    assert {"bert", "gpt2", "t5", "llama", "bart", "roberta"} <= set(names)
    assert not {"clip", "vit", "whisper_encoder", "llava", "gemma3"} & set(names)
    assert names == sorted(set(names))


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="Unrecognized model identifier: bertt"):
        small_config("bertt")
    _, (refused,) = call_architectures(["bertt"])
    assert refused["name"] == "bertt"
    assert "Unrecognized" in refused["reason"]
