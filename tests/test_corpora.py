import gzip
import json
import zipfile

import pytest

from scripts import corpora
from scripts.train import language_model_texts


def test_a_corpus_that_is_missing_names_both_ways(monkeypatch, tmp_path):
    monkeypatch.setenv(corpora.DATA_VARIABLE, str(tmp_path))
    with pytest.raises(corpora.CorpusError, match=r"train\.en\.gz does not exist.*two ways.*network"):
        corpora.load_multi30k("en", "fr")
    monkeypatch.delenv(corpora.DATA_VARIABLE)

    def no_network(*_, **options):
        raise ConnectionError

    monkeypatch.setattr(corpora.DownloadManager, "download", no_network)
    monkeypatch.setattr(corpora, "load_dataset", no_network)
    for load in (lambda: corpora.load_multi30k("en", "fr"), corpora.load_imdb, corpora.load_wikipedia):
        with pytest.raises(corpora.CorpusError, match=r"could not be fetched.*HELLO_TRANSFORMERS_DATA="):
            load()


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


@pytest.fixture
def objects(monkeypatch, tmp_path):
    """Puts gzipped objects, one a line, where the corpora are looked for."""

    def write(folder, name, rows):
        path = tmp_path / folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
        monkeypatch.setenv(corpora.DATA_VARIABLE, str(tmp_path))
        monkeypatch.setitem(corpora.CHECKSUMS[folder], name, corpora.sha256(path))

    return write


def test_imdb_is_read_as_the_hub_has_it(objects):
    for split, label in (("train", 0), ("test", 1), ("unsupervised", -1)):
        row = {"id": f"{split}/0_3", "text": "Bad.<br />\u2028Worse.", "label": label, "rating": 3}
        objects("imdb", f"{split}.jsonl.gz", [row])
    data = corpora.load_imdb()
    assert list(data) == ["train", "test", "unsupervised"]
    assert data["train"][:] == {"id": ["train/0_3"], "text": ["Bad.<br />\u2028Worse."], "label": [0]}
    assert data["unsupervised"]["label"][0] == -1


def test_imdb_comes_from_the_hub_without_a_folder(monkeypatch):
    rows = corpora.Dataset.from_dict({"text": ["Good.", "Bad."], "label": [1, 0]})
    asked = []
    monkeypatch.setattr(corpora, "load_dataset", lambda *a, **o: asked.append((a, o)) or rows)
    data = corpora.load_imdb()
    assert data["test"][1] == {"text": "Bad.", "label": 0, "id": "test/1"}
    assert asked[0] == (("stanfordnlp/imdb",), {"split": "train"})


def test_wikipedia_is_read_and_cut(objects):
    rows = [{"id": str(i), "title": f"T{i}", "text": "A.\nB.", "url": "x"} for i in range(3)]
    objects("wikipedia", "articles.jsonl.gz", rows)
    assert len(corpora.load_wikipedia()) == 3
    assert corpora.load_wikipedia(2)[1] == {"id": "1", "title": "T1", "text": "A.\nB."}


def test_a_missing_file_names_its_place_and_its_home(monkeypatch, tmp_path):
    monkeypatch.setenv(corpora.DATA_VARIABLE, str(tmp_path))
    with pytest.raises(corpora.CorpusError, match=r"FOLDER/imdb/train\.jsonl\.gz.*stanfordnlp/imdb"):
        corpora.load_imdb()
    with pytest.raises(corpora.CorpusError, match=r"articles\.jsonl\.gz does not exist.*wikimedia/wikipedia"):
        corpora.load_wikipedia()


def test_the_folder_may_be_written_with_a_tilde(objects, monkeypatch, tmp_path):
    objects("wikipedia", "articles.jsonl.gz", [{"id": "1", "title": "T", "text": "A."}])
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    monkeypatch.setenv("USERPROFILE", str(tmp_path.parent))
    monkeypatch.setenv(corpora.DATA_VARIABLE, f"~/{tmp_path.name}")
    assert len(corpora.load_wikipedia()) == 1


def test_texts_for_language_models_are_parted_by_documents(archive):
    archive("brown.zip", {f"brown/ca{i:02d}": f"word{i}/nn" for i in range(20)})
    parts = language_model_texts("brown")
    assert {name: len(texts) for name, texts in parts.items()} == {"train": 18, "validation": 1, "test": 1}
    assert len({text for texts in parts.values() for text in texts}) == 20
