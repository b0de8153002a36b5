"""What is too long for a notebook: computed here, kept in ``data/results``, drawn in the notebooks.

python -m utils.experiments multi30k-en-fr
"""

import argparse
import csv
import itertools
import json
import statistics
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData

from utils.data.corpora import load_multi30k
from utils.data.phrasebook import HELD_OUT, write_mixture
from utils.data.tokenization import LANGUAGE_NAMES
from utils.digits import ARMS, LABEL_COUNTS, digit_accuracy, pretrain_digit_body
from utils.evaluate import (
    bleu_by_length,
    bleu_difference,
    exact_by_length,
    translation_scores,
    word_bleu,
)
from utils.pretrained import CHECKPOINTS
from utils.train import fit_translator, new_translator, phrasebook_tokenizers
from utils.translator import Translator, load_translator

RESULTS = Path(__file__).parents[1] / "data" / "results"
CARDS = RESULTS.parent
DESCRIPTIONS = {
    "without attention": "no attention: the decoder reads the encoder's last hidden state at every step",
    "with attention": "Bahdanau's additive attention over all encoder states",
}
LENGTH_EDGES = [1, 9, 12, 15, 20, 100]  # English words, as separated by spaces

LENGTH_RANGES = ((2, 8), (9, 12), (13, 16), (17, 20), (21, 24))  # English words
SEEDS = range(5)

# Trainings short enough to be watched, less than 40 s on two cores. What the race compares differs in
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


def sweep(name, arms):
    """Repeat live trainings over ``SEEDS``; writes three files named after ``name`` into ``RESULTS``.

    The CSV has a row for each arm, seed and range of lengths; ``NAME-history.csv`` one for each arm,
    seed and part of the training; the JSON says what was run.

    Args:
        name: of the results.
        arms: a dictionary from the name of an arm to the live training and its ``prepare``.
    """
    rows, histories, translations, seconds, parameters = [], [], {}, {}, {}
    # Seed by seed, so that a machine that gets slower or faster does so for all arms.
    for seed, (arm, (training, prepare)) in itertools.product(SEEDS, arms.items()):
        chosen = LIVE_TRAININGS[training]
        run = train_live(training, seed, prepare)
        key = {"arm": arm, "seed": seed}
        theme = chosen["theme"]
        by_length = exact_by_length(
            run.translator, LENGTH_RANGES, theme=theme, seen=run.seen, prepare=prepare
        )
        rows += [key | row | {"bleu": round(row["bleu"], 2)} for row in by_length]
        elapsed = list(itertools.accumulate(record["seconds"] for record in run.history))
        histories += [
            key
            | {
                "step": round(chosen["steps"] * record["epoch"] / len(run.history)),
                "seconds": round(passed, 2),
                "loss": round(record["loss"], 4),
                "exact": record["validation_exact"],
            }
            for record, passed in zip(run.history, elapsed, strict=True)
        ]
        examples = run.translator.translate([prepare(row["en"]) for row in HELD_OUT])
        translations.setdefault(arm, []).append([translation.text for translation in examples])
        seconds.setdefault(arm, []).append(round(elapsed[-1], 1))
        parameters[arm] = sum(parameter.numel() for parameter in run.translator.model.parameters())
        print(key, [row["exact"] for row in by_length], f"{elapsed[-1]:.0f} s", flush=True)
    _write_rows(name, rows)
    _write_rows(f"{name}-history", histories)
    configuration = {
        "command": f"python -m utils.experiments {name}",
        "trainings": {arm: LIVE_TRAININGS[training] for arm, (training, _) in arms.items()},
        "parameters": parameters,
        "seeds": list(SEEDS),
        "seconds": seconds,
        "held_out": [row["en"] for row in HELD_OUT],
        "translations": translations,
    }
    _write_configuration(name, configuration)


def load_results(name):
    """The rows of ``data/results/NAME.csv``, numbers as numbers.

    Raises:
        FileNotFoundError: there are no such results; the message says what computes them.
    """
    path = RESULTS / f"{name}.csv"
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing; restore it with `git checkout {path.name}`, or compute it anew with "
            f"`python -m utils.experiments {name.removesuffix('-history')}`"
        )
    with open(path, encoding="utf-8", newline="") as file:
        return [{k: _number(v) for k, v in row.items()} for row in csv.DictReader(file)]


def _number(text):
    try:
        return float(text) if "." in text or "e" in text else int(text)
    except ValueError:
        return text


def _write_configuration(name, configuration):
    text = json.dumps(configuration, indent=1, ensure_ascii=False)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def _write_rows(name, rows):
    RESULTS.mkdir(parents=True, exist_ok=True)
    with open(RESULTS / f"{name}.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def compare_attention(source, target, beam_size=5):
    """Score the recurrent translators with and without attention on the test captions.

    Writes ``data/results/multi30k-SOURCE-TARGET.csv`` (a row for each system and range of lengths),
    the configuration and the bootstrap of the difference beside it as JSON, and both model cards.

    Args:
        source, target: codes of the languages.
        beam_size: candidates kept at each step.
    """
    name = f"multi30k-{source}-{target}"
    systems = {"without attention": f"{name}-gru", "with attention": f"{name}-gru-attention"}
    test = load_multi30k(source, target)["test"]
    sources, references = list(test[source]), list(test[target])
    lengths = [len(sentence.split()) for sentence in sources]
    rows, hypotheses, scores = [], {}, {}
    for system, checkpoint in systems.items():
        translator = load_translator(checkpoint)
        greedy = translation_scores([t.text for t in translator.translate(sources)], references)
        started = time.perf_counter()
        hypotheses[system] = [t.text for t in translator.translate(sources, beam_size)]
        seconds = time.perf_counter() - started
        scores[system] = translation_scores(hypotheses[system], references) | {
            "bleu_greedy": greedy["bleu"],
            "validation_bleu": _training_report(checkpoint)["validation_bleu"],
            "seconds": seconds,
        }
        everything = {"low": 1, "high": 100, "sentences": len(sources), "bleu": scores[system]["bleu"]}
        by_length = bleu_by_length(hypotheses[system], references, lengths, LENGTH_EDGES)
        rows += [
            {"system": system} | row | {"bleu": round(row["bleu"], 2)} for row in [everything, *by_length]
        ]
    difference = bleu_difference(hypotheses["with attention"], hypotheses["without attention"], references)
    configuration = {
        "command": f"python -m utils.experiments {name}",
        "split": "test_2016_flickr",
        "beam_size": beam_size,
        "bootstrap_samples": 1000,
        "scores": _rounded(scores),
        "difference": _rounded(difference),
    }
    _write_rows(name, rows)
    _write_configuration(name, configuration)
    for system, checkpoint in systems.items():
        write_card(checkpoint, system, configuration, rows)
    print(json.dumps(configuration["scores"] | {"difference": configuration["difference"]}))


def _rounded(figures):
    return json.loads(json.dumps(figures), parse_float=lambda number: round(float(number), 2))


def write_card(checkpoint, system, configuration, rows):
    """Write the model card of one of the recurrent translators that are compared."""
    report = _training_report(checkpoint)
    _write_card(
        checkpoint,
        report,
        CARDS / "model_card_recurrent.md",
        attention=DESCRIPTIONS[system],
        speeds=sorted(record["tokens_per_second"] for record in report["history"]),
        configuration=configuration,
        difference=configuration["difference"],
        rows=[row for row in rows if row["system"] == system and row["sentences"] < 1000],
    )


def _training_report(checkpoint):
    report = json.loads((CHECKPOINTS / checkpoint / "training.json").read_text())
    seconds = statistics.median(epoch["seconds"] for epoch in report["history"])
    # An epoch during which the training was paused must not count for more than the others.
    report["training_seconds"] = round(seconds * len(report["history"]))
    return report


def _write_card(checkpoint, report, template, license_id=None, **fields):
    settings = report["settings"]
    flags = {f"--{k.replace('_', '-')}": v for k, v in settings.items()}
    options = [k if v is True else f"{k} {v}" for k, v in flags.items() if v is not None and v is not False]
    languages = [settings["source"], settings["target"]]
    card = ModelCard.from_template(
        ModelCardData(language=languages, license=license_id, library_name="pytorch", tags=["translation"]),
        template_path=str(template),
        name=checkpoint,
        report=report,
        settings=settings,
        options=" ".join(options),
        **fields,
    )
    card.save(CHECKPOINTS / checkpoint / "README.md")


def _architecture(settings):
    if settings["model"] == "transformer":
        return (
            f"Transformer, {settings['layers']} layers on either side, {settings['width']} wide, "
            f"{settings['heads']} heads, feed-forward {settings['feed_forward_size']}, norm first, "
            "sinusoidal positions; output weights shared with the embedding"
        )
    direction = "one direction" if settings["one_way"] else "two directions"
    attention = (
        "additive attention over all encoder states"
        if settings["model"] == "gru-attention"
        else "no attention: the decoder reads the encoder's last hidden state at every step"
    )
    return (
        f"a pair of GRU layers of {settings['hidden_size']} units, the encoder in {direction}; {attention}; "
        f"embeddings {settings['embedding_size']} wide, shared with the output weights"
    )


def describe_phrasebook(checkpoint, notebook):
    """Measure a phrasebook translator on new sentences of each length, and write its card.

    Args:
        checkpoint: its name in ``data/checkpoints``.
        notebook: the notebook that it serves.
    """
    translator = load_translator(checkpoint)
    report = _training_report(checkpoint)
    settings = report["settings"]
    longest = settings["max_words"]
    seen = {row["en"] for row in write_mixture(settings["count"], settings["seed"] + 1, longest)}
    rows = exact_by_length(translator, LENGTH_RANGES, sentences=500, seen=seen)
    rows += exact_by_length(translator, [(longest + 1, longest + 6)], sentences=500)
    drawn = [row["en"] for row in write_mixture(4000, 77, 8)]
    met = sum(sentence in seen for sentence in drawn) / len(drawn)
    table = "\n".join(
        f"| {row['low']} to {row['high']}{' (longer than in training)' if row['low'] > longest else ''} | "
        f"{row['exact']:.0%} | {row['bleu']:.1f} |"
        for row in rows
    )
    target = settings["target"]
    held_out = "\n".join(
        f"- {'right' if t.text == row[target] else 'wrong'}: *{row['en']}* → *{t.text}*"
        for row, t in zip(HELD_OUT, translator.translate([row["en"] for row in HELD_OUT]), strict=True)
    )
    _write_card(
        checkpoint,
        report,
        CARDS / "model_card_translator.md",
        "mit",
        summary=f"A translator of the sentences of the [phrasebook](../../phrasebook/README.md), English to "
        f"{LANGUAGE_NAMES[target]}, for teaching. It belongs to the notebook `{notebook}`.",
        architecture=_architecture(settings),
        tokens="whole words",
        data=f"{settings['count']:,} generated sentences: half of 2 to 8 words, half of 2 to {longest}; "
        "nothing was collected, and the chapter's example sentences are held out",
        scores="Share of sentences translated exactly right, and BLEU (13a, lower-cased), greedy, on 500 "
        f"newly generated sentences a row that are not in the training set (which holds {met:.0%} of the "
        "sentences of up to 8 words, as the grammar draws them):\n\n| English words | exactly right | BLEU |"
        f"\n|---|---|---|\n{table}\n\nThe held-out sentences of the chapter:\n\n{held_out}",
        limits="It knows the phrasebook's words and refuses others; it knows its grammar and nothing else.",
        licence="MIT, like the repository.",
    )
    print(checkpoint, [round(row["exact"], 3) for row in rows], held_out)


def describe_captions(checkpoint, techniques=""):
    """Score a translator of captions on the test set, and write its card and its results.

    Args:
        checkpoint: its name in ``data/checkpoints``.
        techniques: lines of the card on what was tried and what it gave.
    """
    translator = load_translator(checkpoint)
    source, target = translator.languages
    report = _training_report(checkpoint)
    test = load_multi30k(source, target)["test"]
    sources, references = list(test[source]), list(test[target])
    started = time.perf_counter()
    greedy = [t.text for t in translator.translate(sources)]
    seconds = time.perf_counter() - started
    texts = [t.text for t in translator.translate(sources, 5)]
    scores = _rounded(
        translation_scores(texts, references)
        | {
            "bleu_greedy": translation_scores(greedy, references)["bleu"],
            "bleu_words": word_bleu(texts, references, target),
            "validation_bleu": report["validation_bleu"],
            "greedy_seconds": seconds,
            "parameters": report["parameters"],
        }
    )
    _write_configuration(checkpoint, {"beam_size": 5, "split": "test_2016_flickr", "scores": scores})
    _write_card(
        checkpoint,
        report,
        CARDS / "model_card_translator.md",
        summary=f"A small translator of image captions, English to {LANGUAGE_NAMES[target]}, for teaching. "
        "It belongs to the notebook `02_attention`.",
        architecture=_architecture(report["settings"]),
        tokens=f"BPE with {report['settings']['vocabulary_size']} pieces a language",
        data="Multi30k, task 1: 29,000 caption pairs (Elliott et al. 2016), not part of this repository",
        scores="The test set (test_2016_flickr, 1,000 captions) selected nothing; the epoch was chosen on "
        "validation, where greedy decoding scores "
        f"{scores['validation_bleu']:.1f} BLEU.\n\n| measure on the test set | score |\n|---|---|\n"
        f"| BLEU, sacrebleu 13a, lower-cased, beam 5 | {scores['bleu']:.1f} |\n"
        f"| the same, greedy | {scores['bleu_greedy']:.1f} |\n"
        "| BLEU on tokens, lower-cased, beam 5 (both sides cut into words and punctuation by this project's "
        f"tokeniser) | {scores['bleu_words']:.1f} |\n| chrF, beam 5 | {scores['chrf']:.1f} |\n\n"
        f"Greedy decoding of the 1,000 captions takes {seconds:.1f} s.\n{techniques}",
        limits="It knows short descriptions of photographs and nothing else: other kinds of text come out as "
        "captions. Rare words are spelled from pieces and often wrong. Captions carry the assumptions of "
        "those who wrote them about people in pictures. Use it to learn, not to translate.",
        licence="The weights were trained on Multi30k, whose English captions come from Flickr30k and are "
        "meant for non-commercial research and education; use the weights likewise.",
    )
    print(checkpoint, scores)


PHRASEBOOK_TRANSLATORS = {
    "phrasebook-en-de-gru": "01_encoder_decoder",
    "phrasebook-en-de-gru-attention": "02_attention",
    "phrasebook-en-fr-gru-attention": "02_attention",
}
CAPTION_TRANSLATORS = {  # and what was tried with each
    "multi30k-en-de-gru-attention": "",
    "multi30k-en-de-transformer": "",
    "multi30k-en-fr-transformer": "\nTechniques: label smoothing, dropout and a learning rate that falls "
    "along a cosine were used and not varied. The running average of the weights gave 0.06 BLEU on "
    "validation (56.68; 56.62 without it), since the falling rate does the same work.\n",
}


def transfer_digits(name="transfer-digits"):
    """Accuracy against the number of labels, from 0–4 to 5–9; writes rows and configuration into RESULTS."""
    rows = []
    for seed in SEEDS:
        body = pretrain_digit_body(seed)
        rows += [
            {"arm": arm, "seed": seed, "labels": count, "accuracy": digit_accuracy(arm, body, seed, count)}
            for count, arm in itertools.product(LABEL_COUNTS, ARMS)
        ]
    _write_rows(name, [row | {"accuracy": round(row["accuracy"], 4)} for row in rows])
    _write_configuration(name, {"command": f"python -m utils.experiments {name}", "seeds": list(SEEDS)})


EXPERIMENTS = {
    "transfer-digits": transfer_digits,
    "multi30k-en-fr": lambda: compare_attention("en", "fr"),
    **{
        name: partial(describe_phrasebook, name, notebook)
        for name, notebook in PHRASEBOOK_TRANSLATORS.items()
    },
    **{name: partial(describe_captions, name, tried) for name, tried in CAPTION_TRANSLATORS.items()},
    "phrasebook-pair": lambda: sweep(
        "phrasebook-pair",
        {"as written": ("pair", str), "source reversed": ("pair", reversed_words)},
    ),
    "phrasebook-race": lambda: sweep(
        "phrasebook-race",
        {
            "with attention": ("race-gru-attention", str),
            "without attention": ("race-gru", str),
            "Transformer": ("race-transformer", str),
        },
    ),
}


def main(arguments=None):
    """The command line of ``python -m utils.experiments``."""
    parser = argparse.ArgumentParser(
        prog="python -m utils.experiments", description="Compute shipped results."
    )
    parser.add_argument("name", choices=sorted(EXPERIMENTS), help="which results")
    EXPERIMENTS[parser.parse_args(arguments).name]()


if __name__ == "__main__":
    main()
