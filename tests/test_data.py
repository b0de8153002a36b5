import csv
import gzip
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts import corpora
from utils.alignment import group_into_words, match_pieces, parse_links
from utils.loaders import CAPTIONS, gold_alignment, load_captions
from utils.tokens import SPECIAL_TOKENS, bucketed_batches, pad


@pytest.mark.parametrize(
    ("language", "given_text", "normal"),
    [
        ("en", "The girl 's red balloon .", "The girl's red balloon."),
        ("en", "The boys' dog , a cat", "The boys' dog, a cat"),
        ("fr", "L' homme près d' une flaque d' eau .", "L'homme près d'une flaque d'eau."),
        ("fr", "Aujourd’hui ,  il pleut .", "Aujourd'hui, il pleut."),
        ("de", "Zwei Mädchen , drei Stühle .", "Zwei Mädchen, drei Stühle."),
    ],
)
def test_tokenizing_and_decoding_gives_the_normal_spelling_back(tokenizers, language, given_text, normal):
    tokenizer = tokenizers[language]
    ids = tokenizer.encode(given_text).ids
    decoded = tokenizer.decode(ids)
    if tokenizer.token_to_id("<unk>") not in ids:
        assert decoded == normal
    assert tokenizer.encode(normal).ids == ids


@pytest.mark.parametrize("language", ["en", "fr", "de"])
def test_every_caption_survives_tokenization(tokenizers, language):
    tokenizer = tokenizers[language]
    for caption in load_captions()[language]:
        encoding = tokenizer.encode(caption)
        decoded = tokenizer.decode(encoding.ids)
        assert decoded.replace(" ", "") == caption.replace(" ", "")
        groups = match_pieces(encoding.tokens, caption.split())
        assert len(groups) == len(caption.split())
        assert all(groups)


def test_pieces_are_grouped_into_the_words_of_the_captions(tokenizers):
    for language in ("en", "fr", "de"):
        for caption in load_captions()[language]:
            if language == "en" and " 's " in caption:
                continue  # this small vocabulary cuts "'s" in two; the signs alone cannot tell how
            tokens = tokenizers[language].encode(caption).tokens
            words = [word for word, _ in group_into_words(tokens) if word not in SPECIAL_TOKENS]
            assert words == caption.replace("quelqu'un", "quelqu' un").split()


def test_group_into_words_special_cases():
    assert group_into_words(["▁A", "▁bi", "cycle", "."]) == [("A", [0]), ("bicycle", [1, 2]), (".", [3])]
    assert group_into_words(["▁l'", "hom", "me"]) == [("l'", [0]), ("homme", [1, 2])]
    assert group_into_words(["▁man", "'s"]) == [("man", [0]), ("'s", [1])]
    assert group_into_words(["▁aujourd'", "hui"]) == [("aujourd'hui", [0, 1])]
    assert group_into_words(["▁t", "-", "shirt"]) == [("t-shirt", [0, 1, 2])]
    assert group_into_words(["▁a", "</s>"]) == [("a", [0]), ("</s>", [1])]
    assert group_into_words(["already", "words"]) == [("already", [0]), ("words", [1])]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=300), st.integers(1, 40), st.integers(0, 9))
def test_batches_hold_every_example_once(lengths, batch_size, seed):
    batches = bucketed_batches(lengths, batch_size, seed)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert max(map(len, batches)) <= batch_size
    assert batches == bucketed_batches(lengths, batch_size, seed)


def test_batches_are_of_like_length_and_differ_between_epochs():
    lengths = [index % 40 for index in range(4000)]
    batches = bucketed_batches(lengths, 32, [0, 1])
    padding = sum(max(lengths[i] for i in batch) - lengths[j] for batch in batches for j in batch)
    assert padding / sum(lengths) < 0.05
    assert batches != bucketed_batches(lengths, 32, [0, 2])


def test_pad_fills_at_the_end():
    assert pad([[5, 6, 7], [8]]).tolist() == [[5, 6, 7], [8, 0, 0]]


def test_captions_are_as_the_card_says():
    rows = list(load_captions())
    assert [row["id"] for row in rows] == [f"c{number:03d}" for number in range(1, 111)]
    lengths = [sum(any(c.isalnum() for c in word) for word in row["en"].split()) for row in rows]
    assert (min(lengths), max(lengths)) == (3, 40)
    assert f"{sum(length >= 20 for length in lengths)} captions have 20 words or more" in card()
    assert len({row["en"] for row in rows}) == 110
    aligned = [row for row in rows if row["links_en_fr"]]
    assert len(aligned) == 60
    for row in aligned:
        sure, possible = gold_alignment(row)  # raises for links outside the sentences
        assert sure.sum() >= 0.5 * len(row["fr"].split())
        assert (possible >= sure).all()


def test_agreement_between_the_two_readings_is_as_the_card_says():
    first = {row["id"]: row["links_en_fr"] for row in load_captions(aligned_only=True)}
    with open(CAPTIONS.with_name("captions_second_reading.tsv"), encoding="utf-8", newline="") as file:
        second = {row["id"]: row["links_en_fr"] for row in csv.DictReader(file, delimiter="\t")}
    assert len(second) == 20
    for kind, figure in ((0, "0.98 over sure links"), (1, "0.99 over all links")):
        one = {(key, *link) for key in second for link in parse_links(first[key])[kind]}
        two = {(key, *link) for key in second for link in parse_links(second[key])[kind]}
        f1 = 2 * len(one & two) / (len(one) + len(two))
        assert f"{f1:.2f}" == figure[:4]
        assert figure in card()


def card():
    return CAPTIONS.with_suffix(".md").read_text(encoding="utf-8")


def test_a_corpus_that_is_missing_names_both_ways(monkeypatch, tmp_path):
    monkeypatch.setenv(corpora.DATA_VARIABLE, str(tmp_path))
    with pytest.raises(corpora.CorpusError, match=r"train\.en\.gz does not exist.*two ways.*network"):
        corpora.load_multi30k("en", "fr")
    monkeypatch.delenv(corpora.DATA_VARIABLE)

    def no_network(*_):
        raise ConnectionError

    monkeypatch.setattr(corpora.DownloadManager, "download", no_network)
    with pytest.raises(corpora.CorpusError, match=r"could not be fetched.*HELLO_TRANSFORMERS_DATA="):
        corpora.load_multi30k("en", "fr")


def test_a_corpus_is_verified_and_read_line_by_line(monkeypatch, tmp_path):
    folder = tmp_path / "multi30k"
    folder.mkdir()
    checksums = {}
    for stem in corpora.MULTI30K_SPLITS.values():
        for language in ("en", "fr"):
            name = f"{stem}.{language}.gz"
            lines = f"{stem} {language}\nsecond\u2028line\n"  # a separator that is no line end
            (folder / name).write_bytes(gzip.compress(lines.encode()))
            checksums[name] = corpora.sha256(folder / name)
    monkeypatch.setenv(corpora.DATA_VARIABLE, str(tmp_path))
    with pytest.raises(corpora.CorpusError, match=r"damaged or another version.*expected d79cfa"):
        corpora.load_multi30k("en", "fr")
    monkeypatch.setitem(corpora.CHECKSUMS, "multi30k", checksums)
    data = corpora.load_multi30k("en", "fr")
    assert data["test"][0] == {"en": "test_2016_flickr en", "fr": "test_2016_flickr fr"}
    assert data["train"]["fr"][1] == "second\u2028line"
    with pytest.raises(ValueError, match="'es'"):
        corpora.load_multi30k("en", "es")


@pytest.fixture
def archive(monkeypatch, tmp_path):
    """Puts files into a zip archive where the corpora are looked for."""

    def write(name, files):
        folder = tmp_path / "nltk_data" / "corpora"
        folder.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(folder / name, "w") as file:
            for path, text in files.items():
                file.writestr(path, text)
        monkeypatch.setenv(corpora.DATA_VARIABLE, str(tmp_path))
        monkeypatch.setitem(corpora.CHECKSUMS["nltk_data/corpora"], name, corpora.sha256(folder / name))

    return write


def test_brown_is_read_as_running_text(archive):
    text = (
        "\n\n\tHe/pps said/vbd ``/`` no/at ''/'' ,/, (/( twice/rb )/) ./.\n\tThen/rb 1\\/2/cd ./.\n\n\n\tA/at"
    )
    archive("brown.zip", {"brown/cb07": text, "brown/README": "not/this"})
    (row,) = corpora.load_brown()
    assert row == {"name": "cb07", "category": "b", "text": 'He said "no", (twice). Then 1\\/2.\nA'}


def test_labels_of_film_reviews_come_from_their_folders(archive):
    archive("movie_reviews.zip", {f"movie_reviews/{x}/cv1.txt": f"{x} film .\nend ." for x in ("neg", "pos")})
    assert corpora.load_movie_reviews()[:] == {
        "name": ["cv1", "cv1"],
        "text": ["neg film. end.", "pos film. end."],
        "label": [0, 1],
    }
    archive(
        "sentence_polarity.zip",
        {f"sentence_polarity/rt-polarity.{x}": f"{x} one .\n{x} two \n" for x in ("neg", "pos")},
    )
    sentences = corpora.load_sentence_polarity()
    assert sentences["text"][:] == ["neg one.", "neg two", "pos one.", "pos two"]
    assert sentences["label"][:] == [0, 0, 1, 1]


def test_an_archive_is_verified(archive, monkeypatch):
    archive("brown.zip", {})
    monkeypatch.setitem(corpora.CHECKSUMS["nltk_data/corpora"], "brown.zip", "0" * 64)
    with pytest.raises(corpora.CorpusError, match=r"brown\.zip is damaged.*fetch it again from https"):
        corpora.load_brown()
