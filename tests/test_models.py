import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch.nn import functional as F

from utils.models.recurrent import AdditiveAttention, RecurrentTranslationModel
from utils.models.transformer import TransformerTranslationModel

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def make_model(attention=True, **options):
    torch.manual_seed(1)
    return RecurrentTranslationModel(20, 22, attention, embedding_size=8, hidden_size=12, **options).eval()


def make_transformer():
    torch.manual_seed(1)
    return TransformerTranslationModel(20, 22, width=16, heads=4, layers=2, feed_forward_size=24).eval()


ALL_MODELS = pytest.mark.parametrize(
    "make",
    [make_model, lambda: make_model(attention=False), make_transformer],
    ids=["gru-attention", "gru", "transformer"],
)
SOURCE = torch.tensor([[4, 5, 6, 7, 3], [8, 9, 3, 0, 0]])
TARGET = torch.tensor([[2, 4, 5, 6], [2, 7, 8, 9]])


def test_additive_attention_equals_the_formula_written_as_loops():
    torch.manual_seed(0)
    attention = AdditiveAttention(3, 4, 5)
    query, values = torch.randn(2, 3), torch.randn(2, 6, 4)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0]], dtype=torch.bool)
    context, weights = attention(query, attention.project_keys(values), values, mask)
    w, u, v = (m.weight for m in (attention.query_projection, attention.key_projection, attention.score))
    for b, length in enumerate((6, 2)):
        scores = [(v @ torch.tanh(w @ query[b] + u @ values[b, s])).item() for s in range(length)]
        exponentials = torch.tensor(scores).exp()
        expected = exponentials / exponentials.sum()
        assert torch.allclose(weights[b, :length], expected, atol=1e-6)
        assert weights[b, length:].sum() == 0
        by_hand = sum(expected[s] * values[b, s] for s in range(length))
        assert torch.allclose(context[b], by_hand, atol=1e-6)


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_teacher_forcing_equals_decoding_step_by_step(attention, bidirectional):
    model = make_model(attention, bidirectional=bidirectional)
    logits, weights = model.decode(TARGET, memory := model.encode(SOURCE))
    assert torch.equal(logits, model(SOURCE, TARGET))
    state = model.start(memory)
    for t in range(TARGET.size(1)):
        step_logits, state, step_weights = model.step(TARGET[:, t], state, memory)
        assert torch.allclose(step_logits, logits[:, t], atol=1e-5)
        if attention:
            assert torch.allclose(step_weights, weights[:, t], atol=1e-6)
        else:
            assert step_weights is None


@ALL_MODELS
def test_a_prediction_depends_on_earlier_target_tokens_and_on_no_later_one(make):
    model = make()
    changed = TARGET.clone()
    changed[:, 2] = 11
    difference = (model(SOURCE, TARGET) - model(SOURCE, changed)).abs().amax(dim=(0, 2))
    assert difference[:2].max() == 0
    assert difference[2:].min() > 1e-5


@ALL_MODELS
@settings(max_examples=20)
@given(length=st.integers(1, 7), padding=st.integers(1, 6), seed=st.integers(0, 99))
def test_padding_changes_nothing(make, length, padding, seed):
    model = make()
    generator = torch.Generator().manual_seed(seed)
    source = torch.randint(4, 20, (1, length), generator=generator)
    target = torch.randint(4, 22, (1, 5), generator=generator)
    alone = model(source, target)
    neighbour = torch.randint(4, 20, (1, length + padding), generator=generator)
    batch = torch.cat([F.pad(source, (0, padding)), neighbour])
    together = model(batch, target.repeat(2, 1))
    assert torch.allclose(alone[0], together[0], atol=1e-5)


def test_without_attention_the_decoder_sees_the_last_state_alone():
    model = make_model(False)
    memory = model.encode(SOURCE)
    assert set(memory) == {"last"}
    assert memory["last"].shape == (2, 12)
    other = {"last": memory["last"].flip(0)}
    swapped = model.decode(TARGET.flip(0), other)[0].flip(0)
    assert torch.allclose(swapped, model(SOURCE, TARGET), atol=1e-5)


def test_last_state_joins_both_directions():
    model = make_model(False)
    embedded = model.source_embedding(SOURCE[1, :3])
    states, _ = model.encoder(embedded.unsqueeze(0))
    expected = torch.cat([states[0, -1, :6], states[0, 0, 6:]])
    assert torch.allclose(model.encode(SOURCE)["last"][1], expected, atol=1e-6)


def test_the_two_models_differ_in_the_attention_alone():
    with_attention, without = make_model(True).state_dict(), make_model(False).state_dict()
    extra = set(with_attention) - set(without)
    assert extra
    assert all(name.startswith("attention.") for name in extra)
    assert all(with_attention[name].shape == without[name].shape for name in without)


def test_output_weights_are_the_target_embedding():
    model = make_model()
    model(SOURCE, TARGET).sum().backward()
    assert model.target_embedding.weight.grad.abs().sum(dim=1).min() > 0  # every row is an output


@ALL_MODELS
def test_a_network_saves_and_loads_itself_in_half_precision(make, tmp_path, capsys):
    model = make()
    model.save_pretrained(tmp_path)
    assert all(tensor.dtype == torch.float16 for tensor in load_file(tmp_path / "model.safetensors").values())
    loaded = type(model).from_pretrained(tmp_path)
    assert not loaded.training
    assert loaded.config == model.config
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor.half().float())
    assert capsys.readouterr().out == ""


def test_a_network_does_not_take_the_weights_of_another(tmp_path):
    make_model(attention=False).save_pretrained(tmp_path)
    make_model(attention=True).save_pretrained(tmp_path / "other")
    (tmp_path / "other" / "model.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes())
    with pytest.raises(RuntimeError, match=r"Missing key.*attention"):
        RecurrentTranslationModel.from_pretrained(tmp_path / "other")


def test_two_vocabularies_of_different_sizes_cannot_share_an_embedding():
    with pytest.raises(ValueError, match="two vocabularies of the same size"):
        make_model(shared_embeddings=True)


def test_an_odd_width_cannot_be_halved():
    with pytest.raises(ValueError, match="even"):
        RecurrentTranslationModel(10, 10, hidden_size=7)


def test_notebook_00_loads_little_of_ours():
    """What two translators and a heat map need, and no more: no charts, no training, no language models."""
    notebook = json.loads((NOTEBOOKS / "00_hello_transformers.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    imports = re.findall(r"^from utils.*$", "\n".join(cells), re.MULTILINE)
    names = re.search(r"checkpoints=(\[.*\])", cells[0])
    script = """
import sys
for name in CHECKPOINTS:
    load_translator(name)
files = [module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "utils"]
print(sum(len(open(file, encoding="utf-8").readlines()) for file in files))
"""
    script = "\n".join(imports) + script.replace("CHECKPOINTS", names[1])
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, encoding="utf-8", check=True)
    assert int(run.stdout) <= 1500
