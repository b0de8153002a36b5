"""Full corpora: files from a folder of yours or from their public homes, verified, or data sets of the Hub.

No third-party text is part of this repository. Set the environment variable ``HELLO_TRANSFORMERS_DATA`` to
a folder that holds the corpora, or let them be downloaded.
"""

import gzip
import json
import os
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path

from datasets import Dataset, DatasetDict, DownloadConfig, DownloadManager, load_dataset

from utils.pretrained import sha256

DATA_VARIABLE = "HELLO_TRANSFORMERS_DATA"
HOMES = {
    "multi30k": "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw",
    "nltk_data/corpora": "https://raw.githubusercontent.com/nltk/nltk_data/gh-pages/packages/corpora",
}
HUB = {"imdb": "stanfordnlp/imdb", "wikipedia": "wikimedia/wikipedia"}
MULTI30K_SPLITS = {"train": "train", "validation": "val", "test": "test_2016_flickr"}
IMDB_SPLITS = ("train", "test", "unsupervised")


def _read_checksums():
    """The SHA-256 of each file, from folder and name: a dictionary of dictionaries."""
    text = (Path(__file__).parents[1] / "data" / "corpora.sha256").read_text(encoding="utf-8")
    checksums = {}
    for checksum, file in map(str.split, text.splitlines()):
        folder, _, name = file.rpartition("/")
        checksums.setdefault(folder, {})[name] = checksum
    return checksums


CHECKSUMS = _read_checksums()


class CorpusError(RuntimeError):
    """A corpus is missing or is not the file it should be."""


def load_multi30k(*languages: str) -> DatasetDict:
    """Load the Multi30k image captions (Elliott et al. 2016): 29,000 / 1,014 / 1,000 sentences.

    Args:
        languages: two or more of "en", "de", "fr"; the captions of one row say the same.

    Returns:
        A ``DatasetDict`` with the splits train, validation and test (test_2016_flickr) and one
        text column for each language, in its original casing.

    Raises:
        ValueError: an unknown language, or none.
        CorpusError: the files cannot be found, or a checksum differs.
    """
    unknown = [language for language in languages if language not in ("en", "de", "fr")]
    if unknown or not languages:
        raise ValueError(f"languages must be chosen from 'en', 'de', 'fr', not {list(languages)}")
    return DatasetDict(
        {
            split: Dataset.from_dict(
                {language: _read_lines(f"{stem}.{language}.gz") for language in languages}
            )
            for split, stem in MULTI30K_SPLITS.items()
        }
    )


def _read_lines(name):
    with gzip.open(_verified("multi30k", name), "rt", encoding="utf-8", newline="\n") as file:
        return file.read().removesuffix("\n").split("\n")


def load_brown() -> Dataset:
    """Load the Brown corpus (Francis and Kucera 1964): 500 American texts of 1961 in 15 categories.

    Returns:
        A ``Dataset`` with the columns name, category ("a" news … "r" humour) and text: running text
        with a line for each paragraph, without the tags.

    Raises:
        CorpusError: the file cannot be found, or its checksum differs.
    """
    texts = _read_archive("brown.zip", r"brown/c[a-r]\d\d")
    rows = {Path(name).name: _untagged(text) for name, text in texts.items()}
    return Dataset.from_dict(
        {"name": list(rows), "category": [name[1] for name in rows], "text": list(rows.values())}
    )


def load_movie_reviews() -> Dataset:
    """Load 2,000 film reviews with labels (Pang and Lee 2004), lower-cased by their authors.

    Returns:
        A ``Dataset`` with the columns name, text and label (0 negative, 1 positive).

    Raises:
        CorpusError: the file cannot be found, or its checksum differs.
    """
    texts = _read_archive("movie_reviews.zip", r"movie_reviews/(neg|pos)/.*\.txt")
    return Dataset.from_dict(
        {
            "name": [Path(name).stem for name in texts],
            "text": [_joined(text.split()) for text in texts.values()],
            "label": [int("/pos/" in name) for name in texts],
        }
    )


def load_sentence_polarity() -> Dataset:
    """Load 10,662 sentences of film reviews with labels (Pang and Lee 2005), lower-cased.

    Returns:
        A ``Dataset`` with the columns text and label (0 negative, 1 positive).

    Raises:
        CorpusError: the file cannot be found, or its checksum differs.
    """
    parts = _read_archive("sentence_polarity.zip", r"sentence_polarity/rt-polarity\.(neg|pos)")
    rows = [
        {"text": _joined(line.split()), "label": int(name.endswith("pos"))}
        for name, text in parts.items()
        for line in text.splitlines()
        if line.strip()
    ]
    return Dataset.from_list(rows)


def load_imdb() -> DatasetDict:
    """Load 100,000 film reviews (Maas et al. 2011), as `stanfordnlp/imdb` on the Hub has them.

    Returns:
        A ``DatasetDict`` with the splits train, test (25,000 each) and unsupervised (50,000), and the
        columns id (such as "train/neg/0_3"; from the Hub, which has none, "train/0"), text (with its
        ``<br />``) and label (0 negative, 1 positive, -1 none).

    Raises:
        CorpusError: the files cannot be found, or a checksum differs.
    """
    if _own_folder() is None:
        splits = {split: _from_hub("imdb", split=split) for split in IMDB_SPLITS}
        return DatasetDict(
            {
                split: rows.add_column("id", [f"{split}/{i}" for i in range(len(rows))])
                for split, rows in splits.items()
            }
        )
    columns = ("id", "text", "label")
    return DatasetDict({split: _read_objects("imdb", f"{split}.jsonl.gz", columns) for split in IMDB_SPLITS})


def plain(text: str) -> str:
    """A review of IMDb without the marks of its line breaks."""
    return text.replace("<br />", " ")


def load_wikipedia(articles: int = 18_331) -> Dataset:
    """Load articles of the English Wikipedia (CC BY-SA): from a folder of yours 18,331 of them.

    Args:
        articles: how many to take, from the first.

    Returns:
        A ``Dataset`` with the columns id, title and text.

    Raises:
        CorpusError: the file cannot be found, or its checksum differs.
    """
    if _own_folder() is None:
        rows = _from_hub("wikipedia", "20231101.en", split="train", streaming=True).take(articles)
        return Dataset.from_list([{name: row[name] for name in ("id", "title", "text")} for row in rows])
    rows = _read_objects("wikipedia", "articles.jsonl.gz", ("id", "title", "text"))
    return rows.select(range(min(articles, len(rows))))


def _read_objects(folder, name, columns):
    """The columns of a gzipped file with one JSON object a line."""
    with gzip.open(_verified(folder, name), "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return Dataset.from_dict({column: [row[column] for row in rows] for column in columns})


def _from_hub(folder, *names, **options):
    try:
        return load_dataset(HUB[folder], *names, **options)
    except (OSError, ValueError, RuntimeError) as error:  # offline, unknown, interrupted
        raise _unavailable(
            f"{HUB[folder]} could not be fetched from the Hub ({type(error).__name__})", folder, HUB[folder]
        ) from error


def _read_archive(name, pattern):
    """The texts of a zip archive whose paths fit the pattern: a dictionary in order of path."""
    with zipfile.ZipFile(_verified("nltk_data/corpora", name)) as archive:
        members = sorted(member for member in archive.namelist() if re.fullmatch(pattern, member))
        return {member: archive.read(member).decode("latin-1") for member in members}


def _untagged(text):
    """Running text from lines of ``word/tag``; blank lines part the paragraphs."""
    paragraphs = (
        _joined(token.rpartition("/")[0] for token in paragraph.split())
        for paragraph in re.split(r"\n\s*\n", text)
    )
    # The corpus writes these signs twice.
    return "\n".join(re.sub(r"([?!;:])\1", r"\1", paragraph) for paragraph in paragraphs if paragraph)


def _joined(tokens: Iterable[str]) -> str:
    """Words and punctuation as they are printed: quotation marks and brackets touch their words."""
    text = " ".join(tokens)
    text = re.sub(r"``\s?", '"', re.sub(r"\s?''", '"', text))
    return re.sub(r"\s+([.,;:!?)\]])|([(\[])\s+", r"\1\2", text)


def _own_folder():
    named = os.environ.get(DATA_VARIABLE)
    return Path(named).expanduser() if named else None


def _verified(folder, name):
    """The path of a file, found and with the checksum that it should have."""
    path, expected = _find(folder, name), CHECKSUMS[folder][name]
    found = sha256(path)
    if found != expected:
        home = f"{HOMES[folder]}/{name}" if folder in HOMES else "where it came from"
        raise CorpusError(
            f"{path} is damaged or another version: its SHA-256 is {found}, expected {expected}. "
            f"Delete it and fetch it again from {home}."
        )
    return path


def _find(folder, name):
    own = _own_folder()
    if own is not None:
        path = own / folder / name
        if path.is_file():
            return path
        raise _unavailable(f"{path} does not exist", f"{folder}/{name}", HOMES.get(folder) or HUB[folder])
    home = f"{HOMES[folder]}/{name}"
    try:
        config = DownloadConfig(max_retries=1, disable_tqdm=True)
        return DownloadManager(download_config=config).download(home)
    except (OSError, ValueError) as error:
        reason = f"{home} could not be fetched ({type(error).__name__})"
        raise _unavailable(reason, f"{folder}/{name}", HOMES[folder]) from error


def _unavailable(reason, wanted, home):
    offline = " (HF_HUB_OFFLINE is set, which forbids it)" if os.environ.get("HF_HUB_OFFLINE") == "1" else ""
    return CorpusError(
        f"a corpus is not available: {reason}. There are two ways to get it: put it into a folder of yours, "
        f"as FOLDER/{wanted}, and set {DATA_VARIABLE}=FOLDER; or unset {DATA_VARIABLE}, connect to the "
        f"network{offline} and try again, and it comes from {home}."
    )
