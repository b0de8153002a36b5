import pytest
import torch
from torch.nn import functional as F
from transformers import GPT2Config, GPT2Model

from scripts.masked_model import masked_language_model_loss
from scripts.stack import TransformerLanguageModel
from utils.models.language_models import language_model_loss, mask_tokens
from utils.tokens import MASK_ID

TOKENS = torch.tensor([[2, 7, 8, 9, 10, 11, 12, 3], [2, 13, 14, 15, 3, 0, 0, 0]])
BOTH = pytest.mark.parametrize("causal", [True, False], ids=["causal", "full"])


def make_model(causal, **options):
    torch.manual_seed(1)
    sizes = {"width": 16, "heads": 4, "layers": 2, "feed_forward_size": 24, "max_length": 12}
    model = TransformerLanguageModel(20, causal, **(sizes | options)).eval()
    with torch.no_grad():  # biases and norms start as zeros and ones, which would hide mistakes
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


def gpt2_with_the_weights_of(model):
    config = GPT2Config(
        vocab_size=20,
        n_embd=16,
        n_head=4,
        n_layer=2,
        n_inner=24,
        n_positions=12,
        bos_token_id=2,
        eos_token_id=3,
        activation_function="gelu",  # the exact one; GPT-2 itself approximates it
    )
    gpt2 = GPT2Model(config).eval()
    gpt2.wte.load_state_dict(model.embedding.state_dict())
    gpt2.wpe.load_state_dict(model.positions.state_dict())
    gpt2.ln_f.load_state_dict(model.final_norm.state_dict())
    for theirs, ours in zip(gpt2.h, model.layers, strict=True):
        attention = ours.self_attention
        pairs = (
            (theirs.attn.c_attn, attention.qkv_projection),
            (theirs.attn.c_proj, attention.output_projection),
            (theirs.mlp.c_fc, ours.expand),
            (theirs.mlp.c_proj, ours.contract),
        )
        for convolution, linear in pairs:  # GPT-2 keeps its matrices the other way round
            convolution.weight.data, convolution.bias.data = linear.weight.T, linear.bias
        theirs.ln_1.load_state_dict(ours.self_attention_norm.state_dict())
        theirs.ln_2.load_state_dict(ours.feed_forward_norm.state_dict())
    return gpt2


@torch.no_grad()
def test_the_causal_stack_equals_gpt2():
    model = make_model(causal=True)
    expected = gpt2_with_the_weights_of(model)(TOKENS).last_hidden_state
    assert torch.allclose(model.read(TOKENS), expected, atol=1e-5)
    logits = F.linear(expected, model.embedding.weight, model.output_bias)
    assert torch.allclose(model(TOKENS), logits, atol=1e-5)


@BOTH
@torch.no_grad()
def test_what_a_changed_token_can_reach(causal):
    model = make_model(causal)
    for place in range(1, 7):
        changed = TOKENS.clone()
        changed[0, place] = 17
        difference = (model(TOKENS) - model(changed)).abs().amax(dim=2)
        assert difference[1].max() == 0
        assert difference[0, place:].min() > 1e-4
        if causal:
            assert difference[0, :place].max() == 0
        else:
            assert difference[0, :place].min() > 1e-4


@BOTH
@torch.no_grad()
def test_padding_changes_nothing(causal):
    model = make_model(causal)
    alone = model(TOKENS[1:, :5])
    assert torch.allclose(model(TOKENS)[1, :5], alone[0], atol=1e-6)


@torch.no_grad()
def test_predictions_at_selected_places_alone():
    model, selected = make_model(causal=False), TOKENS > 8
    assert torch.allclose(model(TOKENS, selected), model(TOKENS)[selected], atol=1e-6)


def test_texts_that_do_not_fit_are_refused():
    model = make_model(causal=True)
    with pytest.raises(ValueError, match="13 tokens, but the model's places end at 12"):
        model(torch.ones(1, 13, dtype=torch.long))
    with pytest.raises(ValueError, match=r"shape \[batch, time\], not \[8\]"):
        model(TOKENS[0])


def test_impossible_sizes_are_named():
    with pytest.raises(ValueError, match="multiple of 4"):
        make_model(causal=True, width=18)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_fifteen_percent_are_selected_and_of_these_80_10_10():
    tokens = torch.randint(5, 1000, (400, 100), generator=generator(1))
    tokens[:, 0], tokens[:, -1] = 2, 3
    inputs, selected = mask_tokens(tokens, 1000, generator())
    assert (selected.sum(dim=1) == round(0.15 * 98)).all()
    assert torch.equal(inputs[~selected], tokens[~selected])
    fates = inputs[selected]
    masked, kept = fates == MASK_ID, fates == tokens[selected]
    replaced = fates[~masked & ~kept]
    # 6,000 are selected; four standard deviations of a share of .8 are .021, of a share of .1 .016
    assert masked.float().mean().item() == pytest.approx(0.8, abs=0.021)
    assert kept.float().mean().item() == pytest.approx(0.1, abs=0.016)
    assert len(replaced) / len(fates) == pytest.approx(0.1, abs=0.016)
    assert replaced.min() > MASK_ID
    assert replaced.float().mean().item() == pytest.approx(502, abs=4 * 287 / len(replaced) ** 0.5)
    # every place is as likely as any other: 400 draws of 14 or 15 in 98
    share = selected[:, 1:-1].float().mean(dim=0)
    assert (share - 15 / 98).abs().max() < 4.5 * (0.13 / 400) ** 0.5


def test_special_tokens_are_never_selected_and_every_text_is_asked_for_something():
    tokens = torch.tensor([[2, 9, 3, 0, 0, 0], [2, 9, 4, 9, 1, 3], [2, 3, 0, 0, 0, 0]])
    for seed in range(50):
        inputs, selected = mask_tokens(tokens, 12, generator(seed))
        assert not selected[tokens <= MASK_ID].any()
        assert selected.sum(dim=1).tolist() == [1, 1, 0]
        assert torch.equal(inputs[tokens <= MASK_ID], tokens[tokens <= MASK_ID])
    assert mask_tokens(tokens, 12, generator(), share=1.0)[1].sum() == 3


def test_the_same_generator_hides_the_same():
    first, second, other = (mask_tokens(TOKENS, 20, generator(seed), 0.5) for seed in (3, 3, 4))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[1], other[1])


def test_the_loss_counts_selected_places_alone():
    logits = torch.randn(2, 8, 20, generator=generator())
    _, selected = mask_tokens(TOKENS, 20, generator())
    expected = F.cross_entropy(logits.transpose(1, 2), TOKENS.masked_fill(~selected, -100))
    assert torch.allclose(masked_language_model_loss(logits[selected], TOKENS, selected), expected)


def test_a_masked_loss_without_sense_is_refused():
    _, selected = mask_tokens(TOKENS, 20, generator())
    with pytest.raises(ValueError, match=r"a row of logits .* 2 selected tokens: logits are \[2, 8, 20\]"):
        masked_language_model_loss(torch.zeros(2, 8, 20), TOKENS, selected)
    with pytest.raises(ValueError, match="no token is selected"):
        masked_language_model_loss(torch.zeros(0, 20), TOKENS, torch.zeros_like(TOKENS, dtype=torch.bool))
    for share in (0.0, 1.5):
        with pytest.raises(ValueError, match="share must be above 0"):
            mask_tokens(TOKENS, 20, generator(), share)
    with pytest.raises(ValueError, match="no text that could be masked"):
        mask_tokens(torch.tensor([[2, 3]]), 20, generator())


def test_both_losses_agree_where_they_ask_the_same():
    logits = torch.randn(2, 8, 20, generator=generator())
    selected = torch.zeros_like(TOKENS, dtype=torch.bool)
    selected[:, 1:] = TOKENS[:, 1:] != 0  # the causal loss asks for all tokens but the first
    shifted = logits.roll(1, dims=1)
    expected = language_model_loss(logits, TOKENS)
    assert torch.allclose(masked_language_model_loss(shifted[selected], TOKENS, selected), expected)
