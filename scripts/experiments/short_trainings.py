"""Trainings short enough to be watched, half a minute each, which the sweeps repeat with several seeds."""

from dataclasses import dataclass
from typing import Any

from phrasebook import write_mixture
from utils.training import History, fit_translator, new_translator, phrasebook_tokenizers
from utils.translator import Translator

SHORT_TRAININGS: dict[str, dict[str, Any]] = {
    "pair": {"model": "gru", "target": "de", "theme": None, "short_share": 0.95, "steps": 1400}
    | {"batch_size": 48, "learning_rate": 6e-3}
    | {"sizes": {"embedding_size": 192, "hidden_size": 208, "bidirectional": False, "dropout": 0.0}},
}


@dataclass
class ShortTraining:
    """A translator, its history (one dictionary for each part), and the English sentences it has seen."""

    translator: Translator
    history: History
    seen: set[str]


def reversed_words(sentence: str) -> str:
    """The words from last to first, as Sutskever et al. (2014) fed them to the encoder."""
    return " ".join(reversed(sentence.split()))


def train_short(
    name: str, seed: int = 0, prepare: Any = str, max_words: int = 24, parts: int = 8
) -> ShortTraining:
    """Train one of ``SHORT_TRAININGS`` on phrasebook sentences, all different, each seen once.

    Used in notebook 01, *Watch it learn*.

    Args:
        seed: of the sentences and of the random weights.
        prepare: what is done to an English sentence before it is read.
        max_words: length of the longest sentences.
        parts: how often the training pauses to be measured on 200 sentences that it has not seen.
    """
    if name not in SHORT_TRAININGS:
        raise KeyError(f"there is no short training {name!r}; there are {', '.join(SHORT_TRAININGS)}")
    chosen = SHORT_TRAININGS[name]
    target, theme, share = chosen["target"], chosen["theme"], chosen["short_share"]
    count = chosen["steps"] * chosen["batch_size"]
    rows = write_mixture(count, seed + 1, max_words, share, theme, distinct=True)
    seen = {row["en"] for row in rows}
    others = [row for row in write_mixture(800, 10**6, max_words, share, theme) if row["en"] not in seen]
    tokenizers = phrasebook_tokenizers("en", target)
    translator = new_translator(chosen["model"], tokenizers, seed, 2 * max_words, **chosen["sizes"])
    pairs, validation = (
        ([prepare(row["en"]) for row in part], [row[target] for row in part]) for part in (rows, others[:200])
    )
    options = {"epochs": parts, "each_once": True, "label_smoothing": 0.0, "monitor": "validation_exact"}
    options |= {key: chosen[key] for key in ("batch_size", "learning_rate")} | {"seed": seed}
    return ShortTraining(translator, fit_translator(translator, pairs, validation, **options), seen)
