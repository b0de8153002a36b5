"""Comparisons of translators, all else equal: notebook 02's attention, and its race.

hello experiment attention-comparison | race-short | race-long | race-captions: it goes on where it was
stopped. For each arm the recipe is chosen on validation sentences with a seed of its own; the test sentences
are looked at once, at the end of each of five runs.
"""

import itertools
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pandas as pd
import torch

from phrasebook import write_phrases
from scripts.corpora import load_multi30k
from scripts.evaluate import bleu_by_length
from scripts.lengths import LENGTH_RANGES, SEEDS, exact_by_length
from scripts.tables import add_row, found, machine, write_settings
from utils import loaders
from utils.scores import translation_scores
from utils.tokens import pad, sorted_batches, train_tokenizer, translation_batches
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
    pieces: int = 0  # captions: sub-word pieces of each language
    label_smoothing: float = 0.0

    @property
    def quality(self) -> str:
        """What is the better the larger it is, of the validation sentences."""
        return "bleu" if self.pieces else "exact"


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
CAPTIONS = {  # other shapes, with as many parameters where there are 3,000 pieces
    "GRU with attention": WIDER | {"hidden_size": 290},
    "Transformer": DEEPER | {"feed_forward_size": 224},
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
    # whole training ends lower. So the trainings of the grid are whole.
    "race-long": Comparison(
        {label: replace(arm, rates=arm.rates[:4]) for label, arm in RACE.items()},
        16,
        40,
        ((16, 24), (25, 32), (33, 40)),
        steps=1200,
        part=100,
        patience=6,
        tuned=1200,
        **GRID,
        averaging=0.99,
    ),
    "race-captions": Comparison(  # three passes over the captions, and the trainings of the grid are whole
        {
            label: replace(
                arm,
                sizes=arm.sizes | {"dropout": 0.1},
                rates=arm.rates[:4],
                others=(CAPTIONS[label] | {"dropout": 0.1},),
            )
            for label, arm in RACE.items()
        },
        low=1,
        high=50,
        ranges=((1, 9), (10, 14), (15, 50)),
        steps=1500,
        part=150,
        patience=15,
        tuned=1500,
        warm_ups=(400, 100),
        batches=(64, 32),
        sentences=29_000,
        validated=300,
        averaging=0.99,
        pieces=3000,
        label_smoothing=0.1,
    ),
}


def compare(name: str, seeds=SEEDS, keep: Path | None = None) -> None:
    """Choose each arm's recipe, then train it with every seed; writes three tables and the settings.

    Args:
        name: one of ``COMPARISONS``.
        keep: a folder for the trained translators, ``ARM-SEED``; None keeps none.
    """
    comparison = COMPARISONS[name]
    corpus = Captions(comparison) if comparison.pieces else Corpus(comparison)
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
        for row in corpus.test(translator).round({"bleu": 2}).to_dict("records"):
            add_row(name, {"arm": label, "seed": seed} | row)
    write_settings(
        name,
        {
            "command": f"hello experiment {name}",
            "comparison": asdict(comparison),
            "chosen": chosen,
            "parameters": parameters,
            "machine": machine(),
            "ends": f"when {comparison.patience} parts of {comparison.part} steps brought no better "
            f"'{comparison.quality}' of validation sentences, or after {comparison.steps} steps; the best "
            "weights stay",
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
    """What a training of the grid gets on the validation sentences, (quality, minus loss)."""
    quality = corpus.comparison.quality
    key = {"arm": label} | recipe | {"sizes": str(recipe["sizes"])}
    row = found(f"{name}-tuning", key)
    if row is None:
        steps = corpus.steps(corpus.comparison.tuned, recipe)
        translator = corpus.translator(recipe, TUNING_SEED)
        history = corpus.fit(translator, recipe, TUNING_SEED, steps)
        best = history.sort_values([quality, "loss"], ascending=[False, True]).iloc[0]
        row = key | {quality: best[quality], "loss": best["loss"], "seconds": history["seconds"].max()}
        add_row(f"{name}-tuning", row)
    return float(row[quality]), -float(row["loss"])


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
        """Train until validation stops improving, or for so many steps: step, seconds, loss, quality."""
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
            lambda model, pair: translation_loss(model, pair, self.comparison.label_smoothing),
            lambda _: self.validate(translator),
            monitor=self.comparison.quality,
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
        return table[["step", "seconds", "loss", self.comparison.quality]]

    def validate(self, translator) -> dict[str, float]:
        """Quality and loss on the validation sentences."""
        return validate(translator.model, *self.validation)

    def test(self, translator) -> pd.DataFrame:
        """Quality on test sentences, a row for each range of lengths."""
        comparison = self.comparison
        seen = self.seen if comparison.ranges[-1][1] <= 24 else ()
        return exact_by_length(translator, comparison.ranges, 200, theme=comparison.theme, seen=seen)


class Captions(Corpus):
    """The captions of Multi30k, as sub-word pieces; quality is BLEU, everything is translated greedily."""

    def __init__(self, comparison):
        self.comparison = comparison
        corpus = load_multi30k(*comparison.languages)
        rows = corpus["train"].select(range(min(comparison.sentences, len(corpus["train"]))))
        self.tokenizers = {
            language: train_tokenizer(list(rows[language]), language, comparison.pieces)
            for language in comparison.languages
        }
        validated = corpus["validation"].select(range(comparison.validated))
        self.tested, self.validated = corpus["test"], validated
        self.training, self.validation = self._encode(rows), self._encode(validated)

    def validate(self, translator) -> dict[str, float]:
        """Quality and loss on the validation captions."""
        texts, references = self._translate(translator, self.validated)
        found = validate(translator.model, *self.validation)
        return found | {"bleu": round(translation_scores(texts, references)["bleu"], 2)}

    def test(self, translator) -> pd.DataFrame:
        """BLEU of the test captions, of all and of each range of lengths."""
        texts, references = self._translate(translator, self.tested)
        lengths = [len(text.split()) for text in self.tested[self.comparison.languages[0]]]
        low, high = self.comparison.low, self.comparison.high
        everything = {"low": low, "high": high, "sentences": len(texts)}
        everything["bleu"] = translation_scores(texts, references)["bleu"]
        edges = [low for low, _ in self.comparison.ranges] + [high + 1]
        parts = bleu_by_length(texts, references, lengths, edges)
        return pd.concat([pd.DataFrame([everything]), parts.assign(high=parts["high"] - 1)])

    def _translate(self, translator, rows):
        source, target = self.comparison.languages
        texts = [translation.text for translation in translator.translate(list(rows[source]))]
        return texts, list(rows[target])


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
