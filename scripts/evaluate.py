"""scripts.evaluate"""

import argparse
import itertools
import json
import sys
import time

from sacrebleu.metrics import BLEU

from scripts.corpora import CorpusError, load_multi30k
from utils.pretrained import CheckpointError
from utils.scores import _check_lengths, translation_scores
from utils.tokens import word_tokenizer
from utils.translator import load_translator


def word_bleu(hypotheses, references, language):
    """Corpus BLEU over words and punctuation as this project cuts them, lower-cased: "tokenised" BLEU.

    Args:
        hypotheses, references: lists of as many plain sentences.
        language: code of their language; decides how apostrophes are attached.
    """
    _check_lengths(hypotheses, references)
    splitter = word_tokenizer([], language)

    def cut(text):
        text = splitter.normalizer.normalize_str(text.lower())
        return " ".join(word for word, _ in splitter.pre_tokenizer.pre_tokenize_str(text))

    score = BLEU(tokenize="none", force=True)
    return score.corpus_score([*map(cut, hypotheses)], [[*map(cut, references)]]).score


def bleu_by_length(hypotheses, references, lengths, edges):
    """BLEU of the sentences in each range of lengths.

    Args:
        hypotheses, references: lists of as many sentences.
        lengths: a length for each of them.
        edges: increasing numbers; bin k holds lengths from ``edges[k]`` up to below ``edges[k + 1]``.

    Returns:
        A list of ``{"low", "high", "sentences", "bleu"}``; bins without a sentence are left out.
    """
    _check_lengths(hypotheses, references)
    rows = []
    for low, high in itertools.pairwise(edges):
        chosen = [index for index, length in enumerate(lengths) if low <= length < high]
        if chosen:
            scores = translation_scores(
                [hypotheses[index] for index in chosen], [references[index] for index in chosen]
            )
            rows.append({"low": low, "high": high, "sentences": len(chosen), "bleu": scores["bleu"]})
    return rows


def main(arguments=None):
    """The command line of ``python -m utils.evaluate``: prints one line of JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m utils.evaluate", description="Score a translator on Multi30k."
    )
    parser.add_argument("checkpoint", help="folder of the checkpoint, or its name in data/checkpoints")
    parser.add_argument("--split", choices=["validation", "test"], default="test")
    parser.add_argument("--beam-size", type=int, default=5, help="candidates kept at each step (default 5)")
    options = parser.parse_args(arguments)
    try:
        translator = load_translator(options.checkpoint)
        source, target = translator.languages
        split = load_multi30k(source, target)[options.split]
    except (CheckpointError, CorpusError) as error:
        sys.exit(f"error: {error}")
    started = time.perf_counter()
    hypotheses = [t.text for t in translator.translate(split[source], options.beam_size)]
    seconds = time.perf_counter() - started
    scores = translation_scores(hypotheses, list(split[target]))
    print(
        json.dumps(
            {name: round(value, 2) for name, value in scores.items()}
            | {"seconds": round(seconds, 1), "split": options.split, "beam_size": options.beam_size}
        )
    )


if __name__ == "__main__":
    main()
