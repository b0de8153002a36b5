import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from utils.models.language_models import RecurrentLanguageModel, language_model_loss, locked_dropout
from utils.pretrained import CheckpointError, save_checkpoint
from utils.texts import LanguageModel, load_language_model
from utils.tokens import train_tokenizer
from utils.training import fit_language_model

TEXTS = ["The old film was good.", "A cat sat on the old mat, and the cat was good.", "Good!"]


def make_network(**options):
    torch.manual_seed(0)
    sizes = {"embedding_size": 8, "hidden_sizes": (12, 8)} | options
    return RecurrentLanguageModel(30, **sizes).eval()


@pytest.fixture
def language_model():
    tokenizer = train_tokenizer(TEXTS * 2, "en", 120, lowercase=True)
    torch.manual_seed(0)
    return LanguageModel(RecurrentLanguageModel(tokenizer.get_vocab_size(), 16, [24, 16]).eval(), tokenizer)


def test_the_loss_is_the_one_of_transformers():
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=30, n_embd=8, n_layer=1, n_head=2, n_positions=16)).eval()
    tokens = torch.randint(1, 30, (3, 7))
    with torch.no_grad():
        output = model(tokens, labels=tokens)
    assert torch.allclose(language_model_loss(output.logits, tokens), output.loss)


def test_padding_does_not_count_in_the_loss():
    logits = torch.randn(1, 6, 30, generator=torch.Generator().manual_seed(0))
    tokens = torch.tensor([[2, 7, 8, 3, 0, 0]])
    assert torch.allclose(
        language_model_loss(logits, tokens), language_model_loss(logits[:, :4], tokens[:, :4])
    )


@pytest.mark.parametrize(
    ("shape", "tokens", "message"),
    [((1, 4, 30), 5, "no row for each"), ((1, 1, 30), 1, "at least two")],
)
def test_a_loss_without_sense_is_refused(shape, tokens, message):
    with pytest.raises(ValueError, match=message):
        language_model_loss(torch.zeros(shape), torch.ones(1, tokens, dtype=torch.long))


def test_reading_in_parts_is_reading_in_one():
    model = make_network()
    tokens = torch.randint(1, 30, (2, 9), generator=torch.Generator().manual_seed(1))
    whole, _ = model(tokens)
    first, state = model(tokens[:, :4])
    second, _ = model(tokens[:, 4:], state)
    assert torch.allclose(torch.cat([first, second], dim=1), whole, atol=1e-6)


@torch.no_grad()
def test_the_layers_are_pytorchs_stacked_lstm():
    """Two single layers read as one of two layers of equal width does; the output weights are tied."""
    model = make_network(hidden_sizes=(8, 8))
    stacked = torch.nn.LSTM(8, 8, num_layers=2, batch_first=True)
    for depth, layer in enumerate(model.layers):
        for name, weight in layer.named_parameters():
            getattr(stacked, name.replace("l0", f"l{depth}")).copy_(weight)
    tokens = torch.randint(1, 30, (2, 9), generator=torch.Generator().manual_seed(1))
    expected, (hidden, cells) = stacked(model.embedding(tokens))
    states, layers = model.read(tokens)
    assert torch.allclose(states, expected, atol=1e-6)
    assert torch.allclose(torch.cat([h for h, _ in layers]), hidden, atol=1e-6)
    assert torch.allclose(torch.cat([c for _, c in layers]), cells, atol=1e-6)
    assert torch.allclose(
        model(tokens)[0], expected @ model.embedding.weight.T + model.output_bias, atol=1e-6
    )


def test_a_last_layer_of_another_width_is_projected_before_the_tied_weights():
    assert make_network().projection is None
    model = make_network(hidden_sizes=[12])
    tokens = torch.tensor([[2, 5, 7, 3]])
    states, _ = model.read(tokens)
    assert states.shape == (1, 4, model.width) == (1, 4, 12)
    expected = model.projection(states) @ model.embedding.weight.T + model.output_bias
    assert torch.allclose(model(tokens)[0], expected, atol=1e-6)


def test_a_prediction_depends_on_no_later_token():
    model = make_network()
    tokens = torch.randint(1, 30, (1, 9), generator=torch.Generator().manual_seed(1))
    changed = tokens.clone()
    changed[0, 5] = tokens[0, 5] % 29 + 1
    difference = (model(tokens)[0] - model(changed)[0]).abs().amax(dim=(0, 2))
    assert difference[:5].max() == 0
    assert difference[5:].min() > 0


def test_locked_dropout_drops_the_same_units_at_every_step_and_keeps_the_mean():
    torch.manual_seed(0)
    dropped = locked_dropout(torch.ones(200, 5, 50), 0.3, training=True)
    assert (dropped == dropped[:, :1]).all()
    assert (dropped[0] != dropped[1]).any()
    assert dropped.mean().item() == pytest.approx(1, abs=0.02)
    assert (locked_dropout(torch.ones(2, 3, 4), 0.3, training=False) == 1).all()


def test_dropped_words_are_dropped_wherever_they_stand():
    model = make_network(dropout=0.0, word_dropout=0.5).train()
    tokens = torch.full((1, 4), 5)
    read = {tuple(model.read(tokens)[0][0, 0].tolist()) for _ in range(20)}
    assert len(read) == 2  # with the word and without it


def test_dropout_acts_before_each_layer_and_only_in_training():
    model, tokens = make_network(dropout=0.5, word_dropout=0.0), torch.full((1, 4), 5)
    assert torch.equal(model.read(tokens)[0], model.read(tokens)[0])
    inputs = []
    for layer in model.layers:
        layer.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    model.train().read(tokens)
    for vectors in inputs:
        assert (vectors == 0).any()
        assert ((vectors == 0) == (vectors[:, :1] == 0)).all()


def test_perplexity_of_a_blind_model_is_the_size_of_its_vocabulary(language_model):
    for parameter in language_model.model.parameters():
        torch.nn.init.zeros_(parameter)
    text = "cat " * 300  # longer than the parts in which logits are made
    pieces = len(language_model.encode([text])[0]) - 1
    expected = language_model.tokenizer.get_vocab_size() ** (pieces / 300)
    assert language_model.perplexity([text]) == pytest.approx(expected, rel=1e-4)


def test_log_probabilities_do_not_depend_on_the_neighbours(language_model):
    together = language_model.log_probabilities(TEXTS)
    for text, row in zip(TEXTS, together, strict=True):
        (alone,) = language_model.log_probabilities([text])
        assert torch.allclose(row, alone, atol=1e-5)
        assert len(row) + 1 == len(language_model.encode([text])[0])


@pytest.mark.slow
def test_training_lowers_perplexity_and_the_model_writes_what_it_read(language_model):
    torch.manual_seed(0)
    size = language_model.tokenizer.get_vocab_size()
    language_model.model = RecurrentLanguageModel(size, 32, [32], dropout=0.0, word_dropout=0.0)
    before = language_model.perplexity(TEXTS[:2])
    history = fit_language_model(
        language_model, TEXTS[:2] * 40, TEXTS[:2], epochs=30, window=16, batch_size=8, learning_rate=2e-2
    )
    after = language_model.perplexity(TEXTS[:2])
    assert after < before / 4
    assert after == pytest.approx(min(record["validation_perplexity"] for record in history))
    continued = language_model.write("the old film", temperature=0.01, length=9)
    assert continued.startswith("the old film was good")
    (piece, probability), *_ = language_model.next_pieces("a cat sat on the old")
    assert piece in ("▁mat", "▁film")
    assert 0.3 < probability < 1
    assert language_model.write("a cat", seed=1) == language_model.write("a cat", seed=1)


def test_bad_texts_are_named(language_model):
    with pytest.raises(ValueError, match="text 1 is empty"):
        language_model.perplexity(["good", " "])
    with pytest.raises(TypeError, match="text 0 must be a string"):
        language_model.perplexity([5])
    with pytest.raises(ValueError, match="temperature"):
        language_model.write("the", temperature=0)
    with pytest.raises(ValueError, match="windows of 64 need at least 128"):
        fit_language_model(language_model, TEXTS[:1], TEXTS[:1], epochs=1, learning_rate=1e-3)


def test_a_saved_model_comes_back(language_model, tmp_path):
    save_checkpoint(tmp_path / "saved", language_model.model, {"tokenizer": language_model.tokenizer})
    again = load_language_model(tmp_path / "saved")
    expected = language_model.log_probabilities(TEXTS)
    for row, other in zip(expected, again.log_probabilities(TEXTS), strict=True):
        assert torch.allclose(row, other, atol=2e-2)  # half precision
    assert again.model.config == language_model.model.config
    other = load_language_model(tmp_path / "saved", dropout=0.4)
    assert other.model.dropout == 0.4 == other.model.config["dropout"]
    weights = tmp_path / "saved" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged"):
        load_language_model(tmp_path / "saved")


@pytest.mark.parametrize(("token", "sign"), [("</s>", "\ufeff"), ("<pad>", "\u00ad"), ("<s>", "\u200b")])
def test_control_tokens_and_invisible_characters_in_a_text(language_model, token, sign):
    (ids,) = language_model.encode([f"The old {token} film"])
    assert [i for i in ids if i in (0, 2, 3)] == [2, 3]
    assert language_model.encode([f"{sign}The o{sign}ld film"]) == language_model.encode(["The old film"])


def test_a_translator_is_no_language_model():
    with pytest.raises(CheckpointError, match="not a language model"):
        load_language_model("phrasebook-en-fr-gru-attention")
