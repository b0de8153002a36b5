"""Intervals by drawing the test set again and again, with replacement (Efron 1979)."""

import numpy as np
from sacrebleu.metrics import BLEU

from utils.scores import CORPUS_BLEU


def bleu_difference(first, second, references, samples=1000, seed=0):
    """Paired bootstrap of the difference in BLEU (Koehn 2004): first minus second.

    The same sentences are drawn for both systems; built in notebook 02, *What attention is worth*.

    Args:
        first, second, references: lists of as many sentences.
        samples: how often a test set is drawn.
        seed: of the draws.

    Returns:
        ``{"difference", "low", "high"}``: BLEU points, with the 95 % interval.
    """
    size = len(references)
    # draws[k, i]: how often sentence i is in sample k; row 0 is the test set itself
    draws = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), samples)
    draws = np.vstack([np.ones((1, size), dtype=int), draws])
    scores = [_bleu_of_samples(system, references, draws) for system in (first, second)]
    difference = scores[0] - scores[1]
    low, high = np.percentile(difference[1:], [2.5, 97.5])
    return {"difference": float(difference[0]), "low": float(low), "high": float(high)}


def _bleu_of_samples(hypotheses, references, draws):
    # BLEU is a function of counts that add up over sentences, so counting once is enough.
    pairs = zip(hypotheses, references, strict=True)
    found = [CORPUS_BLEU.corpus_score([hypothesis], [[reference]]) for hypothesis, reference in pairs]
    counts = np.array([[*one.counts, *one.totals, one.sys_len, one.ref_len] for one in found])
    sums = (draws @ counts).tolist()  # [samples, 4 + 4 + 2]
    scores = [BLEU.compute_bleu(row[:4], row[4:8], row[8], row[9], smooth_method="exp") for row in sums]
    return np.array([one.score for one in scores])
