import hashlib
import json
import shutil
import warnings

import huggingface_hub
import pytest
import torch
from conftest import make_translator
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from scripts.convert import convert, main
from utils import pretrained
from utils.alignment import group_into_words
from utils.loaders import load_captions
from utils.plots.weights import prepare
from utils.pretrained import CHECKPOINTS, CheckpointError, find_folder, verify_folder, write_checksums
from utils.tokens import END_ID, START_ID, pad
from utils.translator import Translator, _largest, beam_search, load_translator

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


class _Speller:
    """A target tokeniser that reads a text as exactly the pieces that were written."""

    def __init__(self, tokenizer, translations):
        self.tokenizer, self.model = tokenizer, tokenizer.model
        self.written = {
            t.text: [tokenizer.token_to_id(token) for token in t.target_tokens] for t in translations
        }

    def encode_batch(self, texts):
        framed = [[START_ID, *self.written[text]] for text in texts]
        return [
            _Encoding(ids, [self.tokenizer.id_to_token(i) for i in ids], [(0, 0)] * len(ids))
            for ids in framed
        ]


class _Encoding:
    def __init__(self, ids, tokens, offsets):
        self.ids, self.tokens, self.offsets = ids, tokens, offsets


def test_aligning_a_translation_gives_its_own_score_and_weights(translator, monkeypatch):
    translations = translator.translate(SENTENCES, beam_size=3)
    # an untrained network may spell a text in another way than its tokeniser would
    monkeypatch.setattr(translator, "target_tokenizer", _Speller(translator.target_tokenizer, translations))
    for aligned, expected in zip(
        translator.align(SENTENCES, [t.text for t in translations]), translations, strict=True
    ):
        assert aligned.score == pytest.approx(expected.score, abs=1e-4)
        assert aligned.target_tokens == expected.target_tokens
        if expected.attention_weights is not None:
            assert torch.allclose(aligned.attention_weights, expected.attention_weights, atol=1e-4)


@pytest.mark.slow
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


@given(rows=st.integers(1, 4), size=st.sampled_from([7, 90, 100, 101, 300, 650]), data=st.data())
def test_the_largest_of_a_row_are_found_in_blocks(rows, size, data):
    count, seed = data.draw(st.integers(1, min(size - 3, 12))), data.draw(st.integers(0, 99))
    logits = torch.randn(rows, size, generator=torch.Generator().manual_seed(seed))
    logits[:, :3] = -torch.inf
    values, places = _largest(logits, count)
    expected = logits.topk(count, dim=1)
    assert torch.equal(values, expected.values)
    assert torch.equal(places, expected.indices)


def test_all_candidates_are_given_best_first(translator):
    source = pad([one.ids[1:] for one in translator.source_tokenizer.encode_batch(SENTENCES)])
    best = beam_search(translator.model, source, 3)
    for rows, (ids, score, weights) in zip(beam_search(translator.model, source, 3, True), best, strict=True):
        assert len({tuple(row) for row, _, _ in rows}) == 3
        assert [one[1] for one in rows] == sorted((one[1] for one in rows), reverse=True)
        assert rows[0][:2] == (ids, score)
        assert weights is None or torch.equal(rows[0][2], weights)


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_size": 0}, "beam_size must be an integer from 1 to 300, not 0"),
        ({"beam_size": 6000}, "beam_size must be an integer from 1 to 300, not 6000"),
        ({"beam_size": 2.5}, "beam_size must be an integer from 1 to 300, not 2.5"),
        ({"beam_size": "5"}, "beam_size must be an integer from 1 to 300, not '5'"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, not 0"),
        ({"batch_size": -1}, "batch_size must be an integer of at least 1, not -1"),
        ({"batch_size": None}, "batch_size must be an integer of at least 1, not None"),
    ],
)
def test_sizes_that_cannot_be_are_refused_in_one_sentence(attentive, options, message):
    with pytest.raises(ValueError, match=message):
        attentive.translate("A dog .", **options)
    if "batch_size" in options:
        with pytest.raises(ValueError, match=message):
            attentive.align(["A dog ."], ["Un chien ."], **options)


def test_unequal_lists_are_refused(translator):
    with pytest.raises(ValueError, match="2 sources, 1 targets"):
        translator.align(["A dog .", "A cat ."], ["Un chien ."])


@pytest.mark.parametrize("token", ["<pad>", "<unk>", "<s>", "</s>"])
@pytest.mark.parametrize(
    "place", ["{} A man sings .", "A man {} sings .", "A man{}sings .", "A man sings . {}"]
)
def test_control_tokens_in_a_sentence_are_text(attentive, token, place):
    sentence = place.format(token)
    (translation,) = attentive.translate([sentence])
    assert attentive.source_tokenizer.encode(sentence).ids[1:-1].count(END_ID) == 0
    assert "".join(translation.source_tokens[:-1]).replace("▁", "") == sentence.replace(" ", "")
    weights, sources, _ = prepare(translation)
    assert weights.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert all(sources)
    (aligned,) = attentive.align([sentence], [sentence])
    assert aligned.attention_weights.shape[1] == len(translation.source_tokens)


@pytest.mark.parametrize(
    "sign",
    [
        "\ufeff",
        "\u00ad",
        "\u200b",
        "\u200c",
        "\u200d",
        "\u2060",
        "\u200e",
        "\ufe0f",
        "\u034f",
        "\x00",
        "\x1b",
    ],
)
def test_invisible_characters_change_nothing(attentive, sign):
    plain = "Two young men sing ."
    (expected,) = attentive.translate([plain])
    for sentence in (
        sign + plain,
        plain.replace("young", f"yo{sign}ung"),
        plain.replace(" men", f" {sign}men"),
    ):
        (found,) = attentive.translate([sentence])
        assert (found.text, found.source_tokens) == (expected.text, expected.source_tokens)
    with pytest.raises(ValueError, match="sentence 0 is empty"):
        attentive.translate([f" {sign} "])


@pytest.mark.parametrize("name", sorted(path.name for path in CHECKPOINTS.glob("multi30k-en-*")))
def test_invisible_characters_and_control_tokens_in_the_shipped_translators(name):
    translator = load_translator(name)
    first, second = translator.translate(
        ["\ufeffA man is rid\u00ading a bicycle .", "A man is riding a bicycle ."]
    )
    assert first.text == second.text
    (odd,) = translator.translate(["A man <pad> is riding a bicycle ."])
    if odd.attention_weights is not None:
        assert odd.attention_weights.shape == (len(odd.target_tokens), len(odd.source_tokens))


@pytest.mark.parametrize("sentence", ["A $5 bike .", "A € bike .", "$ 漢字 .", "A 漢字 man ."])
def test_no_word_of_a_sentence_is_nameless(attentive, sentence):
    (translation,) = attentive.translate([sentence])
    words = [word for word, _ in group_into_words(translation.source_tokens)]
    assert words[-1] == "</s>"
    assert "".join(words[:-1]) == sentence.replace(" ", "")
    assert all(words)


def test_a_sentence_in_capitals_is_translated_with_a_warning(attentive):
    with pytest.warns(UserWarning, match="sentence 1 is all in capital letters, as no sentence in training"):
        attentive.translate(["A man sings .", "A MAN SINGS ."])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        attentive.translate(["A", "TV", "A TV"])


@pytest.mark.slow
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
    config = json.loads((tmp_path / "model" / "config.json").read_text(encoding="utf-8"))
    assert config["model_type"] == "RecurrentTranslationModel"
    assert config.items() >= translator.model.config.items()
    translator.model.load_state_dict(loaded.model.state_dict())
    for before, after in zip(translator.translate(SENTENCES), loaded.translate(SENTENCES), strict=True):
        assert before.text == after.text
    assert Translator.from_pretrained(tmp_path / "model").languages == ("en", "fr")


@pytest.fixture
def saved(attentive, tmp_path):
    attentive.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_a_missing_checkpoint_says_how_to_get_it(tmp_path):
    with pytest.raises(
        CheckpointError, match=r"no checkpoint in .*nowhere; .*multi30k-en-fr-gru.*hello train"
    ):
        load_translator(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"no file SHA256SUMS.*git checkout"):
        load_translator(tmp_path / "empty")


@pytest.mark.parametrize("sums", ["", "\n", "no checksums here\n", "{config}  config.json\n"])
def test_checksums_that_do_not_list_the_weights_prove_nothing(saved, sums):
    config = hashlib.sha256((saved / "config.json").read_bytes()).hexdigest()
    (saved / "SHA256SUMS").write_text(sums.format(config=config), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"SHA256SUMS does not list .*proves nothing"):
        load_translator(saved)


def test_line_ends_that_git_changed_are_named(saved):
    name = saved / "config.json"
    name.write_bytes(name.read_bytes().replace(b"\n", b"\r\n"))
    with pytest.raises(
        CheckpointError, match=r"config\.json is damaged.* line ends of Windows.*core\.autocrlf false"
    ):
        load_translator(saved)
    write_checksums(saved)
    sums = saved / "SHA256SUMS"  # these may have them: they are read as text
    sums.write_bytes(sums.read_bytes().replace(b"\n", b"\r\n"))
    assert verify_folder(saved) == saved


@pytest.mark.parametrize("inside", [True, False], ids=["the root", "elsewhere"])
def test_names_and_paths_work_from_anywhere(tmp_path, monkeypatch, inside):
    monkeypatch.chdir(pretrained.ROOT if inside else tmp_path)
    folder = CHECKPOINTS / "phrasebook-en-de-gru"
    for name in (folder.name, f"data/checkpoints/{folder.name}", folder, str(folder)):
        assert find_folder(name).resolve() == folder
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine").mkdir()
    assert find_folder("~/mine") == tmp_path / "mine"


def test_what_is_published_is_what_is_fetched(attentive, tmp_path, monkeypatch):
    """``push_to_hub`` to a hub that is a folder, and back: the same translations."""

    class Hub:
        def __init__(self, **_):
            pass

        def create_repo(self, repo_id, **_):
            return huggingface_hub.RepoUrl(f"https://huggingface.co/{repo_id}")

        def upload_folder(self, repo_id, folder_path, **_):
            shutil.copytree(folder_path, tmp_path / repo_id)

    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi", Hub)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name: str(tmp_path / name))
    attentive.push_to_hub("someone/translator")
    expected = attentive.translate(SENTENCES[:3])
    for loaded in (load_translator("someone/translator"), Translator.from_pretrained("someone/translator")):
        assert loaded.languages == ("en", "fr")
        assert [t.text for t in loaded.translate(SENTENCES[:3])] == [t.text for t in expected]


def test_the_hub_is_out_of_reach():
    with pytest.raises(CheckpointError, match=r"Nor could it be fetched .* set HF_HUB_OFFLINE=0"):
        load_translator("someone/translator")


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
    with pytest.raises(CheckpointError, match=r"(?s)do not fit .*attention\.\S+.* two checkpoints"):
        load_translator(saved)


def test_a_checkpoint_that_is_no_translator_is_refused(saved):
    config = json.loads((saved / "config.json").read_text(encoding="utf-8"))
    (saved / "config.json").write_text(json.dumps(config | {"model_type": "Poet"}), encoding="utf-8")
    write_checksums(saved)
    with pytest.raises(CheckpointError, match="'Poet', not a translator"):
        load_translator(saved)


@pytest.fixture
def first_edition(saved):
    """The checkpoint as the first edition wrote it."""
    config = json.loads((saved / "config.json").read_text(encoding="utf-8"))
    config.pop("model_type")
    outer = {k: config.pop(k) for k in ("languages", "training_length")} | {
        "model_type": "recurrent-translation"
    }
    (saved / "config.json").write_text(json.dumps(outer | {"model": config}), encoding="utf-8")
    for path in saved.glob("*tokenizer.json"):
        tokenizer = json.loads(path.read_text(encoding="utf-8"))
        del tokenizer["normalizer"]["normalizers"][0]  # what drops invisible characters
        path.write_text(json.dumps(tokenizer), encoding="utf-8")
    write_checksums(saved)
    return saved


def test_the_layout_of_the_first_edition_says_how_to_convert_it(first_edition, attentive, capsys):
    weights = load_file(first_edition / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"layout of the first edition. Convert it with `hello convert"):
        load_translator(first_edition)
    main([str(first_edition)])
    assert "converted" in capsys.readouterr().out
    converted = load_file(first_edition / "model.safetensors")
    assert all(torch.equal(weights[name], converted[name]) for name in weights | converted)
    found = load_translator(first_edition).translate(["\ufeff" + SENTENCES[0]])
    attentive.model.load_state_dict(converted)
    assert found[0].text == attentive.translate(SENTENCES[:1])[0].text
    main([str(first_edition)])
    assert "already" in capsys.readouterr().out


def test_what_cannot_be_converted_is_refused(first_edition, tmp_path):
    (first_edition / "config.json").write_text('{"model": {}, "model_type": "poet"}', encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"config\.json is damaged, so it is not converted"):
        convert(first_edition)
    write_checksums(first_edition)
    with pytest.raises(CheckpointError, match="no longer; train it anew"):
        convert(first_edition)
    with pytest.raises(SystemExit, match="error: there is no checkpoint"):
        main([str(tmp_path / "nowhere")])


def test_translating_warns_of_nothing_else(translator):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        translator.translate(SENTENCES)
