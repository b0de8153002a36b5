import json
import math

import pytest
import torch
from safetensors import safe_open
from transformers import BertModel, pipeline

from scripts.train import build_parser
from utils.models.language_models import TransformerLanguageModel
from utils.pretrained import CheckpointError
from utils.short_trainings import objective_texts, train_objective
from utils.texts import (
    MaskedLanguageModel,
    load_language_model,
    load_masked_language_model,
    start_from_minilm,
)
from utils.tokens import MASK, MASK_ID, framed_windows, train_tokenizer
from utils.training import fit_masked_language_model
from utils.transfer import load_minilm

TEXTS = ["The old film was good.", "A cat sat on the old mat, and the cat was good.", "Good films!"]


def make_masked_model(layers=2):
    tokenizer = train_tokenizer(TEXTS * 2, "en", 120, lowercase=True, mask=True)
    torch.manual_seed(0)
    sizes = {"width": 32, "layers": layers, "feed_forward_size": 48, "dropout": 0.0, "max_length": 34}
    network = TransformerLanguageModel(tokenizer.get_vocab_size(), False, norm_first=False, **sizes)
    return MaskedLanguageModel(network.eval(), tokenizer)


@pytest.fixture
def masked_model():
    made = make_masked_model()
    with torch.no_grad():  # biases and norms start as zeros and ones, which would hide mistakes
        for parameter in made.model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return made


def test_a_mask_takes_the_place_of_a_word_and_its_space(masked_model):
    plain, masked = masked_model.encode(["The old film was good.", "The old [MASK] was [MASK]."])
    expected = [MASK_ID if masked_model.tokenizer.id_to_token(i) in ("▁film", "▁good") else i for i in plain]
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
def test_hidden_states_equal_berts(masked_model):
    bert, _ = masked_model.to_transformers()
    assert isinstance(bert.bert, BertModel)
    tokens = torch.tensor([[2, 7, 8, 4, 10, 3], [2, 11, 12, 3, 0, 0]])
    output = bert(tokens, attention_mask=(tokens != 0).long(), output_hidden_states=True)
    ours = masked_model.model.read(tokens)[0]
    there = tokens != 0
    assert torch.allclose(ours[there], output.hidden_states[-1][there], atol=1e-5)
    assert torch.allclose(masked_model.model(tokens)[0][there], output.logits[there], atol=1e-4)


def test_a_pipeline_of_transformers_fills_alike(masked_model):
    bert, tokenizer = masked_model.to_transformers()
    text = "The old [MASK] was good."
    found = pipeline("fill-mask", model=bert, tokenizer=tokenizer, device="cpu")(text, top_k=3)
    (expected,) = masked_model.fill(text, count=3)
    assert [masked_model.tokenizer.id_to_token(one["token"]).strip("▁") for one in found] == [
        word for word, _ in expected
    ]
    assert [one["score"] for one in found] == pytest.approx([p for _, p in expected], abs=1e-5)


def test_training_fills_the_gaps_of_what_was_read():
    masked_model = make_masked_model(layers=1)
    before = masked_model.pseudo_perplexity(TEXTS[:2])
    options = {"epochs": 60, "window": 16, "batch_size": 8, "learning_rate": 1e-2, "patience": 60}
    history = fit_masked_language_model(masked_model, TEXTS[:2] * 40, TEXTS[:2], **options)
    assert masked_model.pseudo_perplexity(TEXTS[:2]) < before / 10
    ((word, probability), (_, lower)), mat = masked_model.fill("A [MASK] sat on the old [MASK], and", count=2)
    assert word == "cat"
    assert mat[0][0] == "mat"
    assert 1 > probability > lower > 0
    assert masked_model.fill("The old [MASK] was good.")[0][0][0] == "film"
    scores = [record["validation_log_probability"] for record in history]
    _, log_probabilities, ranks = masked_model.guess_words(TEXTS[:2])
    assert log_probabilities.mean().item() == pytest.approx(max(scores), abs=1e-5)
    assert history[scores.index(max(scores))]["validation_top5"] == (ranks < 5).float().mean().item()


def test_pseudo_perplexity_of_a_blind_model_is_the_size_of_its_vocabulary(masked_model):
    for parameter in masked_model.model.parameters():
        torch.nn.init.zeros_(parameter)
    size, pieces = masked_model.tokenizer.get_vocab_size(), len(masked_model.encode(TEXTS[:1])[0]) - 2
    assert masked_model.pseudo_perplexity(TEXTS[:1]) == pytest.approx(size ** (pieces / 5), rel=1e-4)


def test_pseudo_perplexity_hides_one_token_at_a_time(masked_model):
    text, total = TEXTS[0], 0.0
    (ids,) = masked_model.encode([text])
    for place in range(1, len(ids) - 1):
        tokens = torch.tensor([ids])
        tokens[0, place] = MASK_ID
        total += masked_model.model(tokens)[0][0, place].log_softmax(-1)[ids[place]].item()
    expected = math.exp(-total / len(text.split()))
    for batch_size in (64, 2):
        assert masked_model.pseudo_perplexity([text], batch_size) == pytest.approx(expected, rel=1e-4)


def test_only_whole_words_are_hidden(masked_model):
    ids, log_probabilities, ranks = masked_model.guess_words([" ".join(TEXTS)] * 5, share=1.0)
    words = {masked_model.tokenizer.id_to_token(i) for i in ids.tolist()}
    assert {"▁the", "▁cat", "▁film"} <= words
    assert not words & {".", ",", "!", "</s>"}
    assert "▁film" in words
    assert len(ids) == len(log_probabilities) == len(ranks)
    plural = masked_model.tokenizer.encode("films").tokens[1]
    if plural == "▁film":  # "films" is two pieces, so it is never asked for
        assert (ids == masked_model.tokenizer.token_to_id("▁film")).sum() == 5
    assert ranks.min() >= 0
    assert ranks.max() < masked_model.tokenizer.get_vocab_size()
    assert (log_probabilities < 0).all()
    fewer = masked_model.guess_words(TEXTS * 30, share=0.2)[0]
    everything = masked_model.guess_words(TEXTS * 30, share=1.0)[0]
    assert len(fewer) / len(everything) == pytest.approx(0.2, abs=0.08)


def test_a_rank_says_how_many_are_likelier(masked_model):
    for parameter in masked_model.model.parameters():
        torch.nn.init.zeros_(parameter)
    scores = torch.arange(masked_model.tokenizer.get_vocab_size(), dtype=torch.float)
    masked_model.model.output_bias.data = scores
    ids, log_probabilities, ranks = masked_model.guess_words(TEXTS, share=1.0)
    assert torch.equal(ranks, len(scores) - 1 - ids)
    assert torch.allclose(log_probabilities, scores.log_softmax(dim=0)[ids], atol=1e-5)


def test_long_texts_are_cut_into_windows():
    ids = [2, *range(10, 30), 3]
    for size, first in ((8, 0), (8, 1), (8, 6), (22, 0), (40, 5)):
        windows = framed_windows(ids, size, first)
        assert [i for window in windows for i in window[1:-1]] == ids[1:-1]
        assert all(w[0] == 2 and w[-1] == 3 and 2 < len(w) <= size for w in windows)
    assert len(framed_windows(ids, 8, 1)[0]) == 3
    with pytest.raises(ValueError, match="windows of 2 tokens"):
        framed_windows(ids, 2)
    with pytest.raises(ValueError, match="the first cannot hold 7"):
        framed_windows(ids, 8, 7)


def test_bad_texts_are_named(masked_model):
    with pytest.raises(ValueError, match=r"write \[MASK\] where a word is missing in 'The film\.'"):
        masked_model.fill("The film.")
    with pytest.raises(ValueError, match="places end at 34"):
        masked_model.fill("cat " * 40 + MASK)
    with pytest.raises(ValueError, match="text 0 is empty"):
        masked_model.fill(" ")
    options = {"epochs": 1, "learning_rate": 1e-3}
    for window in (0, 18, 36):
        with pytest.raises(ValueError, match=f"multiple of 4 and at most 32, not {window}"):
            fit_masked_language_model(masked_model, TEXTS, TEXTS, window=window, **options)
    with pytest.raises(ValueError, match="windows of 32 need at least 64"):
        fit_masked_language_model(masked_model, TEXTS[:1], TEXTS, window=32, **options)


def test_models_mixed_up_are_refused(masked_model, tmp_path):
    tokenizer = masked_model.tokenizer
    causal = TransformerLanguageModel(tokenizer.get_vocab_size(), True, width=8, layers=1)
    with pytest.raises(ValueError, match="a causal model cannot fill gaps"):
        MaskedLanguageModel(causal, tokenizer)
    with pytest.raises(ValueError, match=r"no \[MASK\]"):
        MaskedLanguageModel(masked_model.model, train_tokenizer(TEXTS, "en", 120))
    masked_model.save_pretrained(tmp_path / "masked")
    with pytest.raises(CheckpointError, match="'masked-language-model', not a language model"):
        load_language_model(tmp_path / "masked")
    with pytest.raises(CheckpointError, match="not a masked language model"):
        load_masked_language_model("phrasebook-en-fr-gru-attention")
    pre_norm = TransformerLanguageModel(tokenizer.get_vocab_size(), False, width=8, layers=1)
    with pytest.raises(ValueError, match="is a BERT"):
        MaskedLanguageModel(pre_norm, tokenizer).to_transformers()


def test_a_saved_model_comes_back(masked_model, tmp_path):
    masked_model.save_pretrained(tmp_path / "saved")
    again = load_masked_language_model(tmp_path / "saved")
    text = "The old [MASK] was [MASK]."
    for ours, theirs in zip(masked_model.fill(text), again.fill(text), strict=True):
        assert dict(ours) == pytest.approx(dict(theirs), abs=2e-2)  # half precision
    assert MaskedLanguageModel.from_pretrained(tmp_path / "saved").fill(text) == again.fill(text)
    weights = tmp_path / "saved" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged: its SHA-256 is [0-9a-f]{64}"):
        load_masked_language_model(tmp_path / "saved")


def test_the_command_line_trains_stops_and_goes_on(tmp_path):
    def run(name, *options):
        sizes = ["--width", "16", "--layers", "1", "--feed-forward-size", "16", "--vocabulary-size", "300"]
        common = ["--corpus", "reviews", "--limit", "40", "--batch-size", "8", "--window", "16", *sizes]
        folders = ["--output", str(tmp_path / name), "--state", str(tmp_path / "state")]
        arguments = build_parser().parse_args(["masked-language-model", *common, *folders, *options])
        return arguments.function(arguments)

    output = run("first", "--epochs", "2")
    report = json.loads((output / "training.json").read_text())
    assert len(report["history"]) == 2
    assert report["settings"]["vocabulary_size"] == 300
    again = json.loads((run("second", "--epochs", "2") / "training.json").read_text())
    assert again["history"] == report["history"]  # from the state, nothing is trained anew
    assert len(load_masked_language_model(output).fill("The film is [MASK].", count=7)[0]) == 7


def test_both_objectives_are_trained_on_the_same_text():
    texts, new = objective_texts(seed=0, count=300)
    assert len(texts) == 300
    assert len(new) == 400
    assert not set(texts) & set(new)
    assert texts == objective_texts(seed=0, count=300)[0] != objective_texts(seed=1, count=300)[0]
    causal, masked = (train_objective(name, count=300, width=16) for name in ("causal", "masked"))
    assert causal.model.tokenizer.get_vocab() == masked.model.tokenizer.get_vocab()
    assert causal.model.model.config | {"causal": False} == masked.model.model.config
    for side in (causal, masked):
        assert side.history[-1]["loss"] < side.history[0]["loss"] - 0.3
    with pytest.raises(KeyError, match="no objective 'both'; there are causal, masked"):
        train_objective("both")


@pytest.fixture(scope="module")
def started():
    return start_from_minilm(max_length=66)


@torch.no_grad()
def test_minilm_reads_alike_in_our_layers(started):
    theirs, their_tokenizer = load_minilm()
    text = "The old film wasn't good; a cat re-entered."
    ids, their_ids = started.encode([text]), [their_tokenizer.encode(text).ids]
    assert len(ids[0]) == len(their_ids[0])
    found = started.model.read(torch.tensor(ids))[0]
    expected = theirs.model(torch.tensor(their_ids)).last_hidden_state
    assert torch.allclose(found, expected, atol=2e-3)  # its norms have a smaller epsilon
    assert started.tokenizer.decode(ids[0]) == their_tokenizer.decode(their_ids[0])
    assert started.encode(["a [MASK] film"])[0].count(MASK_ID) == 1


def test_whole_words_of_minilms_vocabulary(started):
    tokens = torch.tensor(started.encode(["The re-entry of Anna's unembeddable cat, don't!"]))
    whole = [started.tokenizer.id_to_token(i) for i in tokens[started.whole_words(tokens)].tolist()]
    assert whole == ["the", "of", "cat"]


def test_a_checkpoint_from_minilm_holds_what_changed(started, tmp_path):
    weights = {name: tensor.clone() for name, tensor in started.model.state_dict().items()}
    before = started.fill("The [MASK] sat on the mat.")
    with torch.no_grad():
        started.model.layers[-1].contract.bias += 0.5
        started.model.output_bias[started.tokenizer.token_to_id("cat")] += 9
    try:
        started.save_pretrained(tmp_path)
        with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
            assert sorted(file.keys()) == ["layers.5.contract.bias", "output_bias"]
        loaded = load_masked_language_model(tmp_path)
        for text in ("The [MASK] sat on the mat.", "A [MASK] dog"):
            (ours,), (theirs,) = started.fill(text), loaded.fill(text)
            assert [word for word, _ in ours] == [word for word, _ in theirs]
            assert [p for _, p in ours] == pytest.approx([p for _, p in theirs], rel=1e-2)
        assert loaded.fill("The [MASK] sat on the mat.")[0][0][0] == "cat" != before[0][0][0]
        loaded.save_pretrained(tmp_path / "again")
        assert (tmp_path / "again" / "SHA256SUMS").read_text() == (tmp_path / "SHA256SUMS").read_text()
    finally:
        started.model.load_state_dict(weights)


def test_an_epoch_has_as_many_windows_as_asked_for():
    masked_model = make_masked_model(layers=1)
    options = {"epochs": 1, "window": 16, "batch_size": 4, "learning_rate": 1e-3}
    everything = fit_masked_language_model(masked_model, TEXTS * 60, TEXTS[:2], **options)
    some = fit_masked_language_model(masked_model, TEXTS * 60, TEXTS[:2], epoch_size=8, **options)
    tokens = [round(h[0]["seconds"] * h[0]["tokens_per_second"]) for h in (everything, some)]
    assert 8 * 16 < tokens[1] <= 8 * (16 + 4 * 2)
    assert tokens[0] > 2 * tokens[1]
