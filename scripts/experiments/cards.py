"""Scores of the shipped checkpoints, and their model cards, from the templates ``data/model_card_*.md``.

What is measured goes into ``data/results``; a card is written from there, from the checkpoint's
``training.json`` and from its weights, so that ``hello experiment cards`` writes them all anew in seconds.
"""

import datetime
import json
import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from huggingface_hub import ModelCard, ModelCardData
from safetensors import safe_open

from phrasebook import HELD_OUT, write_mixture, write_phrases
from scripts.corpora import load_multi30k
from scripts.evaluate import bleu_by_length, word_bleu
from scripts.experiments.bootstrap import bleu_difference
from scripts.lengths import LENGTH_RANGES, exact_by_length
from scripts.masked_model import guess_words, load_masked, whole_words
from scripts.tables import machine, rounded, write_rows, write_settings
from scripts.train import language_model_texts, report_in, sizes_of, training_seconds
from utils import pretrained
from utils.loaders import DATA, load_results, load_settings
from utils.scores import CORPUS_BLEU, translation_scores
from utils.texts import LanguageModel, load_language_model
from utils.tokens import LANGUAGE_NAMES, MASK
from utils.translator import load_translator

SYSTEMS = {"without attention": "multi30k-en-fr-gru", "with attention": "multi30k-en-fr-gru-attention"}
DESCRIPTIONS = {
    "without attention": "no attention: the decoder reads the encoder's last hidden state at every step",
    "with attention": "Bahdanau's additive attention over all encoder states",
}
LENGTH_EDGES = [1, 9, 12, 15, 20, 100]  # English words, as separated by spaces
PHRASEBOOK_TRANSLATORS = {  # and the notebook that uses each
    "phrasebook-en-de-gru": "01_encoder_decoder",
    "phrasebook-en-de-gru-attention": "02_attention",
    "phrasebook-en-fr-gru-attention": "02_attention",
}
TAUGHT = (
    "{count} trainings, each from the weights of the one before. The first is the published recipe for this "
    "size (Wu et al. 2021): {published} BLEU on validation with a beam of 5. In the second it learns the "
    "captions as three teachers translate them together ({taught}), in the third 20,000 new captions, "
    "spliced from halves, as four teachers do, the student of the second among them ({spliced}). Dropout, "
    "label smoothing and the running average of the weights were used and not varied. Rounding the weights "
    "to 5 or 4 bits changed validation by less than 0.4; the better number was taken. The test set was "
    "looked at while methods were compared; what was kept was chosen on validation."
)
CAPTION_TRANSLATORS = {  # and what was tried with each
    "multi30k-en-de-gru-attention": "",
    "multi30k-en-de-transformer": TAUGHT.format(count="four", published=39.84, taught=40.64, spliced=40.93)
    + " In the fourth, biases and layer norms alone learn which of eight translations of its own are better, "
    "by the BLEU of a sentence (minimum risk training, Shen et al. 2016): 41.41. These are not rounded. "
    "With two seeds the third scored 40.77 and 40.74 on test, tokens. In place of the fourth, three layers "
    "of the decoder learned from new teachers: that did not pay (40.81). R-Drop did not pay (alpha 5, 36 "
    "epochs, two seeds: 39.2 and 39.4 on test, tokens).",
    "multi30k-en-fr-transformer": TAUGHT.format(count="three", published=57.46, taught=57.99, spliced=58.03)
    + " R-Drop did not pay (alpha 5, 36 epochs, two seeds: 58.9 and 58.6 on test, tokens).",
}
LANGUAGE_MODELS = {"language-model-wikipedia": "wikipedia", "language-model-imdb": "imdb"}
MASKED_MODEL = "masked-language-model"
IMDB_TEXTS = {
    "wikipedia": "500 articles of Wikipedia",
    "imdb": "the 25,000 test reviews of IMDb",
}
UNSEEN_TEXTS = {
    "brown": "25 texts of the Brown corpus",
    "movie-reviews": "100 film reviews of Pang and Lee",
    "reviews": "the 420 test reviews of this project",
}


def compare_attention(beam_size: int = 5) -> None:
    """Score the recurrent translators with and without attention on the test captions.

    Writes ``data/results/multi30k-en-fr.csv`` (a row for each system and range of lengths), the scores and
    the bootstrap of the difference beside it as JSON, and both model cards.
    """
    name, test = "multi30k-en-fr", load_multi30k("en", "fr")["test"]
    sources, references = list(test["en"]), list(test["fr"])
    lengths = [len(sentence.split()) for sentence in sources]
    tables, hypotheses, scores = [], {}, {}
    for system, checkpoint in SYSTEMS.items():
        translator = load_translator(pretrained.CHECKPOINTS / checkpoint)
        greedy = translation_scores([t.text for t in translator.translate(sources)], references)
        started = time.perf_counter()
        hypotheses[system] = [t.text for t in translator.translate(sources, beam_size)]
        seconds = time.perf_counter() - started
        scores[system] = translation_scores(hypotheses[system], references) | {
            "bleu_greedy": greedy["bleu"],
            "validation_bleu": read_report(checkpoint)["validation_bleu"],
            "seconds": seconds,
        }
        everything = {"low": 1, "high": 100, "sentences": len(sources), "bleu": scores[system]["bleu"]}
        parts = bleu_by_length(hypotheses[system], references, lengths, LENGTH_EDGES)
        table = pd.concat([pd.DataFrame([everything]), parts])
        table.insert(0, "system", system)
        tables.append(table)
    difference = bleu_difference(hypotheses["with attention"], hypotheses["without attention"], references)
    write_rows(name, pd.concat(tables).round(2))
    settings = {"command": f"hello experiment {name}", "split": "test_2016_flickr", "beam_size": beam_size}
    settings |= {"bootstrap_samples": 1000, "scores": rounded(scores), "difference": rounded(difference)}
    write_settings(name, settings)
    for checkpoint in SYSTEMS.values():
        write_card(checkpoint)
    print(json.dumps(settings["scores"] | {"difference": settings["difference"]}))


def describe_phrasebook(checkpoint: str) -> None:
    """Measure a phrasebook translator on new sentences of each length; writes its results and its card."""
    translator = load_translator(pretrained.CHECKPOINTS / checkpoint)
    settings = read_report(checkpoint)["settings"]
    longest, theme = settings["max_words"], settings.get("theme")
    written = write_mixture(settings["count"], settings["seed"] + 1, longest, theme=theme)
    seen = {row["en"] for row in written}
    table = pd.concat(
        [
            exact_by_length(translator, LENGTH_RANGES, sentences=500, theme=theme, seen=seen),
            exact_by_length(translator, [(longest + 1, longest + 6)], sentences=500, theme=theme),
        ]
    )
    drawn = [  # which share of the sentences that one can draw was in the training
        [phrase["en"] for phrase in write_phrases(2000, 77, theme, row.low, row.high)]
        for row in table.itertuples()
    ]
    table["met"] = [round(sum(text in seen for text in texts) / len(texts), 3) for texts in drawn]
    translations = translator.translate([row["en"] for row in HELD_OUT])
    held_out = [
        {"source": row["en"], "text": t.text, "right": t.text == row[settings["target"]]}
        for row, t in zip(HELD_OUT, translations, strict=True)
    ]
    write_rows(checkpoint, table.round({"bleu": 2}))
    write_settings(checkpoint, {"held_out": held_out})
    write_card(checkpoint)
    print(checkpoint, list(table["exact"].round(3)), held_out)


def describe_captions(checkpoint: str) -> None:
    """Score a translator of captions on the test set, and write its card and its results.

    Trainings of the same recipe with other seeds are scored where they lie in ``runs/``, as
    ``hello train ... --seed 1 --output runs/CHECKPOINT-seed-1`` writes them; else their scores are kept.
    """
    scores = score_captions(pretrained.CHECKPOINTS / checkpoint)
    settings = {"beam_size": 5, "split": "test_2016_flickr", "scores": scores}
    settings |= {"decoded_on": machine(), "day": datetime.date.today().isoformat()}
    settings |= {"signature": str(CORPUS_BLEU.get_signature()), "other_seeds": _other_seeds(checkpoint)}
    write_settings(checkpoint, settings)
    write_card(checkpoint)
    print(checkpoint, scores)


def _other_seeds(checkpoint):
    found = sorted(Path("runs").glob(f"{checkpoint}-seed-*/model.safetensors"))
    if found:
        return [score_captions(weights.parent) for weights in found]
    try:
        return load_settings(checkpoint).get("other_seeds", [])
    except FileNotFoundError:
        return []


def score_captions(folder: Path) -> dict[str, float]:
    """What a translator of captions scores on the test set, and how it was trained."""
    translator = load_translator(folder)
    source, target = translator.languages
    report = report_in(folder)
    test = load_multi30k(source, target)["test"]
    sources, references = list(test[source]), list(test[target])
    started = time.perf_counter()
    greedy = [t.text for t in translator.translate(sources)]
    seconds = time.perf_counter() - started
    texts = [t.text for t in translator.translate(sources, 5)]
    return rounded(
        translation_scores(texts, references)
        | {
            "bleu_greedy": translation_scores(greedy, references)["bleu"],
            "bleu_words": word_bleu(texts, references, target),
            "validation_bleu": report["validation_bleu"],
            "greedy_seconds": seconds,
            "parameters": report["model"]["parameters"],
            "seed": report["settings"]["seed"],
        }
    )


def describe_language_model(checkpoint: str, limit: int | None = None) -> None:
    """Measure a language model on unseen articles and on the test reviews, and write its card.

    Half an hour. Writes its entry of ``data/results/language-models.json``; "before" are the figures of the
    checkpoint from which it went on, or of random weights. With a limit, on so many texts of each kind.
    """
    language_model = load_language_model(pretrained.CHECKPOINTS / checkpoint)
    start = read_report(checkpoint)["settings"].get("start")
    if start:
        others = load_language_model(pretrained.CHECKPOINTS / start)
    else:
        torch.manual_seed(read_report(checkpoint)["settings"]["seed"])
        fresh = type(language_model.model)(**language_model.model.config)
        others = LanguageModel(fresh, language_model.tokenizer)
    entries, perplexity = load_settings("language-models"), {}
    for corpus in IMDB_TEXTS:
        texts = language_model_texts(corpus)["test"][:limit]
        pieces = sum(len(ids) - 1 for ids in language_model.encode(texts))
        words, after = sum(len(text.split()) for text in texts), language_model.perplexity(texts)
        perplexity[corpus] = {
            "before": round(others.perplexity(texts if start else texts[:500]), 3),
            "after": round(after, 3),
            "per_piece": round(after ** (words / pieces), 3),
            "texts": len(texts),
            "words": words,
        }
    prompts = [(row["prompt"], row["seed"]) for row in entries["wikipedia"]["generations"]]
    entries.setdefault(LANGUAGE_MODELS[checkpoint], {}).update(
        perplexity=perplexity,
        generations=[
            {"prompt": prompt, "seed": seed, "text": language_model.write(prompt, 60, seed=seed)}
            for prompt, seed in prompts
        ],
    )
    write_settings("language-models", entries)
    write_card(checkpoint)
    print(checkpoint, perplexity)


def describe_masked_language_model(checkpoint: str = MASKED_MODEL) -> None:
    """Measure a masked language model on hidden words of unseen documents, and write its card.

    Writes ``data/results/CHECKPOINT.csv``: for each kind of text the share of the words that are among the
    model's first five, and among the five most frequent words of the training texts; 15 % of the words are
    hidden at once, or 1 %.
    """
    masked_model = load_masked(pretrained.CHECKPOINTS / checkpoint)
    training = language_model_texts(read_report(checkpoint)["settings"]["corpus"])["train"]
    counts = torch.zeros(masked_model.vocabulary_size, dtype=torch.long)
    for ids in masked_model.encode(training):
        tokens = torch.tensor([ids])
        counts += torch.bincount(tokens[whole_words(masked_model, tokens)], minlength=len(counts))
    frequent, rows = counts.topk(5).indices, []
    for corpus, name in UNSEEN_TEXTS.items():
        texts = language_model_texts(corpus)["test"]
        words, log_probabilities, ranks = guess_words(masked_model, texts)
        row = {"text": name, "words": len(words), "first": (ranks < 1).float().mean().item()}
        row |= {"first_five": (ranks < 5).float().mean().item()}
        row |= {"frequent_five": torch.isin(words, frequent).float().mean().item()}
        row |= {"log_probability": log_probabilities.mean().item()}
        # So few that there is hardly ever a second gap nearby.
        few = [guess_words(masked_model, texts, share=0.01, seed=seed)[2] for seed in range(1, 4)]
        ranks = torch.cat(few)
        rows.append(row | {"single": len(ranks), "single_first_five": (ranks < 5).float().mean().item()})
    write_rows(checkpoint, pd.DataFrame(rows).round(4))
    sentence = f"I looked at my {MASK} and saw that {MASK} was late."
    pattern = re.escape(sentence.rstrip(".").lower()).replace(re.escape(MASK.lower()), r"\S+")
    met = sum(len(re.findall(pattern.replace(r"\ ", r"\s+"), text.lower())) for text in training)
    words = [[f"{word} {p:.0%}" for word, p in gap] for gap in masked_model.fill(sentence)]
    pieces = masked_model.tokenizer.convert_ids_to_tokens(frequent.tolist())
    write_settings(checkpoint, {"sentence": sentence, "met": met, "words": words, "frequent": pieces})
    write_card(checkpoint)
    print(checkpoint, rows, met, words)


def read_report(checkpoint: str) -> dict[str, Any]:
    """What ``training.json`` says of a checkpoint."""
    report = report_in(pretrained.CHECKPOINTS / checkpoint)
    return report | {"training_seconds": training_seconds(report["history"])}


def write_card(checkpoint: str) -> None:
    """Write a checkpoint's model card from its training, its weights and the results that are stored."""
    folder = pretrained.CHECKPOINTS / checkpoint
    license_id, task, load = None, "translation", load_translator
    if checkpoint in SYSTEMS.values():
        template, results = "recurrent", load_settings("multi30k-en-fr")
        system = next(name for name, path in SYSTEMS.items() if path == checkpoint)
        table = load_results("multi30k-en-fr").query("system == @system and sentences < 1000")
        fields = {"attention": DESCRIPTIONS[system], "configuration": results, "rows": _rows(table)}
    elif checkpoint in PHRASEBOOK_TRANSLATORS:
        template, license_id = "phrasebook", "mit"
        fields = {"notebook": PHRASEBOOK_TRANSLATORS[checkpoint], "rows": _rows(load_results(checkpoint))}
        fields |= load_settings(checkpoint)
    elif checkpoint in CAPTION_TRANSLATORS:
        template = "captions"
        fields = load_settings(checkpoint) | {"techniques": CAPTION_TRANSLATORS[checkpoint]}
        fields["trainings"] = [fields["scores"], *fields.get("other_seeds", [])]
    elif checkpoint in LANGUAGE_MODELS:
        template, task, load = "language_model", "text-generation", load_language_model
        entry = load_settings("language-models")[LANGUAGE_MODELS[checkpoint]]
        rows = [row | {"text": IMDB_TEXTS[corpus]} for corpus, row in entry["perplexity"].items()]
        fields = {"rows": rows, "texts": entry["texts"], "words": entry["words"]}
    else:
        template, task, load = "masked_language_model", "fill-mask", load_masked
        fields = load_settings(checkpoint) | {"rows": _rows(load_results(checkpoint))}
    report, weights = read_report(checkpoint), folder / "model.safetensors"
    with safe_open(weights, framework="pt") as file:
        stored = sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118
    settings, bits = report["settings"], report.get("significant_bits")
    languages = [settings.get("source", "en"), *filter(None, [settings.get("target")])]
    card = ModelCard.from_template(
        ModelCardData(language=languages, license=license_id, library_name="pytorch", tags=[task]),
        template_path=str(DATA / f"model_card_{template}.md"),
        name=checkpoint,
        report=report,
        settings=settings,
        model=sizes_of(load(folder).model),
        stored=stored,
        megabytes=weights.stat().st_size / 1e6,
        rounded=f", rounded to {bits} significant bits, so that git packs them smaller" if bits else "",
        minutes=round(report["training_seconds"] / 60),
        speeds=sorted(record["tokens_per_second"] for record in report["history"]),
        source_language=LANGUAGE_NAMES[languages[0]],
        language=LANGUAGE_NAMES[languages[-1]],
        **fields,
    )
    card.save(folder / "README.md")


def _rows(table):
    return table.to_dict("records")


def write_cards() -> None:
    """Write every model card anew; nothing is measured."""
    names = [*SYSTEMS.values(), *PHRASEBOOK_TRANSLATORS, *CAPTION_TRANSLATORS, *LANGUAGE_MODELS, MASKED_MODEL]
    for name in names:
        write_card(name)
        print(f"wrote the card of {name}")


MEASUREMENTS: dict[str, Callable[[], None]] = {
    "cards": write_cards,
    "multi30k-en-fr": compare_attention,
    MASKED_MODEL: describe_masked_language_model,
    **{name: partial(describe_language_model, name) for name in LANGUAGE_MODELS},
    **{name: partial(describe_captions, name) for name in CAPTION_TRANSLATORS},
    **{name: partial(describe_phrasebook, name) for name in PHRASEBOOK_TRANSLATORS},
}
