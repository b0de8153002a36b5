"""Trainings short enough to be watched."""

from dataclasses import dataclass

from utils.data.phrasebook import write_mixture
from utils.train import fit_translator, new_translator, phrasebook_tokenizers
from utils.translator import Translator

# Each takes about 40 s on two cores. What the race compares differs in
# the model alone: the same sentences in the same order, and as many parameters, to 2 %.
_RACE = {"target": "fr", "theme": "agreements", "short_share": 0.2, "steps": 1500, "batch_size": 32}
LIVE_TRAININGS = {
    "pair": {
        "model": "gru",
        "target": "de",
        "theme": None,
        "short_share": 0.95,
        "steps": 1100,
        "batch_size": 64,
        "learning_rate": 6e-3,
        "sizes": {"embedding_size": 128, "hidden_size": 256, "bidirectional": False, "dropout": 0.0},
    },
    "race-gru": _RACE
    | {
        "model": "gru",
        "learning_rate": 6e-3,
        "sizes": {"embedding_size": 128, "hidden_size": 208, "dropout": 0.0},
    },
    "race-gru-attention": _RACE
    | {
        "model": "gru-attention",
        "learning_rate": 6e-3,
        "sizes": {"embedding_size": 128, "hidden_size": 192, "dropout": 0.0},
    },
    "race-transformer": _RACE
    | {
        "model": "transformer",
        "learning_rate": 2.5e-3,
        "sizes": {"width": 128, "heads": 4, "layers": 2, "feed_forward_size": 196, "dropout": 0.0},
    },
}


@dataclass
class LiveTraining:
    """What ``train_live`` returns.

    Attributes:
        translator: the trained translator.
        history: for each of the eight parts of the training a dictionary: loss, seconds, and the
            share of new sentences of the same kind that come out exactly right.
        seen: the English sentences of the training.
    """

    translator: Translator
    history: list[dict]
    seen: set[str]


def reversed_words(sentence):
    """The words from last to first, as Sutskever et al. (2014) fed them to the encoder."""
    return " ".join(reversed(sentence.split()))


def train_live(name, seed=0, prepare=str, max_words=24, parts=8):
    """Train one of ``LIVE_TRAININGS`` on phrasebook sentences, each of which is seen once.

    Args:
        name: which of them.
        seed: of the sentences and of the random weights.
        prepare: what is done to an English sentence before it is read.
        max_words: length of the longest sentences.
        parts: how often the training pauses to be measured.

    Returns:
        A ``LiveTraining``.

    Raises:
        KeyError: an unknown name.
    """
    if name not in LIVE_TRAININGS:
        raise KeyError(f"there is no live training {name!r}; there are {', '.join(LIVE_TRAININGS)}")
    chosen = LIVE_TRAININGS[name]
    target, theme, share = chosen["target"], chosen["theme"], chosen["short_share"]
    rows = write_mixture(chosen["steps"] * chosen["batch_size"], seed + 1, max_words, share, theme)
    seen = {row["en"] for row in rows}
    others = [row for row in write_mixture(800, 10**6, max_words, share, theme) if row["en"] not in seen]
    translator = new_translator(
        chosen["model"], phrasebook_tokenizers("en", target), seed, 2 * max_words, **chosen["sizes"]
    )
    history = fit_translator(
        translator,
        ([prepare(row["en"]) for row in rows], [row[target] for row in rows]),
        ([prepare(row["en"]) for row in others[:200]], [row[target] for row in others[:200]]),
        epochs=parts,
        each_once=True,
        batch_size=chosen["batch_size"],
        learning_rate=chosen["learning_rate"],
        label_smoothing=0.0,
        monitor="validation_exact",
        seed=seed,
    )
    return LiveTraining(translator, history, seen)
