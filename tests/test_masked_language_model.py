import math

import pytest
import torch
from safetensors import safe_open
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast, pipeline

from scripts.bodies import load_minilm
from scripts.masked_model import (
    MaskedStack,
    _hide,
    count_pieces,
    fit_masked_language_model,
    guess_words,
    load_masked,
    pseudo_perplexity,
    save_changes,
    set_bias_to_frequencies,
    start_from_minilm,
    whole_words,
)
from scripts.stack import TransformerLanguageModel
from utils.pretrained import CHECKPOINTS, CheckpointError
from utils.texts import (
    MaskedLanguageModel,
    load_language_model,
    load_masked_language_model,
    minilm_for_filling,
)
from utils.tokens import train_tokenizer
from utils.vocabulary import END, MASK, MASK_ID, PADDING, START, UNKNOWN

TEXTS = ["The old film was good.", "A cat sat on the old mat, and the cat was good.", "Good films!"]


def make_masked_model(layers=2):
    tokenizer = train_tokenizer(TEXTS * 2, "en", 120, lowercase=True, mask=True)
    torch.manual_seed(0)
    sizes = {"width": 32, "layers": layers, "feed_forward_size": 48, "dropout": 0.0, "max_length": 34}
    network = TransformerLanguageModel(tokenizer.get_vocab_size(), False, **sizes)
    return MaskedStack(network.eval(), tokenizer)


@pytest.fixture
def masked_model():
    made = make_masked_model()
    with torch.no_grad():  # biases and norms start as zeros and ones, which would hide mistakes
        for parameter in made.model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return made


@pytest.fixture
def small_bert():
    """A BERT of `transformers` with a vocabulary of ours: what the class does with either is the same."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer(TEXTS * 2, "en", 120, lowercase=True, mask=True)
    names = {"pad_token": PADDING, "unk_token": UNKNOWN, "cls_token": START, "sep_token": END}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, mask_token=MASK, **names)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = BertConfig(vocab_size=len(fast), max_position_embeddings=34, initializer_range=0.5, **sizes)
    return MaskedLanguageModel(BertForMaskedLM(config).eval(), fast)


@pytest.fixture(params=["masked_model", "small_bert"])
def either(request):
    return request.getfixturevalue(request.param)


def logits(model, tokens):
    """Of every place [batch, time, vocabulary_size], from the network itself."""
    if isinstance(model.model, TransformerLanguageModel):
        return model.model(tokens)
    return model.model(tokens, attention_mask=(tokens != 0).long()).logits


def test_a_mask_takes_the_place_of_a_word_and_its_space(masked_model):
    plain, masked = masked_model.encode(["The old film was good.", "The old [MASK] was [MASK]."])
    pieces = masked_model.tokenizer.convert_ids_to_tokens(plain)
    expected = [MASK_ID if p in ("▁film", "▁good") else i for i, p in zip(plain, pieces, strict=True)]
    assert masked == expected
    assert masked_model.encode(["[MASK] film, [MASK]!"])[0].count(MASK_ID) == 2


def test_without_a_mask_the_tokeniser_is_what_it_was():
    plain = train_tokenizer(TEXTS * 2, "en", 119, lowercase=True)
    with_mask = train_tokenizer(TEXTS * 2, "en", 120, lowercase=True, mask=True)
    assert plain.token_to_id(MASK) is None
    assert set(with_mask.get_vocab()) == {*plain.get_vocab(), MASK}
    for text in TEXTS:
        assert plain.encode(text).tokens == with_mask.encode(text).tokens


@torch.no_grad()
def test_log_probabilities_at_places_are_those_of_the_whole(either):
    tokens = torch.tensor([[2, 7, 8, 4, 10, 3], [2, 11, 12, 3, 0, 0]])
    selected = torch.tensor([[0, 0, 1, 1, 0, 0], [0, 1, 0, 0, 0, 0]], dtype=torch.bool)
    expected = logits(either, tokens).log_softmax(dim=-1)[selected]
    assert torch.allclose(either.log_probabilities_at(tokens, selected), expected, atol=1e-5)
    alone = either.log_probabilities_at(tokens[1:, :4], selected[1:, :4])
    assert torch.allclose(alone[0], expected[2], atol=1e-5)  # padding changes nothing


def test_a_pipeline_of_transformers_fills_alike(small_bert):
    text = "The old [MASK] was good."
    fill = pipeline("fill-mask", model=small_bert.model, tokenizer=small_bert.tokenizer, device="cpu")
    found, (expected,) = fill(text, top_k=3), small_bert.fill(text, count=3)
    pieces = small_bert.tokenizer.convert_ids_to_tokens([one["token"] for one in found])
    assert [piece.strip("▁") for piece in pieces] == [word for word, _ in expected]
    assert [one["score"] for one in found] == pytest.approx([p for _, p in expected], abs=1e-5)


@pytest.mark.slow
def test_training_fills_the_gaps_of_what_was_read():
    masked_model = make_masked_model(layers=1)
    before = pseudo_perplexity(masked_model, TEXTS[:2])
    options = {"epochs": 60, "window": 16, "batch_size": 8, "learning_rate": 1e-2, "patience": 60}
    history = fit_masked_language_model(masked_model, TEXTS[:2] * 40, TEXTS[:2], **options)
    assert pseudo_perplexity(masked_model, TEXTS[:2]) < before / 10
    ((word, probability), (_, lower)), mat = masked_model.fill("A [MASK] sat on the old [MASK], and", count=2)
    assert word == "cat"
    assert mat[0][0] == "mat"
    assert 1 > probability > lower > 0
    assert masked_model.fill("The old [MASK] was good.")[0][0][0] == "film"
    scores = [record["validation_log_probability"] for record in history]
    _, log_probabilities, ranks = guess_words(masked_model, TEXTS[:2])
    assert log_probabilities.mean().item() == pytest.approx(max(scores), abs=1e-5)
    assert history[scores.index(max(scores))]["validation_top5"] == (ranks < 5).float().mean().item()


def test_pseudo_perplexity_of_a_blind_model_is_the_size_of_its_vocabulary(masked_model):
    for parameter in masked_model.model.parameters():
        torch.nn.init.zeros_(parameter)
    size, pieces = masked_model.vocabulary_size, len(masked_model.encode(TEXTS[:1])[0]) - 2
    assert pseudo_perplexity(masked_model, TEXTS[:1]) == pytest.approx(size ** (pieces / 5), rel=1e-4)


@torch.no_grad()
def test_pseudo_perplexity_hides_one_token_at_a_time(either):
    text, total = TEXTS[0], 0.0
    (ids,) = either.encode([text])
    for place in range(1, len(ids) - 1):
        tokens = torch.tensor([ids])
        tokens[0, place] = MASK_ID
        total += logits(either, tokens)[0, place].log_softmax(-1)[ids[place]].item()
    expected = math.exp(-total / len(text.split()))
    for batch_size in (64, 2):
        assert pseudo_perplexity(either, [text], batch_size) == pytest.approx(expected, rel=1e-3)


def test_only_whole_words_are_hidden(masked_model):
    assert masked_model.tokenizer.tokenize("cats") == ["▁cat", "s"]  # so it is never asked for
    ids, log_probabilities, ranks = guess_words(masked_model, [" ".join([*TEXTS, "cats"])] * 5, share=1.0)
    words = masked_model.tokenizer.convert_ids_to_tokens(ids.tolist())
    assert {"▁the", "▁cat"} <= set(words)
    assert not set(words) & {".", ",", "!", "</s>"}
    assert words.count("▁cat") == 10
    assert len(ids) == len(log_probabilities) == len(ranks)
    assert ranks.min() >= 0
    assert ranks.max() < masked_model.vocabulary_size
    assert (log_probabilities < 0).all()
    fewer = guess_words(masked_model, TEXTS * 30, share=0.2)[0]
    everything = guess_words(masked_model, TEXTS * 30, share=1.0)[0]
    assert len(fewer) / len(everything) == pytest.approx(0.2, abs=0.08)


def test_a_rank_says_how_many_are_likelier(masked_model):
    for parameter in masked_model.model.parameters():
        torch.nn.init.zeros_(parameter)
    scores = torch.arange(masked_model.vocabulary_size, dtype=torch.float)
    masked_model.model.output_bias.data = scores
    ids, log_probabilities, ranks = guess_words(masked_model, TEXTS, share=1.0)
    assert torch.equal(ranks, len(scores) - 1 - ids)
    assert torch.allclose(log_probabilities, scores.log_softmax(dim=0)[ids], atol=1e-5)


def test_bad_texts_are_named(either):
    with pytest.raises(ValueError, match=r"write \[MASK\] where a word is missing in 'The film\.'"):
        either.fill("The film.")
    with pytest.raises(ValueError, match="places end at 34"):
        either.fill("cat " * 40 + MASK)
    with pytest.raises(ValueError, match="text 0 is empty"):
        either.fill(" ")
    with pytest.raises(ValueError, match="text 0 has the control token </s>; only"):
        either.fill("The </s> [MASK]")
    with pytest.raises(ValueError, match="count must be an integer from 1 to"):
        either.fill("The [MASK]", count=10_000)


def test_windows_that_do_not_fit_are_named(masked_model):
    options = {"epochs": 1, "learning_rate": 1e-3}
    for window in (0, 18, 36):
        with pytest.raises(ValueError, match=f"multiple of 4 and at most 32, not {window}"):
            fit_masked_language_model(masked_model, TEXTS, TEXTS, window=window, **options)
    with pytest.raises(ValueError, match="windows of 32 need at least 64"):
        fit_masked_language_model(masked_model, TEXTS[:1], TEXTS, window=32, **options)


def test_models_mixed_up_are_refused(masked_model, tmp_path):
    tokenizer = masked_model.tokenizer
    causal = TransformerLanguageModel(len(tokenizer), True, width=8, layers=1)
    with pytest.raises(ValueError, match="a causal model cannot fill gaps"):
        MaskedStack(causal, tokenizer.backend_tokenizer)
    with pytest.raises(ValueError, match=r"no \[MASK\]"):
        MaskedStack(masked_model.model, train_tokenizer(TEXTS, "en", 120))
    masked_model.save_pretrained(tmp_path / "masked")
    with pytest.raises(CheckpointError, match="not a language model"):
        load_language_model(tmp_path / "masked")
    with pytest.raises(CheckpointError, match="not a masked language model"):
        load_masked_language_model(tmp_path / "masked")
    with pytest.raises(CheckpointError, match="not a language model"):
        load_language_model("masked-language-model")
    with pytest.raises(CheckpointError, match="not a masked language model"):
        load_masked_language_model("phrasebook-en-fr-gru-attention")


def test_a_saved_model_comes_back(masked_model, tmp_path):
    masked_model.save_pretrained(tmp_path / "saved")
    again = load_masked(tmp_path / "saved")
    assert again.model.config == masked_model.model.config
    text = "The old [MASK] was [MASK]."
    for ours, theirs in zip(masked_model.fill(text), again.fill(text), strict=True):
        assert dict(ours) == pytest.approx(dict(theirs), abs=2e-2)  # half precision
    weights = tmp_path / "saved" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged: its SHA-256 is [0-9a-f]{64}"):
        load_masked(tmp_path / "saved")


@pytest.mark.slow
def test_an_epoch_has_as_many_windows_as_asked_for():
    masked_model = make_masked_model(layers=1)
    options = {"epochs": 1, "window": 16, "batch_size": 4, "learning_rate": 1e-3}
    everything = fit_masked_language_model(masked_model, TEXTS * 60, TEXTS[:2], **options)
    some = fit_masked_language_model(masked_model, TEXTS * 60, TEXTS[:2], epoch_size=8, **options)
    tokens = [round(h[0]["seconds"] * h[0]["tokens_per_second"]) for h in (everything, some)]
    assert 8 * 16 < tokens[1] <= 8 * (16 + 4 * 2)
    assert tokens[0] > 2 * tokens[1]


def test_the_bias_begins_with_the_frequencies_of_the_pieces(either):
    counts = count_pieces(either, TEXTS)
    assert counts.sum() == sum(map(len, either.encode(TEXTS)))
    assert counts[either.tokenizer.convert_tokens_to_ids("▁good")] == 3
    set_bias_to_frequencies(either, TEXTS)
    bias = either.model.state_dict()[
        "output_bias" if hasattr(either.model, "output_bias") else "cls.predictions.bias"
    ]
    assert torch.allclose(bias, ((counts + 1) / counts.sum()).log())


@pytest.fixture(scope="module")
def shipped():
    return load_masked_language_model("masked-language-model")


@pytest.fixture(scope="module")
def started():
    return start_from_minilm(TEXTS, frozen_layers=4)


@pytest.mark.slow
@torch.no_grad()
def test_the_body_of_the_masked_model_is_minilm():
    masked, (theirs, tokenizer) = minilm_for_filling(), load_minilm()
    text = "The old film wasn't good; a cat re-entered."
    assert masked.encode([text]) == [tokenizer.encode(text).ids]
    tokens = torch.tensor(masked.encode([text]))
    found = masked.model.bert(tokens).last_hidden_state
    assert torch.allclose(
        found, theirs(tokens).last_hidden_state, atol=2e-3
    )  # its norms have a smaller epsilon
    assert masked.vocabulary_size == 30_522
    assert masked.encode(["a [MASK] film"])[0].count(masked.tokenizer.mask_token_id) == 1
    assert len(masked.encode(["film " * 300])[0]) == 302  # nothing is cut in silence


@pytest.mark.slow
def test_whole_words_of_minilms_vocabulary(shipped):
    tokens = torch.tensor(shipped.encode(["The re-entry of Anna's unembeddable cat, don't!"]))
    whole = shipped.tokenizer.convert_ids_to_tokens(tokens[whole_words(shipped, tokens)].tolist())
    assert whole == ["the", "of", "cat"]


def test_the_shipped_model_fills_gaps_by_itself_and_in_a_pipeline(shipped):
    words = [word for word, _ in shipped.fill("I looked at my watch and saw that [MASK] was late.")[0]]
    assert "it" in words
    fill = pipeline("fill-mask", model=shipped.model, tokenizer=shipped.tokenizer, device="cpu")
    text = "The film was very [MASK]."
    (expected,) = shipped.fill(text)
    assert [(one["token_str"], pytest.approx(one["score"], abs=1e-5)) for one in fill(text)] == expected
    unused = [i for piece, i in shipped.tokenizer.get_vocab().items() if piece.startswith("[unused")]
    tokens = torch.tensor(shipped.encode([text]))
    found = shipped.log_probabilities_at(tokens, tokens == shipped.tokenizer.mask_token_id)
    assert found[:, unused].exp().max() == 0
    assert (CHECKPOINTS / "masked-language-model" / "model.safetensors").stat().st_size < 15 * 2**20


@pytest.mark.slow
def test_a_checkpoint_from_minilm_holds_what_changed(started, tmp_path):
    masked, trained = started
    assert {p for p in masked.model.parameters() if p.requires_grad} == set(trained)
    assert len(trained) == 2 * 16 + 1
    with torch.no_grad():
        masked.model.bert.encoder.layer[4].output.dense.bias += 0.5
        masked.model.cls.predictions.bias[masked.tokenizer.convert_tokens_to_ids("cat")] += 9
    save_changes(masked, tmp_path)
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        names = sorted(file.keys())
    layer = "bert.encoder.layer."
    norm = [f"{layer}5.output.LayerNorm.{kind}" for kind in ("bias", "weight")]
    assert names == [f"{layer}4.output.dense.bias", *norm, "cls.predictions.bias"]
    loaded = load_masked_language_model(tmp_path)
    for text in ("The [MASK] sat on the mat.", "A [MASK] dog"):
        (ours,), (theirs,) = masked.fill(text), loaded.fill(text)
        assert [word for word, _ in ours] == [word for word, _ in theirs]
        assert [p for _, p in ours] == pytest.approx([p for _, p in theirs], rel=2e-2)
    save_changes(loaded, tmp_path / "again")
    assert (tmp_path / "again" / "SHA256SUMS").read_bytes() == (tmp_path / "SHA256SUMS").read_bytes()


def test_a_model_is_asked_for_whole_words_alone(masked_model):
    windows = torch.tensor([ids[1:-1][:16] for ids in masked_model.encode([" ".join([*TEXTS, "cats"] * 4)])])
    generator = torch.Generator().manual_seed(0)
    seen = 0
    for _ in range(20):
        tokens, inputs, selected = _hide(masked_model, windows, 0.5, True, generator)
        assert not (selected & ~whole_words(masked_model, tokens)).any()
        assert torch.equal(inputs[~selected], tokens[~selected])
        seen += int((inputs == MASK_ID).sum())
    assert seen > 20


def test_a_training_goes_on_from_a_checkpoint():
    new, trained = start_from_minilm(TEXTS, 5)
    going_on, _ = start_from_minilm(TEXTS, 5, "masked-language-model")
    shipped = load_masked_language_model("masked-language-model").model.state_dict()
    assert all(torch.equal(shipped[name], tensor) for name, tensor in going_on.model.state_dict().items())
    assert not torch.equal(new.model.cls.predictions.bias, going_on.model.cls.predictions.bias)
    learns = {name for name, parameter in going_on.model.named_parameters() if parameter.requires_grad}
    assert all("layer.5." in name or "predictions" in name for name in learns)
    assert len(learns) == len(trained)
