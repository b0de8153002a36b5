"""Full corpora, read from a folder of yours or fetched from their public homes, always verified.

No third-party text is part of this repository. Set the environment variable
``HELLO_TRANSFORMERS_DATA`` to a folder that holds the corpora, or let them be downloaded.
"""

import gzip
import hashlib
import os
from pathlib import Path

from datasets import Dataset, DatasetDict, DownloadConfig, DownloadManager

DATA_VARIABLE = "HELLO_TRANSFORMERS_DATA"
MULTI30K_HOME = "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw"
MULTI30K_SPLITS = {"train": "train", "validation": "val", "test": "test_2016_flickr"}
MULTI30K_CHECKSUMS = {
    name: checksum
    for checksum, name in map(
        str.split, (Path(__file__).parents[2] / "data" / "multi30k.sha256").read_text().splitlines()
    )
}


class CorpusError(RuntimeError):
    """A corpus is missing or is not the file it should be."""


def sha256(path):
    """Return the SHA-256 checksum of a file as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
    path = _find_multi30k(name)
    found = sha256(path)
    if found != MULTI30K_CHECKSUMS[name]:
        raise CorpusError(
            f"{path} is damaged or another version: its SHA-256 is {found}, expected "
            f"{MULTI30K_CHECKSUMS[name]}. Delete it and fetch it again from {MULTI30K_HOME}/{name}."
        )
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        return file.read().removesuffix("\n").split("\n")


def _find_multi30k(name):
    folder = os.environ.get(DATA_VARIABLE)
    if folder:
        path = Path(folder) / "multi30k" / name
        if path.is_file():
            return path
        reason = f"{path} does not exist"
    else:
        try:
            config = DownloadConfig(max_retries=1, disable_tqdm=True)
            return DownloadManager(download_config=config).download(f"{MULTI30K_HOME}/{name}")
        except (OSError, ValueError) as error:
            reason = f"{MULTI30K_HOME}/{name} could not be fetched ({type(error).__name__})"
    raise CorpusError(
        f"Multi30k is not available: {reason}. There are two ways to get it: put its files "
        f"({name} and the others) into a folder FOLDER/multi30k and set {DATA_VARIABLE}=FOLDER; "
        f"or unset {DATA_VARIABLE}, connect to the network and try again, and the files come "
        f"from {MULTI30K_HOME}."
    )
