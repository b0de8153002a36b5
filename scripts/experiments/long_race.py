"""The race on captions in long trainings: a GRU with attention and a Transformer, each at its best.

Both have the same pieces, one embedding for both languages, equally many parameters, and the same dropout,
label smoothing and running average of the weights. The Transformer's sizes and dropout are published ones for
this corpus (Wu et al. 2021), and its rate was the best of four in the race. For the GRU two shapes were tried
for six passes (vectors of 192 and 256), three rates (0.0015, 0.003 and 0.006), and then whole trainings at
the two that were best, of which validation chooses here. Its forty passes take less time than the sixty.
"""

from pathlib import Path
from typing import Any

from scripts.corpora import load_multi30k
from scripts.evaluate import word_bleu
from scripts.experiments.bootstrap import bleu_difference
from scripts.tables import rounded, write_settings
from scripts.train import best_of, report_in, training_seconds
from utils.pretrained import CheckpointError
from utils.scores import CORPUS_BLEU, translation_scores
from utils.translator import load_translator

NAME = "race-captions-long"
SHARED = (
    "--dropout 0.3 --averaging 0.999 --patience 20 --corpus multi30k --source en --target fr "
    "--vocabulary-size 5000 --shared-vocabulary"
)
GRU = f"--model gru-attention {SHARED} --embedding-size 256 --hidden-size 164"
TRANSFORMER = f"--model transformer {SHARED} --width 128 --heads 4 --layers 4 --feed-forward-size 256"
RUNNERS = {  # candidates of each: folders in runs/, which are not shipped, and what trains them
    "GRU with attention": {
        "multi30k-en-fr-gru-attention-0.003": f"{GRU} --epochs 40 --learning-rate 0.003",
        "multi30k-en-fr-gru-attention-0.006": f"{GRU} --epochs 40 --learning-rate 0.006",
    },
    "Transformer": {"multi30k-en-fr-published": f"{TRANSFORMER} --epochs 60 --learning-rate 0.004"},
}


def compare_long(runs: Path = Path("runs"), beam_size: int = 5) -> None:
    """Score the best candidate of each on the test captions, with the bootstrap of the difference.

    Raises:
        CheckpointError: one of them has not been trained here; the message has the command.
    """
    for candidates in RUNNERS.values():
        for folder, options in candidates.items():
            if not (runs / folder).is_dir():
                command = f"hello train translator {options} --output {runs / folder}"
                raise CheckpointError(f"{runs / folder} is missing; train it with `{command}`")
    test = load_multi30k("en", "fr")["test"]
    sources, references = list(test["en"]), list(test["fr"])
    written, scores = {}, {}
    for name, candidates in RUNNERS.items():
        reports = {folder: report_in(runs / folder) for folder in candidates}
        found = {folder: report["validation_bleu"] for folder, report in reports.items()}
        chosen = max(found, key=found.__getitem__)
        translator = load_translator(runs / chosen)
        written[name] = [one.text for one in translator.translate(sources, beam_size)]
        scores[name] = _row(reports[chosen]) | {
            "validation_bleu": found,
            "bleu": translation_scores(written[name], references)["bleu"],
            "bleu_words": word_bleu(written[name], references, "fr"),
        }
    difference = bleu_difference(written["Transformer"], written["GRU with attention"], references)
    settings = {"command": f"hello experiment {NAME}", "split": "test_2016_flickr", "beam_size": beam_size}
    settings |= {"signature": str(CORPUS_BLEU.get_signature()), "bootstrap_samples": 1000}
    settings |= rounded({"scores": scores, "difference": difference})
    write_settings(NAME, settings)
    print(settings["scores"], settings["difference"])


def _row(report: dict[str, Any]) -> dict[str, Any]:
    history = report["history"]
    return {
        "training": report["command"],
        "parameters": report["model"]["parameters"],
        "passes": len(history),
        "best_pass": best_of(history, "validation_bleu")["epoch"],
        "seconds": training_seconds(history),
        "machine": report["machine"],
    }
