"""Repeats live trainings on the phrasebook over several seeds."""

import itertools

from phrasebook import HELD_OUT
from scripts.tables import write_configuration, write_rows
from utils.loaders import LENGTH_RANGES, SEEDS
from utils.scores import exact_by_length
from utils.short_trainings import LIVE_TRAININGS, train_live


def sweep(name, arms):
    """Repeat live trainings over ``SEEDS``; writes three files named after ``name``.

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
    write_rows(name, rows)
    write_rows(f"{name}-history", histories)
    configuration = {
        "command": f"python -m utils.experiments {name}",
        "trainings": {arm: LIVE_TRAININGS[training] for arm, (training, _) in arms.items()},
        "parameters": parameters,
        "seeds": list(SEEDS),
        "seconds": seconds,
        "held_out": [row["en"] for row in HELD_OUT],
        "translations": translations,
    }
    write_configuration(name, configuration)
