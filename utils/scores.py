"""How good is a translator? BLEU and chrF, and how many sentences come out exactly right."""

from collections.abc import Sequence

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

CORPUS_BLEU = BLEU(lowercase=True, force=True)  # force: no warning about spaces before full stops


def translation_scores(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Corpus BLEU (13a tokenisation, lower-cased) and chrF of `sacrebleu`, both from 0 to 100.

    Used in notebook 02, *What attention is worth*. Raises ValueError if not as many are given.
    """
    _check_lengths(hypotheses, references)
    metrics = {"bleu": CORPUS_BLEU, "chrf": CHRF()}
    return {name: metric.corpus_score(hypotheses, [references]).score for name, metric in metrics.items()}


def exact_share(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """Share of the hypotheses that equal their reference; used in notebook 01, *Watch it learn*."""
    _check_lengths(hypotheses, references)
    return sum(map(str.__eq__, hypotheses, references)) / len(references)


def _check_lengths(hypotheses, references):
    if len(hypotheses) != len(references) or not len(references):
        raise ValueError(
            "as many hypotheses as references are needed, and at least one: "
            f"{len(hypotheses)} hypotheses, {len(references)} references"
        )
