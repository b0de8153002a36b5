"""One explorer of each kind, of small made-up models: for the tests, and for a notebook in the browser."""

import numpy
import torch

from utils.plots.explorers import (
    explore_alignment,
    explore_attention,
    explore_gaps,
    explore_heads,
    explore_labels,
    explore_next_word,
    explore_steps,
)

SOURCE, TARGET = ["the", "red", "coat", "</s>"], ["le", "manteau", "rouge", "</s>"]
WEIGHTS = numpy.array([[0.9, 0.05, 0.05, 0], [0.1, 0.1, 0.8, 0], [0, 0.7254, 0.2746, 0], [0, 0, 0.1, 0.9]])
QUERIES, KEYS, VALUES = numpy.random.default_rng(0).normal(size=(3, 4, 2))
TEXT = "I saw my [MASK] and [MASK] left."
LABELS = [
    {"arm": "frozen", "labels": 10, "accuracy": 0.5, "guesses": [0, 0, 1]},
    {"arm": "frozen", "labels": 50, "accuracy": 0.625, "guesses": [1, 0, 1]},
    {"arm": "fine-tuned", "labels": 10, "accuracy": 0.55},
    {"arm": "fine-tuned", "labels": 50, "accuracy": 0.75},
]


class Filler:
    """A masked model that expects "he" after "and", "friend" beside "he", and otherwise "watch"."""

    def fill(self, text, count=5):
        if not text.isprintable():
            raise ValueError("a text that the model refuses")
        found = []
        for before in text.split("[MASK]")[:-1]:
            first = "he" if before.rstrip().endswith("and") else "friend" if "he left" in text else "watch"
            others = [word for word in ("watch", "friend", "he", "it", "dog", "cat") if word != first]
            found.append([(first, 0.4321), *[(word, 0.1 / (i + 1)) for i, word in enumerate(others)]][:count])
        return found


class Writer:
    """A causal model and its tokeniser: after token i it expects i + 1, then what is near to it."""

    size = 80

    def __call__(self, tokens):
        if isinstance(tokens, str):
            return {"input_ids": [3, 4]}
        near = (torch.arange(self.size) - tokens[..., None] - 1).abs().float()
        self.logits = -near / 3
        return self

    def decode(self, ids):
        return f" w{ids[0]}"


def maps():
    """Weights of two layers with two heads, of the encoder (4 words), the decoder (3) and between them."""
    generator = torch.Generator().manual_seed(0)

    def draw(rows, columns, mask=False):
        scores = torch.randn(1, 2, rows, columns, generator=generator)
        hidden = torch.ones(rows, columns).triu(1) > 0
        return (scores.masked_fill(hidden, -torch.inf) if mask else scores).softmax(dim=-1)

    kinds = {"encoder": (4, 4), "decoder": (3, 3, True), "cross": (3, 4)}
    return {kind: [draw(*shape) for _ in range(2)] for kind, shape in kinds.items()}


def example(kind: str):
    """The explorer of a kind."""
    if kind == "alignment":
        compare = ("the paper", [[0] * 4, [0] * 4, [0, 0.5, 0, 0], [0] * 4])
        return explore_alignment(
            WEIGHTS, SOURCE, TARGET, languages=("en", "fr"), compare=compare, alt="Arcs."
        )
    if kind == "attention":
        return explore_attention(QUERIES, KEYS, VALUES, SOURCE, alt="Sums.")
    if kind == "heads":
        return explore_heads(maps(), {"encoder": SOURCE, "decoder": ["<s>", "▁le", "▁manteau"]}, alt="Heads.")
    if kind == "steps":
        from utils.translator import load_translator

        return explore_steps(load_translator("phrasebook-en-de-gru"), "The old train was fast.", alt="Steps.")
    if kind == "gaps":
        return explore_gaps(Filler(), TEXT, alt="Gaps.")
    if kind == "next":
        return explore_next_word(Writer(), Writer(), "once upon", alt="Words.", branches=(2, 1))
    return explore_labels(LABELS, ["Fine.", "Dull.", "Good </script> 'fun'"], [1, 0, 1], alt="Labels.")


KINDS = ("alignment", "attention", "heads", "steps", "gaps", "next", "labels")
