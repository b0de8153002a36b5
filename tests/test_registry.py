import json

import pandas as pd
import pytest
import torch
from transformers import AutoConfig, AutoModel
from transformers.utils import logging

from scripts.experiments import architectures
from scripts.experiments.architectures import (
    EXCEPTIONS,
    LARGEST,
    SIZES,
    call_architecture,
    example_inputs,
    small_config,
    sweep_architectures,
    text_models,
)
from utils import loaders
from utils.loaders import load_results, load_settings


def test_one_function_makes_them_small():
    for name in ("bert", "gpt2", "t5", "llama", "mixtral", "bloom", "distilbert"):
        parameters = sum(p.numel() for p in AutoModel.from_config(small_config(name)).parameters())
        assert 1_000 < parameters < 100_000
    assert small_config("gpt2").n_embd == small_config("bert").hidden_size == SIZES["hidden_size"]
    assert AutoConfig.for_model("bert").hidden_size == 768  # the registry is as it was


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_each_exception_is_needed(monkeypatch, name):
    assert not call_architecture(name)["reason"]
    monkeypatch.setattr(architectures, "EXCEPTIONS", {})
    assert call_architecture(name)["reason"]


def test_the_sweep_says_what_answered_and_why_others_did_not(monkeypatch, tmp_path):
    monkeypatch.setattr(loaders, "RESULTS", tmp_path)
    before = logging.get_verbosity()
    sweep_architectures("registry", ["bert", "gpt2", "t5", "perceiver", "bertt"])
    assert logging.get_verbosity() == before
    table = pd.read_csv(tmp_path / "registry.csv", keep_default_na=False)
    answered, refused = table[table["reason"] == ""], table[table["reason"] != ""]
    assert answered["model_class"].tolist() == ["BertModel", "GPT2Model", "T5Model"]
    assert answered["type"].tolist() == ["encoder", "decoder", "both"]
    assert set(answered["shape"]) == {"1 × 8 × 32"}
    bert = AutoModel.from_config(small_config("bert"))
    assert int(answered["parameters"].iloc[0]) == bert.num_parameters() < LARGEST
    assert refused["name"].tolist() == ["perceiver", "bertt"]
    assert "not made small: 2" in refused["reason"].iloc[0]
    assert "Unrecognized model identifier: bertt" in refused["reason"].iloc[1]
    assert json.loads((tmp_path / "registry.json").read_text(encoding="utf-8"))["sizes"] == SIZES


def test_only_a_pair_reads_on_two_sides():
    assert set(example_inputs(small_config("gpt2"))) == {"input_ids"}
    inputs = example_inputs(small_config("t5"))
    assert torch.equal(inputs["input_ids"], inputs["decoder_input_ids"])


@pytest.mark.slow
def test_the_list_holds_models_of_text():
    names = text_models()
    assert {"bert", "gpt2", "t5", "llama", "bart", "roberta"} <= set(names)
    assert not {"clip", "vit", "whisper_encoder", "llava", "gemma3"} & set(names)
    assert names == sorted(set(names))


def test_the_shipped_table_is_that_of_the_list():
    table = load_results("architectures")
    assert table["name"].tolist() == text_models()
    assert table["reason"].isna().sum() > 150
    assert load_settings("architectures")["exceptions"] == EXCEPTIONS
