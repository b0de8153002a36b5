"""How good is a translator? BLEU and chrF, and how many sentences come out exactly right."""

import warnings
from collections.abc import Callable, Collection, Sequence

import pandas as pd
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from phrasebook import write_phrases

_BLEU = BLEU(lowercase=True, force=True)  # force: no warning about spaces before full stops


def translation_scores(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Corpus BLEU (13a tokenisation, lower-cased) and chrF of `sacrebleu`, both from 0 to 100.

    Used in notebook 02, *What attention is worth*. Raises ValueError if not as many are given.
    """
    _check_lengths(hypotheses, references)
    metrics = {"bleu": _BLEU, "chrf": CHRF()}
    return {name: metric.corpus_score(hypotheses, [references]).score for name, metric in metrics.items()}


def exact_share(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """Share of the hypotheses that equal their reference; used in notebook 01, *Watch it learn*."""
    _check_lengths(hypotheses, references)
    return sum(map(str.__eq__, hypotheses, references)) / len(references)


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

    Used in notebook 01, *Where one vector gives way*, and in notebook 02, *The bottleneck, lifted*.

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


def _check_lengths(hypotheses, references):
    if len(hypotheses) != len(references) or not len(references):
        raise ValueError(
            "as many hypotheses as references are needed, and at least one: "
            f"{len(hypotheses)} hypotheses, {len(references)} references"
        )
