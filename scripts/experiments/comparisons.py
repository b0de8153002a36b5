"""Comparisons of translators on phrasebook sentences, all else equal: notebook 02's attention and race.

hello experiment attention-comparison | race-short | race-long: it goes on where it was stopped. For each arm
the recipe is chosen on validation sentences with a seed of its own; the test sentences are looked at once, at
the end of each of five runs.
"""

import itertools
import math
import platform
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd
import torch

from phrasebook import write_phrases
from scripts.lengths import LENGTH_RANGES, SEEDS, exact_by_length
from scripts.tables import add_row, found, write_settings
from utils import loaders
from utils.tokens import pad, sorted_batches, translation_batches
from utils.training import new_translator, phrasebook_tokenizers, train, translation_loss
from utils.vocabulary import PADDING_ID, START_ID, UNKNOWN_ID

TUNING_SEED = 100


@dataclass(frozen=True)
class Arm:
    """A model, and the rates and sizes from which one of each is chosen."""

    model: str
    sizes: dict
    rates: tuple[float, ...]
    others: tuple[dict, ...] = ()  # other sizes with as many parameters


@dataclass(frozen=True)
class Comparison:
    """What the arms have in common: sentences, batches, when a training ends."""

    arms: dict[str, Arm]
    low: int
    high: int
    ranges: tuple[tuple[int, int], ...]
    steps: int  # at most
    part: int  # steps between two looks at the validation sentences
    patience: int  # parts without improvement after which a training ends
    tuned: int  # steps of each training in the grid, in batches of the first size
    warm_ups: tuple[int, ...] = (400,)
    batches: tuple[int, ...] = (32,)
    theme: str = "agreements"
    languages: tuple[str, str] = ("en", "fr")
    sentences: int = 48_000
    validated: int = 500
    averaging: float = 0.998


RECURRENT = {"embedding_size": 128, "dropout": 0.0}
TRANSFORMER = {"width": 128, "heads": 4, "layers": 2, "feed_forward_size": 256, "dropout": 0.0}
DEEPER = {"width": 112, "heads": 4, "layers": 3, "feed_forward_size": 176, "dropout": 0.0}
WIDER = {"embedding_size": 64, "dropout": 0.0, "hidden_size": 250, "bidirectional": True}
RACE = {
    "GRU with attention": Arm(
        "gru-attention",
        RECURRENT | {"hidden_size": 204, "bidirectional": True},
        (0.002, 0.004, 0.008, 0.016, 0.032),
        (WIDER,),
    ),
    "Transformer": Arm("transformer", TRANSFORMER, (0.001, 0.002, 0.004, 0.008, 0.016), (DEEPER,)),
}
GRID = {"warm_ups": (400, 100), "batches": (32, 64)}
PLAIN = RECURRENT | {"bidirectional": False}
COMPARISONS = {
    "attention-comparison": Comparison(
        {
            "without attention": Arm("gru", PLAIN | {"hidden_size": 208}, (0.002, 0.004, 0.008, 0.016)),
            "with attention": Arm(
                "gru-attention", PLAIN | {"hidden_size": 192}, (0.002, 0.004, 0.008, 0.016)
            ),
        },
        2,
        24,
        LENGTH_RANGES,
        steps=20_000,
        part=250,
        patience=6,
        tuned=1500,
    ),
    "race-short": Comparison(RACE, 2, 12, ((2, 6), (7, 12)), 2000, 100, 6, 500, **GRID, averaging=0.99),
    # Short trainings do not tell here which rate is best in the end: they favour larger ones, with which the
    # whole training ends lower (race-long-larger-rates.csv). So it has rates alone, and no larger ones.
    "race-long": Comparison(
        {label: replace(arm, rates=arm.rates[:3], others=()) for label, arm in RACE.items()},
        16,
        40,
        ((16, 24), (25, 32), (33, 40)),
        steps=1200,
        part=100,
        patience=6,
        tuned=400,
        averaging=0.99,
    ),
}


def compare(name: str, seeds=SEEDS, keep: Path | None = None) -> None:
    """Choose each arm's recipe, then train it with every seed; writes three tables and the settings.

    Args:
        name: one of ``COMPARISONS``.
        keep: a folder for the trained translators, ``ARM-SEED``; None keeps none.
    """
    comparison, corpus = COMPARISONS[name], Corpus(COMPARISONS[name])
    chosen = {label: choose(name, label, corpus) for label in comparison.arms}
    parameters = {}
    for seed, (label, recipe) in itertools.product(seeds, chosen.items()):
        translator = corpus.translator(recipe, seed)
        parameters[label] = sum(weight.numel() for weight in translator.model.parameters())
        last = comparison.ranges[-1]
        if found(name, {"arm": label, "seed": seed, "low": last[0]}):
            continue
        history = corpus.fit(translator, recipe, seed, corpus.steps(comparison.steps, recipe))
        if keep:
            translator.save_pretrained(keep / f"{label.replace(' ', '-')}-{seed}")
        path = loaders.RESULTS / f"{name}-history.csv"
        past = pd.read_csv(path) if path.exists() else pd.DataFrame()
        past = pd.concat([past, history.assign(arm=label, seed=seed)])
        past.to_csv(path, index=False, lineterminator="\n")
        seen = corpus.seen if last[1] <= 24 else ()
        table = exact_by_length(translator, comparison.ranges, 200, theme=comparison.theme, seen=seen)
        for row in table.round({"bleu": 2}).to_dict("records"):
            add_row(name, {"arm": label, "seed": seed} | row)
    write_settings(
        name,
        {
            "command": f"hello experiment {name}",
            "comparison": asdict(comparison),
            "chosen": chosen,
            "parameters": parameters,
            "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
            "ends": f"when {comparison.patience} parts of {comparison.part} steps brought no better share of "
            f"validation sentences exactly right, or after {comparison.steps} steps; the best weights stay",
        },
    )


def choose(name, label, corpus):
    """The recipe that is best on validation sentences after short trainings that read equally many.

    One thing after another is chosen, and the best so far is kept of the others: the rate, the warm-up, the
    number of sentences in a batch, and the sizes.
    """
    comparison, arm = corpus.comparison, corpus.comparison.arms[label]
    tried = {}
    best = {"rate": arm.rates[0], "warm_up": comparison.warm_ups[0], "batch": comparison.batches[0]}
    best |= {"model": arm.model, "sizes": arm.sizes}
    for what, values in (
        ("rate", arm.rates),
        ("warm_up", comparison.warm_ups),
        ("batch", comparison.batches),
        ("sizes", (arm.sizes, *arm.others)),
    ):
        for recipe in (best | {what: value} for value in values):
            tried[str(recipe)] = try_briefly(name, label, recipe, corpus), recipe
        best = max(tried.values(), key=lambda entry: entry[0])[1]
    return best


def try_briefly(name, label, recipe, corpus):
    """What a short training gets on the validation sentences, (share exactly right, minus loss)."""
    key = {"arm": label} | recipe | {"sizes": str(recipe["sizes"])}
    row = found(f"{name}-tuning", key)
    if row is None:
        steps = corpus.steps(corpus.comparison.tuned, recipe)
        translator = corpus.translator(recipe, TUNING_SEED)
        history = corpus.fit(translator, recipe, TUNING_SEED, steps)
        best = history.sort_values(["exact", "loss"], ascending=[False, True]).iloc[0]
        row = key | {"exact": best["exact"], "loss": best["loss"], "seconds": history["seconds"].max()}
        add_row(f"{name}-tuning", row)
    return float(row["exact"]), -float(row["loss"])


class Corpus:
    """The sentences of a comparison, as words and as ids; the same for all arms and seeds."""

    def __init__(self, comparison):
        self.comparison = comparison
        self.tokenizers = phrasebook_tokenizers(*comparison.languages)
        bounds = comparison.theme, comparison.low, comparison.high
        rows = list(write_phrases(comparison.sentences, 1, *bounds))
        self.seen = {row["en"] for row in rows}
        written = write_phrases(8 * comparison.validated, 10**6, *bounds)
        others = {row["en"]: row for row in written if row["en"] not in self.seen}
        validated = list(others.values())[: comparison.validated]
        self.training, self.validation = self._encode(rows), self._encode(validated)

    def _encode(self, rows):
        source, target = (
            [one.ids for one in tokenizer.encode_batch([row[language] for row in rows])]
            for language, tokenizer in self.tokenizers.items()
        )
        return [ids[1:] for ids in source], target

    def translator(self, recipe, seed):
        """An untrained translator."""
        longest = 2 * self.comparison.high
        return new_translator(recipe["model"], self.tokenizers, seed, longest, **recipe["sizes"])

    def steps(self, steps, recipe):
        """In how many steps a recipe reads as many sentences as so many batches of the first size have."""
        return steps * self.comparison.batches[0] // recipe["batch"]

    def fit(self, translator, recipe, seed, steps) -> pd.DataFrame:
        """Train until validation stops improving, or for so many steps; gives step, seconds, loss, exact."""
        part, batch = self.steps(self.comparison.part, recipe), recipe["batch"]
        sources, targets = self.training
        size = part * batch

        def batches(epoch):
            begin = epoch * size % (len(sources) - size + 1)
            chosen = slice(begin, begin + size)
            return translation_batches(sources[chosen], targets[chosen], batch, [seed, epoch])

        def schedule(step, _, peak):
            return peak * min((step + 1) / recipe["warm_up"], math.sqrt(recipe["warm_up"] / (step + 1)))

        history = train(
            translator.model,
            batches,
            lambda model, pair: translation_loss(model, pair, 0.0),
            lambda model: validate(model, *self.validation),
            monitor="exact",
            epochs=steps // part,
            learning_rate=recipe["rate"],
            seed=seed,
            patience=self.comparison.patience,
            schedule=schedule,
            averaging=self.comparison.averaging,
        )
        table = pd.DataFrame(history)
        table["step"], table["seconds"] = table["epoch"] * part, table["seconds"].cumsum().round(2)
        table["loss"] = table["validation_loss"].round(5)
        return table[["step", "seconds", "loss", "exact"]]


@torch.no_grad()
def validate(model, sources, targets) -> dict[str, float]:
    """The share of sentences exactly right, and the loss in nats a token.

    A sentence comes out exactly right in greedy decoding if, and only if, each next token is the likeliest
    one given the true tokens before it, so nothing needs to be decoded.
    """
    right, nats, tokens = 0, 0.0, 0
    for chunk in sorted_batches([len(target) for target in targets], 128):
        source, target = (pad([side[place] for place in chunk]) for side in (sources, targets))
        logits, expected = model(source, target[:, :-1]), target[:, 1:]  # [batch, target, vocabulary]
        counted = expected != PADDING_ID
        chosen = logits.log_softmax(dim=-1).gather(2, expected.unsqueeze(2)).squeeze(2)
        nats, tokens = nats - float((chosen * counted).sum()), tokens + int(counted.sum())
        logits[..., [PADDING_ID, UNKNOWN_ID, START_ID]] = -torch.inf  # never written
        right += int(((logits.argmax(dim=-1) == expected) | ~counted).all(dim=1).sum())
    return {"exact": right / len(sources), "validation_loss": nats / tokens}
