"""hello experiment NAME: computes results that are shipped, and writes them into data/results."""

import argparse
import sys
from functools import partial

from scripts.experiments.architectures import sweep_architectures
from scripts.experiments.attention_scores import compare_scores
from scripts.experiments.bottleneck import PAIRS, measure_bottleneck
from scripts.experiments.cards import MEASUREMENTS
from scripts.experiments.comparisons import COMPARISONS, compare
from scripts.experiments.imdb_sweep import sweep as sweep_imdb
from scripts.experiments.imdb_transformers import sweep_layers, sweep_minilm, write_features
from scripts.experiments.long_race import NAME as LONG_RACE
from scripts.experiments.long_race import compare_long
from scripts.experiments.objectives import compare_objectives
from scripts.experiments.phrasebook_sweeps import SWEEPS, sweep
from scripts.experiments.reviews_elsewhere import compare_elsewhere
from scripts.experiments.sequence_speed import measure_speed

EXPERIMENTS = {
    "architectures": sweep_architectures,
    "attention-scores": compare_scores,
    **{name: partial(compare, name) for name in COMPARISONS},
    "attention-comparison": partial(compare, "attention-comparison", keep=PAIRS),
    "bottleneck": measure_bottleneck,
    "imdb": sweep_imdb,
    "imdb-features": write_features,
    "imdb-layers": sweep_layers,
    "imdb-minilm": sweep_minilm,
    "objectives": compare_objectives,
    LONG_RACE: compare_long,
    "reviews-elsewhere": compare_elsewhere,
    "sequence-speed": measure_speed,
    **{name: partial(sweep, name) for name in SWEEPS},
    **MEASUREMENTS,
}


def main(arguments=None):
    """The command ``hello experiment``."""
    parser = argparse.ArgumentParser(
        prog="hello experiment",
        description="Compute results that are shipped in data/results, or a model's card, anew. It takes "
        "from a minute to hours; the notebook that shows the results says what was measured.",
    )
    parser.add_argument(
        "name", choices=sorted(EXPERIMENTS), metavar="NAME", help=", ".join(sorted(EXPERIMENTS))
    )
    EXPERIMENTS[parser.parse_args(arguments).name]()


if __name__ == "__main__":
    from scripts.command import main as hello

    hello(["experiment", *sys.argv[1:]])
