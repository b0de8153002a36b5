"""What Transformers make of IMDb's reviews: SmolLM2 layer by layer and unit by unit, and MiniLM.

hello experiment imdb-layers | imdb-minilm | imdb-features: on an accelerator minutes, else a day. The runs
and the tested reviews are those of ``imdb_draws``, and what regularises the heads is chosen there, too.
"""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from scripts.bodies import TransformersBody, load_minilm
from scripts.corpora import load_imdb
from scripts.experiments import imdb_draws
from scripts.experiments.imdb_sweep import (
    DEVICE,
    RESULTS,
    SIZES,
    Recipe,
    described,
    fit,
    measure,
)
from scripts.tables import add_row, found, write_rows
from utils import features
from utils.models.language_models import RecurrentLanguageModel
from utils.pretrained import load_smollm2
from utils.texts import load_language_model
from utils.tokens import encode_texts, pad, sorted_batches
from utils.transfer import LanguageModelBody, TextClassifier, pool

LAYER = 22  # of SmolLM2: what notebook 03 uses
STRENGTHS = (1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)  # of scikit-learn's C


@dataclass(frozen=True)
class Settings:
    """What is measured."""

    sizes: tuple[int, ...] = SIZES
    tuned: tuple[int, ...] = (50, 100, 500, 2000)  # labels with which MiniLM learns as a whole
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    tested: int = 5000
    shipped: int = 5000  # reviews of each split whose features are shipped
    shipped_random: int = 300
    length: int = 512  # tokens that a Transformer reads
    recipes: tuple[Recipe, ...] = tuple(
        Recipe(10 * rate, steps=steps, pooling="mean", body=0.1)
        for rate in (1e-4, 2e-4, 4e-4)
        for steps in (120, 240)
    )


class Reviews:
    """IMDb as token ids, at most so many of each review, and labels, of the splits train and test."""

    def __init__(self, encode: Callable[[list[str]], list[list[int]]], length: int):
        imdb = load_imdb()
        self.ids, self.labels, self.names = {}, {}, {}
        for split in ("train", "test"):
            self.ids[split] = [row[:length] for row in encode(list(imdb[split]["text"]))]
            self.labels[split] = np.array(imdb[split]["label"])
            self.names[split] = imdb[split]["id"]


def smollm2(random: bool = False):
    """SmolLM2's stack, with its weights or with random ones, and what encodes texts for it."""
    model, tokenizer = load_smollm2()
    network = model.model
    if random:
        torch.manual_seed(0)
        network = type(network)(network.config)
    return network.eval().to(DEVICE), lambda texts: [
        tokenizer(text.replace("<br />", "\n")).input_ids for text in texts
    ]


def minilm():
    """MiniLM, and what encodes texts for it."""
    model, tokenizer = load_minilm()
    return model, lambda texts: encode_texts(tokenizer, [text.replace("<br />", " ") for text in texts])


@torch.no_grad()
def layer_features(network, ids: list[list[int]], pooling: str, batch_size: int = 16) -> np.ndarray:
    """The features of texts after each layer, the embedding first: [layers + 1, texts, width].

    The pooling is "mean", over the tokens, or "last", the state of the last one.
    """
    kept = None
    for chunk in sorted_batches([len(row) for row in ids], batch_size):
        tokens, lengths = pad([ids[i] for i in chunk]).to(DEVICE), [len(ids[i]) for i in chunk]
        mask = torch.arange(tokens.size(1)) < torch.tensor(lengths)[:, None]
        states = network(input_ids=tokens, output_hidden_states=True, use_cache=False).hidden_states
        for layer, state in enumerate(states):
            state = state.float().cpu()
            if kept is None:
                kept = np.empty((len(states), len(ids), state.size(-1)), dtype=np.float16)
            last = state[torch.arange(len(chunk)), torch.tensor(lengths) - 1]
            kept[layer, chunk] = pool(state, mask, "mean") if pooling == "mean" else last
    return kept


def head(vectors: np.ndarray, labels: np.ndarray, strength: float):
    """Logistic regression on standardised features."""
    return new_head(strength).fit(vectors.astype(np.float32), labels)


def new_head(strength: float):
    """A head that has learnt nothing yet."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))


def choose_strength(layers: np.ndarray, labels: np.ndarray) -> float:
    """The C with which heads on the layers are best on the development reviews, of 100 and 500 labels."""
    learn, look = imdb_draws.development(labels)

    def score(strength):
        pairs = itertools.product(layers, development_draws(learn))
        return np.mean([head(x[p], labels[p], strength).score(x[look], labels[look]) for x, p in pairs])

    return max(STRENGTHS, key=score)


def development_draws(learn: np.ndarray) -> list[np.ndarray]:
    """100 and 500 of the development reviews to learn from."""
    return [part for part in (learn[:100], learn[100:600]) if len(part)]


def best_unit(vectors: np.ndarray, labels: np.ndarray) -> tuple[int, float, int, float]:
    """The unit whose means for the two labels differ most, in its deviations, and what it tells apart.

    Gives the unit, the middle between its means, 1 if what is above it is positive, else -1, and the share
    of the labels that it gets right.
    """
    positive, negative = vectors[labels == 1].astype(float), vectors[labels == 0].astype(float)
    spread = np.sqrt((positive.var(axis=0, ddof=1) + negative.var(axis=0, ddof=1)) / 2) + 1e-12
    difference = (positive.mean(axis=0) - negative.mean(axis=0)) / spread
    unit = int(np.abs(difference).argmax())
    threshold = float((positive[:, unit].mean() + negative[:, unit].mean()) / 2)
    sign = 1 if difference[unit] > 0 else -1
    return unit, threshold, sign, unit_accuracy(vectors, labels, unit, threshold, sign)


def unit_accuracy(vectors, labels, unit: int, threshold: float, sign: int) -> float:
    """The share of the labels that one unit and its threshold get right."""
    return float(np.mean((sign * (vectors[:, unit] - threshold) > 0) == (labels == 1)))


def sweep_layers(settings: Settings = Settings()) -> None:
    """Heads and best units at each layer of SmolLM2, and of the same network with random weights.

    Writes ``smollm2-layers.csv``, ``imdb-units.csv``, and ``smollm2-layer-choice.csv``: layer and pooling as
    cross-validation on the counted labels chooses them, an arm of the sweep.
    """
    layer_rows, unit_rows, candidates = [], [], {}
    for name, pooling in itertools.product(("smollm2", "random"), ("mean", "last")):
        network, encode = smollm2(name == "random")
        reviews = Reviews(encode, settings.length)
        labels, tests = (
            reviews.labels["train"],
            imdb_draws.choose_tested(reviews.labels["test"], settings.tested),
        )
        truth = reviews.labels["test"][tests]
        train = layer_features(network, reviews.ids["train"], pooling)
        test = layer_features(network, [reviews.ids["test"][place] for place in tests], pooling)
        strength = choose_strength(train, labels)
        for size, layer in itertools.product(settings.sizes, range(len(train))):
            seeds = settings.seeds if size < len(labels) else settings.seeds[:1]
            accuracies = []
            for seed in seeds:
                places = imdb_draws.draw(labels, size, seed)
                vectors, mine = train[layer, places], labels[places]
                accuracies.append(head(vectors, mine, strength).score(test[layer], truth))
                if size < len(labels):
                    new, folds = new_head(strength), min(5, size // 2)
                    valid = cross_val_score(new, vectors.astype(np.float32), mine, cv=folds).mean()
                    found_here = (valid, layer, pooling, accuracies[-1])
                    candidates.setdefault((name, size, seed), []).append(found_here)
                if pooling == "mean" and size in (200, 500):
                    unit, threshold, sign, seen = best_unit(vectors, mine)
                    row = {"model": name, "rule": "means", "labels": size, "layer": layer, "seed": seed}
                    row |= {"unit": unit, "threshold": round(threshold, 5), "sign": sign}
                    accuracy = unit_accuracy(test[layer], truth, unit, threshold, sign)
                    unit_rows.append(row | {"train_accuracy": seen, "accuracy": round(accuracy, 4)})
            row = {"model": name, "layer": layer, "pooling": pooling, "labels": size, "seeds": len(seeds)}
            figures = {"accuracy": np.mean(accuracies), "low": min(accuracies), "high": max(accuracies)}
            layer_rows.append(row | {key: round(float(value), 4) for key, value in figures.items()})
            if layer == LAYER and pooling == "mean":
                arm = "smollm2 frozen" if name == "smollm2" else "smollm2 random frozen"
                add_frozen(arm, size, seeds, accuracies, settings)
    write_rows("smollm2-layers", layer_rows)
    write_rows("imdb-units", unit_rows)
    choices = []
    for (name, size, seed), found_there in candidates.items():
        valid, layer, pooling, accuracy = max(found_there)
        choices.append({"model": name, "labels": size, "seed": seed, "layer": layer, "pooling": pooling})
        choices[-1] |= {"cross_validated": round(float(valid), 4), "accuracy": round(accuracy, 4)}
        if name == "smollm2":
            add_frozen("smollm2 layer by labels", size, [seed], [accuracy], settings)
    write_rows("smollm2-layer-choice", choices)


def add_frozen(arm, size, seeds, accuracies, settings):
    """Rows of heads on a frozen body for the results of the sweep, where they are not there yet."""
    for seed, accuracy in zip(seeds, accuracies, strict=True):
        key = {"arm": arm, "off": "", "labels": size, "seed": seed, "recipe": ""}
        if not found(RESULTS, key):
            add_row(RESULTS, key | {"accuracy": round(accuracy, 4), "tested": settings.tested})


def sweep_minilm(settings: Settings = Settings()) -> None:
    """MiniLM frozen with a linear head, and fine-tuned; rows for ``data/results/imdb-sweep.csv``."""
    model, encode = minilm()
    reviews = Reviews(encode, settings.length)
    labels, tests = reviews.labels["train"], imdb_draws.choose_tested(reviews.labels["test"], settings.tested)
    frozen = {
        split: body_features(TransformersBody(model), reviews.ids[split]) for split in ("train", "test")
    }
    strength = choose_strength(frozen["train"][None], labels)
    for size in settings.sizes:
        seeds = settings.seeds if size < len(labels) else settings.seeds[:1]
        draws = [imdb_draws.draw(labels, size, seed) for seed in seeds]
        heads = [head(frozen["train"][places], labels[places], strength) for places in draws]
        accuracies = [h.score(frozen["test"][tests], reviews.labels["test"][tests]) for h in heads]
        add_frozen("minilm frozen", size, seeds, accuracies, settings)

    def learn(places, recipe, seed):
        torch.manual_seed(seed)
        classifier = TextClassifier(TransformersBody(load_minilm()[0]), 2, recipe.pooling, recipe.dropout)
        return fit(classifier, reviews, places, recipe, seed)

    sample, look = imdb_draws.development(labels)
    scores = {}
    for recipe in settings.recipes:
        pairs = [learn(part, recipe, 100)[0] for part in development_draws(sample)]
        scores[recipe] = np.mean([measure(each, reviews, "train", look)["accuracy"] for each in pairs])
    best = max(scores, key=scores.__getitem__)
    for size, seed in itertools.product(settings.tuned, settings.seeds):
        key = {"arm": "minilm", "off": "", "labels": size, "seed": seed, "recipe": ""}
        if not found(RESULTS, key):
            started = time.perf_counter()
            recipe = replace(best, steps=max(best.steps, 2 * size // best.batch))
            classifier, loss = learn(imdb_draws.draw(labels, size, seed), recipe, seed)
            row = key | measure(classifier, reviews, "test", tests)
            add_row(RESULTS, row | described(recipe, loss, started))


@torch.no_grad()
def body_features(body, ids: list[list[int]], batch_size: int = 64) -> np.ndarray:
    """The mean over the tokens of what a body gives, for each text: [texts, width]."""
    body.to(DEVICE).eval()
    kept = None
    for chunk in sorted_batches([len(row) for row in ids], batch_size):
        tokens = pad([ids[i] for i in chunk]).to(DEVICE)
        mask = torch.arange(tokens.size(1)) < torch.tensor([len(ids[i]) for i in chunk])[:, None]
        states = body(tokens, mask.to(DEVICE)).float().cpu()
        kept = np.empty((len(ids), states.size(-1)), dtype=np.float32) if kept is None else kept
        kept[chunk] = pool(states, mask, "mean")
    return kept


class FirstLayers(torch.nn.Module):
    """The states after so many layers of SmolLM2's stack, as a body."""

    def __init__(self, network, layers: int = LAYER):
        super().__init__()
        network.layers, network.norm = network.layers[:layers], torch.nn.Identity()
        self.network = network

    def forward(self, tokens, mask):
        """The states [batch, time, width]; padding comes last, so a causal mask hides it."""
        return self.network(input_ids=tokens, use_cache=False).last_hidden_state


def write_features(settings: Settings = Settings()) -> None:
    """Write ``data/features``: the vectors of five bodies, a byte a number."""
    language_model = load_language_model("language-model-imdb")
    torch.manual_seed(1000)
    untrained = RecurrentLanguageModel(**language_model.model.config)
    (network, encode), (random, _), (encoder, encode_minilm) = smollm2(), smollm2(True), minilm()

    def pieces(texts):
        rows = language_model.encode([text.replace("<br />", " ") for text in texts])
        return [row if len(row) <= 384 else row[:128] + row[-256:] for row in rows]

    lstm = "mean over the tokens of the upper of 2 layers"
    stack = f"mean over the tokens after {LAYER} of {len(network.layers)} layers"
    bodies = {
        "smollm2": (FirstLayers(network), encode, f"SmolLM2-135M, {stack}"),
        "smollm2-random": (
            FirstLayers(random),
            encode,
            f"SmolLM2-135M with random weights (seed 0), {stack}",
        ),
        "minilm": (
            TransformersBody(encoder),
            encode_minilm,
            "MiniLM, mean over the tokens of the last layer",
        ),
        "lstm": (LanguageModelBody(language_model.model), pieces, f"language-model-imdb, {lstm}"),
        "lstm-untrained": (LanguageModelBody(untrained), pieces, f"with random weights (seed 1000), {lstm}"),
    }
    for name, (body, encode_texts_, about) in bodies.items():
        reviews = Reviews(encode_texts_, settings.length)
        count = settings.shipped_random if name == "smollm2-random" else settings.shipped
        places = {
            "train": shipped_places(reviews.labels["train"], settings)[:count],
            "test": imdb_draws.choose_tested(reviews.labels["test"], count),
        }
        vectors = {s: body_features(body, [reviews.ids[s][i] for i in rows]) for s, rows in places.items()}
        tensors, names = as_bytes(vectors), {}
        for split, rows in places.items():
            tensors[f"{split}_labels"] = reviews.labels[split][rows].astype(np.uint8)
            names[f"{split}_ids"] = "\n".join(reviews.names[split][i] for i in rows)
        features.FOLDER.mkdir(parents=True, exist_ok=True)
        save_file(tensors, features.FOLDER / f"{name}.safetensors", {"name": name, "body": about} | names)


def shipped_places(labels: np.ndarray, settings: Settings) -> np.ndarray:
    """Training reviews whose features are shipped: all draws of up to 500, then of up to 2,000."""
    sizes = [size for size in (500, 2000) if size <= len(labels) // 4]
    drawn = [imdb_draws.draw(labels, size, seed) for size in sizes for seed in settings.seeds]
    return pd.unique(np.concatenate(drawn))


def as_bytes(vectors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """One byte a number; times ``scale``, plus ``minimum``, of its column it is about what it was."""
    both = np.concatenate(list(vectors.values()))
    minimum, scale = both.min(axis=0), np.maximum(np.ptp(both, axis=0) / 255, 1e-12).astype(np.float32)
    codes = {split: np.round((x - minimum) / scale).clip(0, 255) for split, x in vectors.items()}
    return {split: code.astype(np.uint8) for split, code in codes.items()} | {
        "minimum": minimum,
        "scale": scale,
    }
