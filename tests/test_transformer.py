import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from scripts.convert import convert
from utils.models.transformer import (
    Dropout,
    MultiHeadAttention,
    TransformerLayer,
    TransformerTranslationModel,
    causal_mask,
    scaled_dot_product_attention,
    sinusoidal_positions,
)
from utils.pretrained import CheckpointError, load_network, write_checksums

SOURCE = torch.tensor([[4, 5, 6, 7, 3], [8, 9, 3, 0, 0]])
TARGET = torch.tensor([[2, 4, 5, 6], [2, 7, 8, 9]])


def make_model(**options):
    torch.manual_seed(1)
    sizes = {"width": 16, "heads": 4, "layers": 2, "feed_forward_size": 24}
    return TransformerTranslationModel(20, 22, **(sizes | options)).eval()


def test_attention_equals_the_library():
    torch.manual_seed(0)
    queries, keys, values = (torch.randn(2, 4, length, 8) for length in (5, 7, 7))
    mask = torch.rand(2, 1, 5, 7) > 0.3
    mask[..., 0] = True
    for chosen in (None, mask):
        mixed, weights = scaled_dot_product_attention(queries, keys, values, chosen)
        expected = F.scaled_dot_product_attention(queries, keys, values, attn_mask=chosen)
        assert torch.allclose(mixed, expected, atol=1e-6)
        assert torch.allclose(weights.sum(dim=-1), torch.ones(2, 4, 5))
    assert (weights.masked_select(~mask.expand_as(weights)) == 0).all()


def copy_attention(ours, theirs):
    theirs.in_proj_weight.data = ours.qkv_projection.weight
    theirs.in_proj_bias.data = ours.qkv_projection.bias
    theirs.out_proj.weight.data = ours.output_projection.weight
    theirs.out_proj.bias.data = ours.output_projection.bias


def test_several_heads_equal_the_library():
    torch.manual_seed(0)
    ours, theirs = MultiHeadAttention(16, 4), nn.MultiheadAttention(16, 4, batch_first=True)
    copy_attention(ours, theirs)
    queries, values = torch.randn(2, 5, 16), torch.randn(2, 7, 16)
    output, weights = ours(*ours.project(queries, 0, 1), *ours.project(values, 1, 3))
    expected, expected_weights = theirs(queries, values, values, average_attn_weights=False)
    assert torch.allclose(output, expected, atol=1e-6)
    assert torch.allclose(weights, expected_weights, atol=1e-6)


PADDING = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])[:, None, None]


@pytest.mark.parametrize("mask", [None, PADDING, causal_mask(5), PADDING & causal_mask(5)])
def test_weights_that_are_not_needed_change_nothing_else(mask):
    torch.manual_seed(0)
    layer, found = MultiHeadAttention(16, 4), []
    inputs, weighting = torch.randn(2, 5, 16), torch.randn(2, 5, 16)
    for need_weights in (True, False):
        vectors = inputs.clone().requires_grad_()
        output, weights = layer(*layer.project(vectors), mask, need_weights)
        assert (weights is not None) == need_weights
        found.append(
            [output, *torch.autograd.grad((output * weighting).sum(), [vectors, *layer.parameters()])]
        )
    assert len(found[0]) == 6
    for by_hand, fused in zip(*found, strict=True):
        assert torch.allclose(by_hand, fused, atol=1e-5)


def test_half_precision_gives_no_weights_that_are_not_needed():
    torch.manual_seed(0)
    layer, inputs = MultiHeadAttention(16, 4).bfloat16(), torch.randn(2, 5, 16).bfloat16()
    output, weights = layer(*layer.project(inputs), PADDING, False)
    assert weights is None
    assert output.dtype == torch.bfloat16
    # What is rounded is the result, and not what is added up on the way.
    exact = [part.float() for part in layer.project(inputs)]
    mixed, _ = scaled_dot_product_attention(*exact, PADDING)
    expected = layer.output_projection(mixed.bfloat16().transpose(1, 2).flatten(2))
    assert torch.allclose(output, expected, rtol=2**-7, atol=2**-9)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        again, _ = layer.float()(*exact, PADDING, False)
    assert torch.allclose(again, output, atol=0.02)


def test_queries_keys_and_values_are_drawn_one_by_one():
    layer = make_model(width=64).encoder[0].self_attention
    bound = math.sqrt(6 / (64 + 64))  # Glorot and Bengio's, for a matrix of 64 × 64
    for matrix in layer.qkv_projection.weight.chunk(3):
        assert 0.95 * bound < matrix.abs().max() <= bound


@pytest.mark.parametrize("share", [0.1, 0.25, 0.9])
def test_dropout_keeps_the_mean_and_its_share(share):
    torch.manual_seed(0)
    dropout, ones = Dropout(share), torch.ones(301, 999, requires_grad=True)
    dropped = dropout(ones)
    assert dropped.unique().tolist() == pytest.approx([0, 1 / (1 - share)])
    kept = dropped > 0
    assert kept.float().mean().item() == pytest.approx(1 - share, abs=0.004)
    assert dropped.mean().item() == pytest.approx(1, abs=0.02)
    for other in (kept[:, 1:] & kept[:, :-1], kept[1:] & kept[:-1]):  # neighbours know nothing of each other
        assert other.float().mean().item() == pytest.approx((1 - share) ** 2, abs=0.005)
    dropped.sum().backward()
    assert torch.equal(ones.grad, dropped)
    assert not torch.equal(dropout(ones), dropped)
    assert dropout(ones.bfloat16()).dtype == torch.bfloat16
    assert torch.equal(dropout.eval()(ones), ones)
    assert torch.equal(Dropout(0.0)(ones), ones)


def copy_layer(ours, theirs):
    copy_attention(ours.self_attention, theirs.self_attn)
    norms = [ours.self_attention_norm, ours.feed_forward_norm]
    if ours.cross_attention is not None:
        copy_attention(ours.cross_attention, theirs.multihead_attn)
        norms.insert(1, ours.cross_attention_norm)
    for number, norm in enumerate(norms, start=1):
        getattr(theirs, f"norm{number}").load_state_dict(norm.state_dict())
    theirs.linear1.load_state_dict(ours.expand.state_dict())
    theirs.linear2.load_state_dict(ours.contract.state_dict())


def test_the_whole_equals_torchs_transformer():
    ours = make_model()
    with torch.no_grad():  # biases and norms start as zeros and ones, which would hide mistakes
        for parameter in ours.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
        ours.source_embedding.weight[0] = ours.target_embedding.weight[0] = 0
    options = {"dropout": 0.0, "batch_first": True, "norm_first": True}
    encoder_layer = nn.TransformerEncoderLayer(16, 4, 24, **options)
    decoder_layer = nn.TransformerDecoderLayer(16, 4, 24, **options)
    norms = [nn.LayerNorm(16), nn.LayerNorm(16)]
    theirs = nn.Transformer(
        16,
        4,
        custom_encoder=nn.TransformerEncoder(encoder_layer, 2, norms[0], enable_nested_tensor=False),
        custom_decoder=nn.TransformerDecoder(decoder_layer, 2, norms[1]),
        batch_first=True,
    ).eval()
    for mine, library in ((ours.encoder, theirs.encoder), (ours.decoder, theirs.decoder)):
        for our_layer, their_layer in zip(mine, library.layers, strict=True):
            copy_layer(our_layer, their_layer)
    norms[0].load_state_dict(ours.encoder_norm.state_dict())
    norms[1].load_state_dict(ours.decoder_norm.state_dict())
    source, target = (
        embedding(tokens) * 4 + sinusoidal_positions(tokens.size(1), 16)
        for embedding, tokens in ((ours.source_embedding, SOURCE), (ours.target_embedding, TARGET))
    )
    padding = SOURCE == 0
    with torch.no_grad():
        states = theirs(
            source,
            target,
            tgt_mask=~causal_mask(4),
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
        )
        expected = F.linear(states, ours.target_embedding.weight, ours.output_bias)
        assert torch.allclose(ours(SOURCE, TARGET), expected, atol=1e-4)


def test_teacher_forcing_equals_decoding_with_kept_keys():
    model = make_model()
    logits, weights = model.decode(TARGET, memory := model.encode(SOURCE))
    assert torch.allclose(logits, model(SOURCE, TARGET), atol=1e-5)
    state = model.start(memory)
    for t in range(TARGET.size(1)):
        step_logits, state, step_weights = model.step(TARGET[:, t], state, memory)
        assert torch.allclose(step_logits, logits[:, t], atol=1e-5)
        assert torch.allclose(step_weights, weights[:, t], atol=1e-6)
        assert state[1, 1].size(2) == t + 1


def test_without_positions_the_order_of_the_words_is_lost():
    torch.manual_seed(0)
    layer = TransformerLayer(16, 4, 24, 0.0).eval()
    vectors, order = torch.randn(1, 6, 16), torch.randperm(6)
    shuffled = layer(vectors[:, order])[0]
    assert torch.allclose(shuffled, layer(vectors)[0][:, order], atol=1e-5)
    model = make_model()
    order = torch.tensor([1, 0, 2, 3, 4])
    assert not torch.allclose(model(SOURCE, TARGET), model(SOURCE[:, order], TARGET), atol=1e-3)


def test_sinusoidal_positions_are_those_of_the_paper():
    table = sinusoidal_positions(50, 8)
    for position in (0, 1, 49):
        for pair in range(4):
            angle = position / 10_000 ** (2 * pair / 8)
            assert table[position, 2 * pair].item() == pytest.approx(math.sin(angle), abs=1e-5)
            assert table[position, 2 * pair + 1].item() == pytest.approx(math.cos(angle), abs=1e-5)


def test_attention_maps_of_all_layers_and_heads():
    model = make_model(alignment_layer=0)
    maps = model.attention_maps(SOURCE, TARGET)
    shapes = {"encoder": (2, 4, 5, 5), "decoder": (2, 4, 4, 4), "cross": (2, 4, 4, 5)}
    for name, shape in shapes.items():
        assert [tuple(layer.shape) for layer in maps[name]] == [shape, shape]
    assert torch.stack(maps["decoder"]).triu(1).max() == 0
    assert maps["encoder"][0][1, ..., 3:].max() == 0  # padding
    given_out = model.decode(TARGET, model.encode(SOURCE))[1]
    assert torch.allclose(maps["cross"][0].mean(dim=1), given_out)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 18}, "multiple of 4"),
        ({"alignment_layer": 2}, "from 0 to 1"),
        ({"shared_embeddings": True}, "of the same size"),
    ],
)
def test_impossible_sizes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        make_model(**options)


def test_an_odd_width_has_no_sinusoidal_positions():
    with pytest.raises(ValueError, match="even width"):
        sinusoidal_positions(4, 7)


def test_dropout_is_for_training_only():
    torch.manual_seed(0)
    model = make_model(dropout=0.5)
    assert torch.equal(model(SOURCE, TARGET), model(SOURCE, TARGET))
    model.train()
    assert not torch.allclose(model(SOURCE, TARGET), model(SOURCE, TARGET), atol=1e-2)


def separated(weights):
    """The weights in the layout of the first edition, with a matrix each for queries, keys and values."""
    parts = {}
    for name, tensor in weights.items():
        names = [name.replace("qkv", role) for role in ("query", "key", "value")] if "qkv" in name else [name]
        parts |= {one: part.clone() for one, part in zip(names, tensor.chunk(len(names)), strict=True)}
    return parts


def test_the_first_edition_is_converted_to_the_last_bit(tmp_path):
    make_model().save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    stored = load_file(path)
    assert "encoder.0.self_attention.qkv_projection.weight" in stored
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    old = {"model_type": "transformer-translation", "model": config}
    (tmp_path / "config.json").write_text(json.dumps(old), encoding="utf-8")
    save_file(separated(stored), path)
    write_checksums(tmp_path)
    assert convert(tmp_path)
    converted = load_file(path)
    assert converted.keys() == stored.keys()
    assert all(torch.equal(converted[name], stored[name]) for name in stored)
    load_network(tmp_path, TransformerTranslationModel)
    del converted["decoder.1.cross_attention.qkv_projection.weight"]
    save_file(converted, path)
    with pytest.raises(CheckpointError, match=r"decoder\.1\.cross_attention\.qkv_projection\.weight"):
        load_network(tmp_path, TransformerTranslationModel)


def test_shared_embeddings_are_one_matrix(tmp_path):
    torch.manual_seed(1)
    model = TransformerTranslationModel(20, 20, 16, layers=2, shared_embeddings=True).eval()
    assert [name for name, _ in model.named_parameters() if "embedding" in name] == [
        "target_embedding.weight"
    ]
    two = TransformerTranslationModel(20, 20, 16, layers=2).eval()
    weights = model.state_dict()
    two.load_state_dict(weights | {"source_embedding.weight": weights["target_embedding.weight"]})
    assert torch.equal(model(SOURCE, TARGET), two(SOURCE, TARGET))
    model.half().float().save_pretrained(tmp_path)
    again = load_network(tmp_path, TransformerTranslationModel)
    assert torch.equal(again(SOURCE, TARGET), model(SOURCE, TARGET))
