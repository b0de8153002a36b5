"""How good is a translator? BLEU, chrF, their spread, and the quality of its alignments.

python -m utils.evaluate data/checkpoints/multi30k-en-fr-gru-attention --split test
"""

import warnings

import numpy
from sacrebleu.metrics import BLEU, CHRF
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from phrasebook import write_phrases
from utils.alignment import match_pieces, merge_weights

_BLEU = BLEU(lowercase=True, force=True)  # force: no warning about spaces before full stops


def translation_scores(hypotheses, references):
    """Corpus BLEU and chrF, as `sacrebleu` computes them (BLEU: 13a tokenisation, lower-cased).

    Args:
        hypotheses, references: lists of as many plain sentences.

    Returns:
        ``{"bleu": ..., "chrf": ...}``, both from 0 to 100.
    """
    _check_lengths(hypotheses, references)
    return {
        "bleu": _BLEU.corpus_score(hypotheses, [references]).score,
        "chrf": CHRF().corpus_score(hypotheses, [references]).score,
    }


def exact_share(hypotheses, references):
    """Share of the hypotheses that equal their reference, from 0 to 1."""
    _check_lengths(hypotheses, references)
    return sum(map(str.__eq__, hypotheses, references)) / len(references)


def bleu_difference(first, second, references, samples=1000, seed=0):
    """Paired bootstrap of the difference in BLEU (Koehn 2004): first minus second.

    The same sentences are drawn with replacement for both systems, many times.

    Args:
        first, second, references: lists of as many sentences.
        samples: how often a test set is drawn.
        seed: fixes the draws.

    Returns:
        ``{"difference", "low", "high"}``: BLEU points, with the 95 % interval.
    """
    _check_lengths(first, references)
    _check_lengths(second, references)
    size = len(references)
    # draws[k, i]: how often sentence i is in sample k; row 0 is the test set itself
    draws = numpy.random.default_rng(seed).multinomial(size, numpy.full(size, 1 / size), samples)
    draws = numpy.vstack([numpy.ones((1, size), dtype=int), draws])
    scores = [_bleu_of_samples(system, references, draws) for system in (first, second)]
    differences = scores[0] - scores[1]
    low, high = numpy.percentile(differences[1:], [2.5, 97.5])
    return {"difference": float(differences[0]), "low": float(low), "high": float(high)}


def _bleu_of_samples(hypotheses, references, draws):
    # BLEU is a function of counts that add up over sentences, so counting once is enough.
    scores = [
        _BLEU.corpus_score([hypothesis], [[reference]])
        for hypothesis, reference in zip(hypotheses, references, strict=True)
    ]
    counts = numpy.array([[*score.counts, *score.totals, score.sys_len, score.ref_len] for score in scores])
    sums = (draws @ counts).tolist()  # [samples, 4 + 4 + 2]
    return numpy.array(
        [BLEU.compute_bleu(row[:4], row[4:8], row[8], row[9], smooth_method="exp").score for row in sums]
    )


def exact_by_length(translator, ranges, sentences=200, seed=10**7, theme=None, seen=(), prepare=str):
    """How many new phrasebook sentences of each length come out exactly right, decoded greedily.

    Args:
        translator: a translator from English.
        ranges: pairs of the fewest and the most words.
        sentences: how many of each range.
        seed: of the phrasebook; not one that training used.
        theme: one of the phrasebook's themes, or None.
        seen: English sentences that are left out.
        prepare: what is done to an English sentence before it is translated.

    Returns:
        A list of ``{"low", "high", "sentences", "exact", "bleu"}``, exact from 0 to 1.

    Raises:
        ValueError: there are not enough sentences of a range that are not in ``seen``.
    """
    results, language = [], translator.languages[1]
    for low, high in ranges:
        # Short sentences repeat and many were seen, so more are written than are used.
        written = {r["en"]: r[language] for r in write_phrases(4 * sentences, seed, theme, low, high)}
        pairs = [pair for pair in written.items() if pair[0] not in seen][:sentences]
        if len(pairs) < sentences:
            raise ValueError(f"only {len(pairs)} new sentences of {low} to {high} words were found")
        with warnings.catch_warnings():  # sentences longer than in training are measured on purpose
            warnings.simplefilter("ignore", UserWarning)
            texts = [t.text for t in translator.translate([prepare(english) for english, _ in pairs])]
        references = [reference for _, reference in pairs]
        results.append(
            {
                "low": low,
                "high": high,
                "sentences": sentences,
                "exact": exact_share(texts, references),
                "bleu": translation_scores(texts, references)["bleu"],
            }
        )
    return results


def probe_positions(states, sentences, content, training_share=0.75):
    """How well a linear probe reads each position's word off one state for the whole sentence.

    At each position only the sentences count that have a content word there. The probe is a ridge
    classifier (one linear map, solved in closed form); its accuracy on sentences that it was not fitted
    on is set against always guessing the position's commonest word.

    Args:
        states: one state for each sentence, [sentences, width].
        sentences: lists of words, all of one length.
        content: the words that count, in lower case.
        training_share: share of the sentences that the probe is fitted on.

    Returns:
        A list with a dictionary for each position: position (from 1), sentences, accuracy, majority,
        and gain, which is their difference.

    Raises:
        ValueError: sentences of different lengths, or as many states as sentences are missing.
    """
    if len({len(words) for words in sentences}) != 1 or len(states) != len(sentences):
        raise ValueError("probes need sentences of one length, and a state for each of them")
    results = []
    for position in range(len(sentences[0])):
        words = numpy.array([sentence[position].lower() for sentence in sentences])
        chosen = numpy.isin(words, list(content))
        kept, words = numpy.asarray(states)[chosen], words[chosen]
        cut = int(training_share * len(words))
        if cut < 100:
            continue  # hardly ever a content word, such as the full stop
        probe = make_pipeline(StandardScaler(), RidgeClassifier(alpha=10.0)).fit(kept[:cut], words[:cut])
        found, counts = numpy.unique(words[:cut], return_counts=True)
        accuracy = float((probe.predict(kept[cut:]) == words[cut:]).mean())
        majority = float((words[cut:] == found[counts.argmax()]).mean())
        results.append(
            {
                "position": position + 1,
                "sentences": len(words),
                "accuracy": accuracy,
                "majority": majority,
                "gain": accuracy - majority,
            }
        )
    return results


def word_attention(translator, sources, targets):
    """Where a translator looks while it predicts given translations, over given words.

    Args:
        translator: a ``Translator`` with attention.
        sources, targets: sentences whose words are separated by spaces.

    Returns:
        One tensor [target words, source words] for each pair. The weight on the end token is left
        out, so rows may sum to less than 1.

    Raises:
        ValueError: a translator without attention, or a character that it does not know.
    """
    matrices = []
    for source, target, aligned in zip(sources, targets, translator.align(sources, targets), strict=True):
        if aligned.attention_weights is None:
            raise ValueError("this translator has no attention, so it cannot be asked where it looks")
        matrices.append(
            merge_weights(
                aligned.attention_weights,
                match_pieces(aligned.source_tokens, source.split()),
                match_pieces(aligned.target_tokens, target.split()),
            )
        )
    return matrices


def _check_lengths(hypotheses, references):
    if len(hypotheses) != len(references) or not len(references):
        raise ValueError(
            "as many hypotheses as references are needed, and at least one: "
            f"{len(hypotheses)} hypotheses, {len(references)} references"
        )
