"""Scores of the shipped checkpoints, and their model cards, from the templates ``data/model_card_*.md``."""

import json
import re
import statistics
import time

import torch
from huggingface_hub import ModelCard, ModelCardData
from safetensors.torch import load_file

from phrasebook import HELD_OUT, write_mixture, write_phrases
from scripts.corpora import load_multi30k
from scripts.evaluate import bleu_by_length, word_bleu
from scripts.tables import write_configuration, write_rows
from scripts.train import language_model_texts
from utils.loaders import LENGTH_RANGES, RESULTS
from utils.pretrained import CHECKPOINTS
from utils.scores import bleu_difference, exact_by_length, translation_scores
from utils.texts import load_language_model, load_masked_language_model
from utils.tokens import LANGUAGE_NAMES, MASK
from utils.translator import load_translator

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
    write_rows(name, rows)
    write_configuration(name, configuration)
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
        "recurrent",
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


def _write_card(checkpoint, report, template, license_id=None, task="translation", **fields):
    settings = report["settings"]
    flags = {f"--{k.replace('_', '-')}": v for k, v in settings.items()}
    options = [k if v is True else f"{k} {v}" for k, v in flags.items() if v is not None and v is not False]
    languages = [settings.get("source", "en"), *filter(None, [settings.get("target")])]
    card = ModelCard.from_template(
        ModelCardData(language=languages, license=license_id, library_name="pytorch", tags=[task]),
        template_path=str(RESULTS.parent / f"model_card_{template}.md"),
        name=checkpoint,
        report=report,
        settings=settings,
        options=" ".join(options),
        language=LANGUAGE_NAMES[languages[-1]],
        **fields,
    )
    card.save(CHECKPOINTS / checkpoint / "README.md")


def describe_phrasebook(checkpoint, notebook):
    """Measure a phrasebook translator on new sentences of each length; writes its results and its card.

    Args:
        checkpoint: its name in ``data/checkpoints``.
        notebook: the notebook that it serves.
    """
    translator = load_translator(checkpoint)
    report = _training_report(checkpoint)
    settings = report["settings"]
    longest, theme = settings["max_words"], settings.get("theme")
    written = write_mixture(settings["count"], settings["seed"] + 1, longest, theme=theme)
    seen = {row["en"] for row in written}
    rows = exact_by_length(translator, LENGTH_RANGES, sentences=500, theme=theme, seen=seen)
    rows += exact_by_length(translator, [(longest + 1, longest + 6)], sentences=500, theme=theme)
    for row in rows:  # which share of the sentences that one can draw was in the training
        drawn = [phrase["en"] for phrase in write_phrases(2000, 77, theme, row["low"], row["high"])]
        row["met"] = round(sum(sentence in seen for sentence in drawn) / len(drawn), 3)
    translations = translator.translate([row["en"] for row in HELD_OUT])
    held_out = [
        {"source": row["en"], "text": t.text, "right": t.text == row[settings["target"]]}
        for row, t in zip(HELD_OUT, translations, strict=True)
    ]
    write_rows(checkpoint, [row | {"bleu": round(row["bleu"], 2)} for row in rows])
    fields = {"notebook": notebook, "rows": rows, "held_out": held_out}
    _write_card(checkpoint, report, "phrasebook", "mit", **fields)
    print(checkpoint, [round(row["exact"], 3) for row in rows], held_out)


def describe_captions(checkpoint, techniques=""):
    """Score a translator of captions on the test set, and write its card and its results.

    Args:
        checkpoint: its name in ``data/checkpoints``.
        techniques: a sentence for the card on what was tried and what it gave.
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
    write_configuration(checkpoint, {"beam_size": 5, "split": "test_2016_flickr", "scores": scores})
    _write_card(checkpoint, report, "captions", scores=scores, techniques=techniques)
    print(checkpoint, scores)


UNSEEN_TEXTS = {
    "brown": "25 texts of the Brown corpus",
    "movie-reviews": "100 film reviews of Pang and Lee",
    "reviews": "the 420 test reviews of this project",
}


def describe_language_model(checkpoint):
    """Measure a language model on unseen texts of three kinds, and write its card.

    Args:
        checkpoint: its name in ``data/checkpoints``.
    """
    language_model, report = load_language_model(checkpoint), _training_report(checkpoint)
    rows = []
    for corpus, name in UNSEEN_TEXTS.items():
        texts = language_model_texts(corpus)["test"]
        pieces = sum(len(ids) - 1 for ids in language_model.encode(texts))
        word = language_model.perplexity(texts)
        words = sum(len(text.split()) for text in texts)
        rows.append({"text": name, "word": word, "piece": word ** (words / pieces)})
    config = language_model.model.config
    _write_card(checkpoint, report, "language_model", task="text-generation", rows=rows, config=config)
    print(checkpoint, rows)


def describe_masked_language_model(checkpoint):
    """Measure a masked language model on hidden words of unseen documents, and write its card.

    Writes ``data/results/CHECKPOINT.csv``: for each kind of text the share of the words that are among the
    model's first five, and among the five most frequent words of the training texts; 15 % of the words are
    hidden at once, or 1 %.

    Args:
        checkpoint: its name in ``data/checkpoints``.
    """
    masked_model, report = load_masked_language_model(checkpoint), _training_report(checkpoint)
    training = language_model_texts(report["settings"]["corpus"])["train"]
    counts = torch.zeros(masked_model.tokenizer.get_vocab_size(), dtype=torch.long)
    for ids in masked_model.encode(training):
        tokens = torch.tensor([ids])
        counts += torch.bincount(tokens[masked_model.whole_words(tokens)], minlength=len(counts))
    frequent = counts.topk(5).indices
    rows = []
    for corpus, name in UNSEEN_TEXTS.items():
        texts = language_model_texts(corpus)["test"]
        words, log_probabilities, ranks = masked_model.guess_words(texts)
        row = {"text": name, "words": len(words), "first": (ranks < 1).float().mean().item()}
        row |= {"first_five": (ranks < 5).float().mean().item()}
        row |= {"frequent_five": torch.isin(words, frequent).float().mean().item()}
        row |= {"log_probability": log_probabilities.mean().item()}
        # So few that there is hardly ever a second gap nearby.
        few = [masked_model.guess_words(texts, share=0.01, seed=seed)[2] for seed in range(1, 4)]
        ranks = torch.cat(few)
        rows.append(row | {"single": len(ranks), "single_first_five": (ranks < 5).float().mean().item()})
    write_rows(
        checkpoint, [{k: v if isinstance(v, str) else round(v, 4) for k, v in r.items()} for r in rows]
    )
    sentence = f"I looked at my {MASK} and saw that {MASK} was late."
    pattern = re.escape(sentence.rstrip(".").lower()).replace(re.escape(MASK.lower()), r"\S+")
    met = sum(len(re.findall(pattern.replace(r"\ ", r"\s+"), text.lower())) for text in training)
    words = [[f"{word} {p:.0%}" for word, p in gap] for gap in masked_model.fill(sentence)]
    fields = {"rows": rows, "sentence": sentence, "met": met, "words": words}
    fields |= {
        "frequent": [masked_model.tokenizer.id_to_token(i) for i in frequent.tolist()],
        "config": masked_model.model.config,
        "stored": sum(t.numel() for t in load_file(CHECKPOINTS / checkpoint / "model.safetensors").values()),
    }
    _write_card(checkpoint, report, "masked_language_model", task="fill-mask", **fields)
    print(checkpoint, rows, met, words)
