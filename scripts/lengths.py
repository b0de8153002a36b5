"""Quality by the length of a sentence, as the sweeps and the cards of phrasebook translators measure it."""

import warnings
from collections.abc import Callable, Collection, Sequence

import pandas as pd

from phrasebook import write_phrases
from utils.scores import exact_share, translation_scores

SEEDS = range(5)  # of the shipped sweeps
LENGTH_RANGES = ((2, 8), (9, 12), (13, 16), (17, 20), (21, 24))  # English words


def exact_by_length(
    translator,
    ranges: Sequence[tuple[int, int]],
    sentences: int = 200,
    seed: int = 10**7,
    theme: str | None = None,
    seen: Collection[str] = (),
    prepare: Callable[[str], str] = str,
) -> pd.DataFrame:
    """How many new phrasebook sentences of each length a translator from English gets exactly right.

    Args:
        ranges: pairs of the fewest and the most words; so many ``sentences`` of each.
        seed: of the phrasebook; not one that training used.
        seen: English sentences that are left out; ValueError if too few are left.
        prepare: what is done to an English sentence before it is translated.

    Returns:
        A row for each range: low, high, sentences, exact (from 0 to 1) and bleu.
    """
    rows, language = [], translator.languages[1]
    for low, high in ranges:
        # Short sentences repeat and many were seen, so more are written than are used.
        written = {row["en"]: row[language] for row in write_phrases(4 * sentences, seed, theme, low, high)}
        pairs = [pair for pair in written.items() if pair[0] not in seen][:sentences]
        if len(pairs) < sentences:
            raise ValueError(f"only {len(pairs)} new sentences of {low} to {high} words were found")
        english, references = zip(*pairs, strict=True)
        with warnings.catch_warnings():  # sentences longer than in training are measured on purpose
            warnings.simplefilter("ignore", UserWarning)
            texts = [translation.text for translation in translator.translate(list(map(prepare, english)))]
        row = {"low": low, "high": high, "sentences": sentences, "exact": exact_share(texts, references)}
        rows.append(row | {"bleu": translation_scores(texts, references)["bleu"]})
    return pd.DataFrame(rows)
