"""Full corpora, read from a folder of yours or fetched from their public homes, always verified.

No third-party text is part of this repository. Set the environment variable
``HELLO_TRANSFORMERS_DATA`` to a folder that holds the corpora, or let them be downloaded.
"""

import gzip
import os
import re
import zipfile
from pathlib import Path

from datasets import Dataset, DatasetDict, DownloadConfig, DownloadManager

from utils.pretrained import sha256

DATA_VARIABLE = "HELLO_TRANSFORMERS_DATA"


HOMES = {
    "multi30k": "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw",
    "nltk_data/corpora": "https://raw.githubusercontent.com/nltk/nltk_data/gh-pages/packages/corpora",
}


MULTI30K_SPLITS = {"train": "train", "validation": "val", "test": "test_2016_flickr"}


def _read_checksums(name):
    lines = (Path(__file__).parents[1] / "data" / name).read_text().splitlines()
    return {file: checksum for checksum, file in map(str.split, lines)}


CHECKSUMS = {
    "multi30k": _read_checksums("multi30k.sha256"),
    "nltk_data/corpora": _read_checksums("nltk.sha256"),
}


class CorpusError(RuntimeError):
    """A corpus is missing or is not the file it should be."""


def load_multi30k(*languages):
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


def load_brown():
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


def load_movie_reviews():
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


def load_sentence_polarity():
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


def _joined(tokens):
    """Words and punctuation as they are printed: quotation marks and brackets touch their words."""
    text = " ".join(tokens)
    text = re.sub(r"``\s?", '"', re.sub(r"\s?''", '"', text))
    return re.sub(r"\s+([.,;:!?)\]])|([(\[])\s+", r"\1\2", text)


def _verified(folder, name):
    path, expected = _find(folder, name), CHECKSUMS[folder][name]
    found = sha256(path)
    if found != expected:
        raise CorpusError(
            f"{path} is damaged or another version: its SHA-256 is {found}, expected {expected}. "
            f"Delete it and fetch it again from {HOMES[folder]}/{name}."
        )
    return path


def _find(folder, name):
    home, own = f"{HOMES[folder]}/{name}", os.environ.get(DATA_VARIABLE)
    if own:
        path = Path(own) / folder / name
        if path.is_file():
            return path
        reason = f"{path} does not exist"
    else:
        try:
            config = DownloadConfig(max_retries=1, disable_tqdm=True)
            return DownloadManager(download_config=config).download(home)
        except (OSError, ValueError) as error:
            reason = f"{home} could not be fetched ({type(error).__name__})"
    raise CorpusError(
        f"a corpus is not available: {reason}. There are two ways to get it: put {name} (and the files "
        f"beside it) into a folder FOLDER/{folder} and set {DATA_VARIABLE}=FOLDER; or unset "
        f"{DATA_VARIABLE}, connect to the network and try again, and the files come from {HOMES[folder]}."
    )
