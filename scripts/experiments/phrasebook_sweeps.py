"""Repeats short trainings on the phrasebook over several seeds: the sweep of notebook 01.

hello experiment phrasebook-pair
"""

import itertools

import pandas as pd

from phrasebook import HELD_OUT
from scripts.experiments.short_trainings import SHORT_TRAININGS, reversed_words, train_short
from scripts.lengths import LENGTH_RANGES, SEEDS, exact_by_length
from scripts.tables import write_rows, write_settings

# The arms of each sweep: its short training, and what is done to an English sentence before it is read.
SWEEPS = {
    "phrasebook-pair": {"as written": ("pair", str), "source reversed": ("pair", reversed_words)},
}


def sweep(name, arms=None, seeds=SEEDS, ranges=LENGTH_RANGES, sentences=200):
    """Repeat short trainings; writes three files.

    ``NAME.csv`` has a row for each arm, seed and range of lengths; ``NAME-history.csv`` one for each arm,
    seed and part of the training; ``NAME.json`` says what was run.

    Args:
        name: of the results.
        arms: see ``SWEEPS``; None takes those of ``name``.
        seeds: of the trainings.
        ranges, sentences: see ``exact_by_length``.
    """
    arms = arms or SWEEPS[name]
    tables, histories, translations, seconds, parameters = [], [], {}, {}, {}
    # Seed by seed, so that a machine that gets slower or faster does so for all arms.
    for seed, (arm, (training, prepare)) in itertools.product(seeds, arms.items()):
        settings = SHORT_TRAININGS[training]
        run = train_short(training, seed, prepare)
        table = exact_by_length(
            run.translator, ranges, sentences, theme=settings["theme"], seen=run.seen, prepare=prepare
        )
        tables.append(table.assign(arm=arm, seed=seed))
        history = pd.DataFrame(run.history)
        histories.append(
            pd.DataFrame(
                {
                    "arm": arm,
                    "seed": seed,
                    "step": (settings["steps"] * history["epoch"] / len(history)).round().astype(int),
                    "seconds": history["seconds"].cumsum().round(2),
                    "loss": history["loss"].round(4),
                    "exact": history["validation_exact"],
                }
            )
        )
        examples = run.translator.translate([prepare(row["en"]) for row in HELD_OUT])
        translations.setdefault(arm, []).append([translation.text for translation in examples])
        seconds.setdefault(arm, []).append(round(history["seconds"].sum().item(), 1))
        parameters[arm] = sum(parameter.numel() for parameter in run.translator.model.parameters())
        print(arm, seed, table["exact"].tolist(), f"{seconds[arm][-1]:.0f} s", flush=True)
    columns = ["arm", "seed", "low", "high", "sentences", "exact", "bleu"]
    write_rows(name, pd.concat(tables)[columns].round({"bleu": 2}))
    write_rows(f"{name}-history", pd.concat(histories))
    configuration = {
        "command": f"hello experiment {name}",
        "trainings": {arm: SHORT_TRAININGS[training] for arm, (training, _) in arms.items()},
        "parameters": parameters,
        "seeds": list(seeds),
        "seconds": seconds,
        "held_out": [row["en"] for row in HELD_OUT],
        "translations": translations,
    }
    write_settings(name, configuration)
