"""Trainings short enough to be watched."""

from dataclasses import dataclass
from functools import lru_cache

import torch

from phrasebook import write_mixture
from utils.models.language_models import TransformerLanguageModel
from utils.texts import LanguageModel, MaskedLanguageModel
from utils.tokens import train_tokenizer
from utils.training import (
    fit_language_model,
    fit_masked_language_model,
    fit_translator,
    new_translator,
    phrasebook_tokenizers,
)
from utils.translator import Translator

# Each takes 30 to 45 s on two cores. What the race compares differs in
# the model alone: the same sentences in the same order, and as many parameters, to 2 %.
_RACE = {"target": "fr", "theme": "agreements", "short_share": 0.2, "steps": 1200, "batch_size": 32}


LIVE_TRAININGS = {
    "pair": {
        "model": "gru",
        "target": "de",
        "theme": None,
        "short_share": 0.95,
        "steps": 1400,
        "batch_size": 48,
        "learning_rate": 6e-3,
        "sizes": {"embedding_size": 192, "hidden_size": 208, "bidirectional": False, "dropout": 0.0},
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


# The two objectives of pretraining, about 25 s together: the same text, the same layers. The masked
# model is asked about 15 % of the tokens instead of all, so it reads the text more often.
OBJECTIVES = {
    "causal": {"epochs": 3, "wrapper": LanguageModel, "fit": fit_language_model},
    "masked": {"epochs": 7, "wrapper": MaskedLanguageModel, "fit": fit_masked_language_model},
}


OBJECTIVE_SENTENCES = 10_000


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
    """Train one of ``LIVE_TRAININGS`` on phrasebook sentences, all of them different, each seen once.

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
    count = chosen["steps"] * chosen["batch_size"]
    rows = write_mixture(count, seed + 1, max_words, share, theme, distinct=True)
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


@dataclass
class LiveObjective:
    """What ``train_objective`` returns.

    Attributes:
        model: a ``LanguageModel`` or a ``MaskedLanguageModel``.
        history: what ``fit_language_model`` or ``fit_masked_language_model`` returned.
    """

    model: LanguageModel | MaskedLanguageModel
    history: list[dict]


@lru_cache(maxsize=2)  # writing them takes seconds
def objective_texts(seed=0, count=OBJECTIVE_SENTENCES):
    """Sentences of the phrasebook: ``count`` to learn from, and 400 new ones, two lists."""
    texts = [row["en"] for row in write_mixture(count, seed + 1)]
    seen, others = set(texts), [row["en"] for row in write_mixture(800, 10**6)]
    return texts, [text for text in others if text not in seen][:400]


def train_objective(name, seed=0, count=OBJECTIVE_SENTENCES, width=96):
    """Train a stack of Transformer layers to predict the next token, or hidden ones.

    Args:
        name: "causal" (GPT) or "masked" (BERT).
        seed: of the sentences, of the random weights, and of what is hidden.
        count: sentences to learn from.
        width: of the vectors.

    Returns:
        A ``LiveObjective``; both kinds use the same tokeniser.

    Raises:
        KeyError: an unknown name.
    """
    texts, new = objective_texts(seed, count)
    return fit_objective(name, texts, new[:100], seed, width)


def fit_objective(name, texts, validation, seed=0, width=96, epochs=None):
    """Train a stack of Transformer layers as ``train_objective`` does, on other texts.

    Args:
        name: "causal" (GPT) or "masked" (BERT).
        texts: what to learn from, a list of strings.
        validation: other texts, which choose the best epoch.
        seed: of the random weights, and of what is hidden.
        width: of the vectors.
        epochs: passes over the texts; None: as many as ``train_objective`` makes.

    Returns:
        A ``LiveObjective``.

    Raises:
        KeyError: an unknown name.
    """
    if name not in OBJECTIVES:
        raise KeyError(f"there is no objective {name!r}; there are {', '.join(OBJECTIVES)}")
    chosen = OBJECTIVES[name]
    tokenizer = train_tokenizer(texts, "en", 1000, lowercase=True, mask=True)
    torch.manual_seed(seed)
    sizes = {"width": width, "feed_forward_size": 4 * width, "dropout": 0.0}
    network = TransformerLanguageModel(tokenizer.get_vocab_size(), name == "causal", **sizes)
    model = chosen["wrapper"](network, tokenizer)
    options = {"epochs": epochs or chosen["epochs"], "window": 32, "learning_rate": 3e-3, "seed": seed}
    return LiveObjective(model, chosen["fit"](model, texts, validation, **options))
