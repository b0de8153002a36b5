"""Scores of translators: tokenised BLEU, BLEU by length, and a command for Multi30k."""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Iterable, Sequence

import pandas as pd
from sacrebleu.metrics import BLEU

from utils.scores import translation_scores


def word_bleu(hypotheses: Sequence[str], references: Sequence[str], language: str) -> float:
    """Corpus BLEU over words and punctuation as this project cuts them, lower-cased: "tokenised" BLEU.

    Args:
        hypotheses, references: as many plain sentences.
        language: code of their language; decides how apostrophes are attached.
    """
    from utils.tokens import word_tokenizer

    splitter = word_tokenizer([], language)

    def cut(text):
        text = splitter.normalizer.normalize_str(text.lower())
        return " ".join(word for word, _ in splitter.pre_tokenizer.pre_tokenize_str(text))

    if not references or len(hypotheses) != len(references):
        raise ValueError(f"as many hypotheses as references: {len(hypotheses)}, {len(references)}")
    score = BLEU(tokenize="none", force=True)
    return score.corpus_score([*map(cut, hypotheses)], [[*map(cut, references)]]).score


def bleu_by_length(
    hypotheses: Sequence[str], references: Sequence[str], lengths: Iterable[int], edges: Sequence[int]
) -> pd.DataFrame:
    """BLEU of the sentences in each range of lengths.

    Args:
        hypotheses, references: as many sentences.
        lengths: a length for each of them.
        edges: increasing numbers; bin k holds lengths from ``edges[k]`` up to below ``edges[k + 1]``.

    Returns:
        A row for each bin that has a sentence: low, high, sentences, bleu.
    """
    table = pd.DataFrame({"hypothesis": hypotheses, "reference": references, "length": lengths})
    rows = []
    for low, high in itertools.pairwise(edges):
        part = table[(table.length >= low) & (table.length < high)]
        if len(part):
            bleu = translation_scores(list(part.hypothesis), list(part.reference))["bleu"]
            rows.append({"low": low, "high": high, "sentences": len(part), "bleu": bleu})
    return pd.DataFrame(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of ``hello evaluate``: prints one line of JSON."""
    parser = argparse.ArgumentParser(
        prog="hello evaluate",
        description="Score a translator of captions on Multi30k: BLEU (13a, lower-cased) and chrF.",
        epilog="example: hello evaluate multi30k-en-fr-gru-attention --split validation",
    )
    parser.add_argument("checkpoint", help="folder of the checkpoint, or its name in data/checkpoints")
    parser.add_argument("--split", choices=["validation", "test"], default="test", help="(default test)")
    parser.add_argument("--beam-size", type=int, default=5, help="candidates kept at each step (default 5)")
    options = parser.parse_args(arguments)
    from scripts.corpora import load_multi30k
    from utils.translator import load_translator

    translator = load_translator(options.checkpoint)
    source, target = translator.languages
    split = load_multi30k(source, target)[options.split]
    started = time.perf_counter()
    hypotheses = [t.text for t in translator.translate(list(split[source]), options.beam_size)]
    seconds = round(time.perf_counter() - started, 1)
    scores = translation_scores(hypotheses, list(split[target]))
    found = {name: round(value, 2) for name, value in scores.items()} | {"seconds": seconds}
    print(json.dumps(found | {"split": options.split, "beam_size": options.beam_size}))


if __name__ == "__main__":
    from scripts.command import main as hello

    hello(["evaluate", *sys.argv[1:]])
