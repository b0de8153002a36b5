"""How many labelled reviews a language model saves, on IMDb: the recurrent networks, and counting words.

hello experiment imdb: it goes on where it was stopped, and writes a row as soon as a run has ended. On two
cores a run with 500 labels takes five minutes. The recipes are chosen on the development sample of
``imdb_draws``; after that no label beyond the stated number chooses anything.
"""

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F

from scripts import tables
from scripts.corpora import load_imdb, plain
from scripts.experiments import imdb_draws
from scripts.tables import add_row, found, write_settings
from utils.models.language_models import RecurrentLanguageModel
from utils.texts import load_language_model
from utils.tokens import bucketed_batches, pad, sorted_batches
from utils.transfer import LanguageModelBody, TextClassifier

RESULTS = "imdb-sweep"
SIZES = (20, 50, 100, 200, 500, 2000, 25_000)  # labels from which heads and counted words learn
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
BODIES = {  # the checkpoint that each arm begins with; its classifier learns all layers
    "wikipedia+imdb": "language-model-imdb",
    "scratch": None,
    "wikipedia": "language-model-wikipedia",
    "imdb": Path("runs/language-model-imdb-only"),
}


@dataclass(frozen=True)
class Recipe:
    """How a classifier learns; decay, schedule, waiting and pooling are ULMFiT's techniques."""

    rate: float = 2e-3  # the head's, at its peak
    dropout: float = 0.1
    steps: int = 500
    batch: int = 16
    decay: float = 1.0  # each group of layers learns at the rate of the group above it, divided by this
    schedule: str = "slanted"  # or "constant"
    waiting: float = 0.0  # share of the steps after which one more group of layers joins in, from above
    pooling: str = "concat"  # or "mean"
    body: float = 1.0  # the body learns at this share of the head's rate
    word_dropout: float = 0.02
    smoothing: float = 0.0


@dataclass(frozen=True)
class Settings:
    """What the sweep covers, in order of importance."""

    # Candidates; for random weights the best of an earlier grid of twelve recipes on the development sample,
    # on an accelerator (rates 1e-3 to 8e-3, dropout 0.1 and 0.5, 600 and 1,800 steps).
    pretrained: tuple[Recipe, ...] = (
        Recipe(2e-3),
        Recipe(2e-3, 0.2, 600, word_dropout=0.1),
        Recipe(3e-3, 0.2, 600, decay=1.3, word_dropout=0.1),
        Recipe(2e-3, 0.2, waiting=0.08, smoothing=0.1),
    )
    scratch: tuple[Recipe, ...] = (Recipe(1e-3, steps=600),)
    plan: tuple[tuple[int, tuple[str, ...], bool], ...] = (  # labels, arms, each technique off in turn
        (500, ("wikipedia+imdb", "scratch"), False),
        (2000, ("wikipedia+imdb", "scratch"), False),
        (100, ("wikipedia+imdb", "scratch"), False),
        (500, ("wikipedia", "imdb"), False),
        (25_000, ("wikipedia+imdb", "scratch"), False),
        (100, tuple(BODIES), False),
        (50, ("wikipedia+imdb", "scratch"), False),
        (500, ("wikipedia+imdb",), True),
    )
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    seeds_with_all: tuple[int, ...] = (0,)
    first: int = 128  # of a longer review, so many pieces from its beginning and from its end are read
    last: int = 256
    tested: int = 5000
    looked_at: int = 1500  # of the development sample, to choose a recipe
    threads: int = 1


OFF = {  # what takes the place of a technique
    "discriminative": {"decay": 1.0},
    "slanted": {"schedule": "constant"},
    "gradual": {"waiting": 0.0},
    "concat": {"pooling": "mean"},
}
ULMFIT = {"decay": 1.3, "schedule": "slanted", "waiting": 0.04, "pooling": "concat"}


def sweep(settings: Settings = Settings(), bodies: dict = BODIES, name: str = RESULTS) -> None:
    """Choose the recipes, then do every run of the plan that ``data/results/NAME.csv`` does not have."""
    torch.set_num_threads(settings.threads)
    imdb = load_imdb()
    count_words(imdb, settings, name)
    reviews = Reviews(imdb, settings)
    chosen = {
        part: choose_recipe(part, reviews, settings, bodies, name) for part in ("pretrained", "scratch")
    }
    write_settings(
        f"{name}-recipes", {part: recipe.__dict__ for part, recipe in chosen.items()} | {"off": OFF}
    )
    for arm, off, labels, seed, recipe in runs(settings, bodies, chosen):
        key = {"arm": arm, "off": off, "labels": labels, "seed": seed, "recipe": "plain"}
        if found(name, key) or not available(bodies[arm]):
            continue
        started = time.perf_counter()
        places = imdb_draws.draw(reviews.labels["train"], labels, seed)
        classifier, loss = fit(start(bodies[arm], recipe, seed), reviews, places, recipe, seed)
        tested = np.arange(len(reviews.labels["test"]))
        if labels < len(reviews.labels["train"]):
            tested = imdb_draws.choose_tested(reviews.labels["test"], settings.tested)
        add_row(name, key | measure(classifier, reviews, "test", tested) | described(recipe, loss, started))


class Reviews:
    """IMDb as ids of the pieces that are read, and labels, of the splits train and test."""

    def __init__(self, imdb, settings):
        language_model = load_language_model("language-model-imdb")
        self.ids, self.labels = {}, {}
        for split in ("train", "test"):
            texts = [plain(text) for text in imdb[split]["text"]]
            parts = [texts[start : start + 1000] for start in range(0, len(texts), 1000)]
            encoded = (row for part in parts for row in language_model.encode(part))
            self.ids[split] = [shorten(row, settings.first, settings.last) for row in encoded]
            self.labels[split] = np.array(imdb[split]["label"])


def shorten(ids: list[int], first: int, last: int) -> list[int]:
    """The first and the last ids of a longer text."""
    return ids if len(ids) <= first + last else ids[:first] + ids[-last:]


def runs(settings: Settings, bodies: dict, chosen: dict) -> Iterator[tuple[str, str, int, int, Recipe]]:
    """The runs of a plan, one seed after the other: arm, technique that is off, labels, seed, recipe."""
    for labels, arms, ablation in settings.plan:
        seeds = settings.seeds if labels < 25_000 else settings.seeds_with_all
        for seed, arm in itertools.product(seeds, [arm for arm in arms if arm in bodies]):
            recipe = chosen["pretrained" if bodies[arm] else "scratch"]
            recipe = replace(recipe, steps=max(recipe.steps, 2 * labels // recipe.batch))  # two passes
            for off in OFF if ablation else [""]:
                changed = replace(recipe, **(ULMFIT | OFF[off] if off else {}))
                yield arm, off, labels, seed, changed
            if ablation:
                yield arm, "none", labels, seed, replace(recipe, **ULMFIT)


def choose_recipe(part: str, reviews: Reviews, settings: Settings, bodies: dict, name: str) -> Recipe:
    """The recipe that is best on two draws of 500 of the development reviews; a single one is not tried."""
    if len(getattr(settings, part)) == 1:
        return getattr(settings, part)[0]
    learn, look = imdb_draws.development(reviews.labels["train"])
    body, accuracies = bodies["wikipedia+imdb"] if part == "pretrained" else None, {}
    for recipe, draw in itertools.product(getattr(settings, part), range(2)):
        key = {"part": part, "draw": draw} | recipe.__dict__
        row = found(f"{name}-development", key)
        if row is None:
            started, seed = time.perf_counter(), 100 + draw
            places = np.array_split(learn[:1000], 2)[draw]
            classifier, loss = fit(start(body, recipe, seed), reviews, places, recipe, seed)
            row = key | measure(classifier, reviews, "train", look[: settings.looked_at])
            row |= {"train_loss": round(loss, 4), "seconds": round(time.perf_counter() - started)}
            add_row(f"{name}-development", row)
        accuracies[recipe] = accuracies.get(recipe, 0) + float(row["accuracy"])
    return max(accuracies, key=accuracies.__getitem__)


def start(body, recipe: Recipe, seed: int) -> TextClassifier:
    """A new head on the layers of a checkpoint, or on random ones for None."""
    torch.manual_seed(seed)
    model = load_language_model(body or "language-model-imdb", dropout=recipe.dropout).model
    if body is None:
        model = RecurrentLanguageModel(**model.config)
        model.dropout = recipe.dropout
    model.word_dropout = recipe.word_dropout
    return TextClassifier(LanguageModelBody(model), 2, recipe.pooling, recipe.dropout)


def fit(
    classifier: TextClassifier, reviews: Reviews, places: np.ndarray, recipe: Recipe, seed: int
) -> tuple[TextClassifier, float]:
    """Let a classifier learn from the training reviews at these places; gives its loss at the end, too."""
    classifier.to(DEVICE).train()
    groups = [list(classifier.head.parameters()), *classifier.body.layers()[::-1]]
    optimizer = torch.optim.AdamW([{"params": group} for group in groups], weight_decay=0.01)
    ids, labels = reviews.ids["train"], torch.from_numpy(reviews.labels["train"])
    lengths, losses = [len(ids[place]) for place in places], []
    batches = itertools.chain.from_iterable(
        bucketed_batches(lengths, recipe.batch, [seed, epoch]) for epoch in itertools.count()
    )
    for step, rows in zip(range(recipe.steps), batches, strict=False):
        for depth, group in enumerate(optimizer.param_groups):
            waits = step < depth * recipe.waiting * recipe.steps
            group["lr"] = 0.0 if waits else rate(recipe, step) / recipe.decay**depth
            group["lr"] *= recipe.body if depth else 1.0
        chosen = places[rows]
        scores = classifier(pad([ids[place] for place in chosen]).to(DEVICE))
        expected = labels[chosen].to(DEVICE)
        loss = F.cross_entropy(scores, expected, label_smoothing=recipe.smoothing)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(classifier.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return classifier.eval(), float(np.mean(losses[-len(losses) // 10 :]))


def rate(recipe: Recipe, step: int) -> float:
    """The head's rate: a rise in a tenth of the steps and a long fall, or always the same."""
    if recipe.schedule == "constant":
        return recipe.rate
    done = (step + 1) / recipe.steps
    return recipe.rate * max(min(done / 0.1, (1 - done) / 0.9), 1 / 32)


@torch.no_grad()
def measure(classifier: TextClassifier, reviews: Reviews, split: str, places: np.ndarray) -> dict:
    """The share of right labels of the reviews at these places, and how many these are."""
    ids, right = reviews.ids[split], 0
    for chunk in sorted_batches([len(ids[place]) for place in places], 64):
        predicted = classifier(pad([ids[place] for place in places[chunk]]).to(DEVICE)).argmax(dim=-1)
        right += int((predicted.cpu().numpy() == reviews.labels[split][places[chunk]]).sum())
    return {"accuracy": round(right / len(places), 4), "tested": len(places)}


def described(recipe: Recipe, loss: float, started: float) -> dict:
    """The columns that say how a run was done."""
    row = recipe.__dict__ | {"train_loss": round(loss, 4), "seconds": round(time.perf_counter() - started)}
    return row | {"machine": machine()}


def machine() -> str:
    """What computes."""
    if DEVICE.type == "cuda":
        return torch.cuda.get_device_name()
    return tables.machine()


def count_words(imdb, settings: Settings, name: str, strengths=(1, 10, 100, 1000), sizes=SIZES) -> None:
    """TF-IDF of words and pairs with logistic regression; words and weights come from the labelled alone."""
    wanted = [
        {"arm": "tf-idf", "off": "", "labels": size, "seed": seed, "recipe": ""}
        for size in sizes
        for seed in (settings.seeds if size < len(imdb["train"]) else settings.seeds_with_all)
    ]
    if all(found(name, key) for key in wanted):
        return
    labels = {split: np.array(imdb[split]["label"]) for split in ("train", "test")}
    vectorizer = CountVectorizer(ngram_range=(1, 2), dtype=np.float32)
    counts = vectorizer.fit_transform([plain(text) for text in imdb["train"]["text"]])
    tested = imdb_draws.choose_tested(labels["test"], settings.tested)
    test_counts = vectorizer.transform([plain(imdb["test"][int(place)]["text"]) for place in tested])
    learn, look = imdb_draws.development(labels["train"])
    parts = [part for part in (learn[:500], learn[500:1000], learn[1000:1100], learn[1100:1200]) if len(part)]

    def score(strength):
        heads = [_counted(counts, labels["train"], part, strength) for part in parts]
        return np.mean([head(counts[look]) == labels["train"][look] for head in heads])

    strength = max(strengths, key=score)
    for key in wanted:
        if not found(name, key):
            places = imdb_draws.draw(labels["train"], key["labels"], key["seed"])
            predicted = _counted(counts, labels["train"], places, strength)(test_counts)
            accuracy = round(float(np.mean(predicted == labels["test"][tested])), 4)
            add_row(name, key | {"accuracy": accuracy, "tested": len(tested)})


def _counted(counts, labels, places, strength):
    """A function from counts to predicted labels, learnt from the reviews at these places."""
    mine = counts[places]
    known = np.flatnonzero(np.asarray((mine > 0).sum(axis=0)).ravel() >= (2 if len(places) > 5000 else 1))
    weights = TfidfTransformer(sublinear_tf=True)
    head = LogisticRegression(C=strength, max_iter=1000).fit(
        weights.fit_transform(mine[:, known]), labels[places]
    )
    return lambda rows: head.predict(weights.transform(rows[:, known]))


def available(body) -> bool:
    """Whether a checkpoint that is not shipped was trained; None stands for random weights."""
    if isinstance(body, Path) and not body.exists():
        print(f"left out: {body} is missing; hello train language-model --corpus imdb --output {body}")
        return False
    return True
