"""What is too long for a notebook: computed here, kept in ``data/results``, drawn in the notebooks.

python -m utils.experiments multi30k-en-fr
"""

import argparse
import csv
import json
import time
from pathlib import Path

from huggingface_hub import ModelCard, ModelCardData

from utils.data.corpora import load_multi30k
from utils.evaluate import bleu_by_length, bleu_difference, translation_scores
from utils.pretrained import CHECKPOINTS
from utils.translator import load_translator

RESULTS = Path(__file__).parents[1] / "data" / "results"
CARD_TEMPLATE = RESULTS.parent / "model_card_recurrent.md"
DESCRIPTIONS = {
    "without attention": "no attention: the decoder reads the encoder's last hidden state at every step",
    "with attention": "Bahdanau's additive attention over all encoder states",
}
LENGTH_EDGES = [1, 9, 12, 15, 20, 100]  # English words, as separated by spaces


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
            "validation_bleu": json.loads((CHECKPOINTS / checkpoint / "training.json").read_text())[
                "validation_bleu"
            ],
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
    RESULTS.mkdir(parents=True, exist_ok=True)
    with open(RESULTS / f"{name}.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    (RESULTS / f"{name}.json").write_text(json.dumps(configuration, indent=1) + "\n")
    for system, checkpoint in systems.items():
        write_card(checkpoint, system, configuration, rows)
    print(json.dumps(configuration["scores"] | {"difference": configuration["difference"]}))


def _rounded(figures):
    return json.loads(json.dumps(figures), parse_float=lambda number: round(float(number), 2))


def write_card(checkpoint, system, configuration, rows):
    """Write the model card of one of the recurrent translators that are compared."""
    report = json.loads((CHECKPOINTS / checkpoint / "training.json").read_text())
    settings = report["settings"]
    card = ModelCard.from_template(
        ModelCardData(
            language=[settings["source"], settings["target"]], library_name="pytorch", tags=["translation"]
        ),
        template_path=str(CARD_TEMPLATE),
        name=checkpoint,
        report=report,
        settings=settings,
        options=" ".join(
            f"--{k.replace('_', '-')} {v}" for k, v in settings.items() if v not in (None, False)
        ),
        attention=DESCRIPTIONS[system],
        speeds=sorted(record["tokens_per_second"] for record in report["history"]),
        configuration=configuration,
        difference=configuration["difference"],
        rows=[row for row in rows if row["system"] == system and row["sentences"] < 1000],
    )
    card.save(CHECKPOINTS / checkpoint / "README.md")


EXPERIMENTS = {"multi30k-en-fr": lambda: compare_attention("en", "fr")}


def main(arguments=None):
    """The command line of ``python -m utils.experiments``."""
    parser = argparse.ArgumentParser(
        prog="python -m utils.experiments", description="Compute shipped results."
    )
    parser.add_argument("name", choices=sorted(EXPERIMENTS), help="which results")
    EXPERIMENTS[parser.parse_args(arguments).name]()


if __name__ == "__main__":
    main()
