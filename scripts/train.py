"""Train a checkpoint: a translator, a language model, or a masked one.

Training continues where it was stopped or killed, from the last finished epoch, when the same command is
given again. In several processes, on one machine or more:

    accelerate launch -m scripts.train translator --model gru-attention --target fr
"""

import argparse
import datetime
import json
import os
import random
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.settings import (
    TRAININGS,
    LanguageModelTraining,
    MaskedModelTraining,
    Places,
    Training,
    TranslatorTraining,
)

CHECKPOINTS = Path(__file__).parents[1] / "data" / "checkpoints"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of ``hello train``."""
    kinds = "\n".join(f"  {name:<16}{kind.__doc__}" for name, kind in TRAININGS.items())
    parser = argparse.ArgumentParser(
        prog="hello train",
        description=f"{__doc__}\nWHAT is one of\n{kinds}\n\nhello train WHAT --help has its options.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    parser.add_argument("what", nargs="?", choices=list(TRAININGS), metavar="WHAT", help="what to train")
    parser.add_argument("-h", "--help", action="store_true", help="this help, or that of WHAT")
    chosen, rest = parser.parse_known_args(sys.argv[1:] if arguments is None else arguments)
    if chosen.what is None:
        if not chosen.help:
            parser.error(f"say what to train: {', '.join(TRAININGS)}")
        return parser.print_help()
    settings, places = parse(chosen.what, ["--help"] if chosen.help else rest)
    fit(settings, places)


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows each option once, with hyphens."""

    def _format_action_invocation(self, action):
        flags = [flag for flag in action.option_strings if "_" not in flag]
        return f"{', '.join(flags)} {self._format_args(action, action.dest.upper())}".strip()


def parse(kind: str, arguments: Sequence[str]) -> tuple[Training, Places]:
    """The settings and places that a command line gives; one that is wrong ends the process with code 2."""
    from transformers.hf_argparser import HfArgumentParser

    form = TRAININGS[kind]
    parser = HfArgumentParser(
        [form, Places],
        prog=f"hello train {kind}",
        usage=f"hello train {kind} [OPTIONS]",
        description=form.__doc__,
        formatter_class=_Help,
        allow_abbrev=False,
    )
    try:
        settings, places, unknown = parser.parse_args_into_dataclasses(
            arguments, return_remaining_strings=True, look_for_args_file=False
        )
    except ValueError as error:
        parser.error(str(error))
    if unknown:
        parser.error(f"there is no option {unknown[0]}")
    return settings, places


def fit(settings: Training, places: Places) -> Path:
    """Train as the settings say, and return the folder of the checkpoint."""
    started = time.perf_counter()
    name, trained, train, monitor = PREPARATIONS[type(settings)](settings)
    output = Path(places.output or CHECKPOINTS / name)
    state_folder = Path(places.state or Path("runs") / output.name)
    first_process = int(os.environ.get("RANK", "0")) == 0
    if places.restart and first_process:
        shutil.rmtree(state_folder, ignore_errors=True)
    from scripts.training_state import TrainingState

    chosen = ("epochs", "patience", "batch_size", "learning_rate", "averaging", "seed", "mixed_precision")
    options = {option: getattr(settings, option) for option in chosen}
    history = train(**options, state=TrainingState(state_folder, settings.applied()))
    if first_process:
        report = report_of(trained, settings, history, monitor)
        if places.significant_bits:
            round_weights(trained.model, places.significant_bits)
            report["significant_bits"] = places.significant_bits
        save(trained, output, report)
        best, seconds = best_of(history, monitor)["epoch"], time.perf_counter() - started
        print(f"saved {output}: best epoch {best}, {seconds:.0f} s in this run")
    return output


def best_of(history: list[dict], monitor: str) -> dict:
    """The epoch that was kept."""
    return max(history, key=lambda record: record[monitor])


def training_seconds(history: list[dict]) -> int:
    """How long all epochs take; one during which the training was paused counts like the others."""
    return round(statistics.median(record["seconds"] for record in history) * len(history))


def sizes_of(network: Any) -> dict[str, Any]:
    """What a network is made from, by the names of its class, and how many parameters it has."""
    config = network.config
    if not isinstance(config, dict):  # one of transformers
        config = {
            "vocabulary_size": config.vocab_size,
            "width": config.hidden_size,
            "heads": config.num_attention_heads,
            "layers": config.num_hidden_layers,
            "feed_forward_size": config.intermediate_size,
            "max_length": config.max_position_embeddings,
        }
    return config | {"parameters": sum(parameter.numel() for parameter in network.parameters())}


def report_in(checkpoint: str | Path) -> dict[str, Any]:
    """What the ``training.json`` of a checkpoint says; the name is one that ``find_folder`` finds."""
    from utils.pretrained import find_folder

    return json.loads((find_folder(checkpoint) / "training.json").read_text(encoding="utf-8"))


def report_of(trained: Any, settings: Training, history: list[dict], monitor: str) -> dict[str, Any]:
    """What ``training.json`` says: the settings that applied, what the model is, and how it went."""
    import torch

    from scripts.tables import machine

    best, seconds = best_of(history, monitor), sum(record["seconds"] for record in history)
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    others = {}
    if getattr(settings, "checkpoint", None):
        others["before"] = report_in(settings.checkpoint)
    if isinstance(settings, TranslatorTraining):
        kept = ("command", "validation_bleu")
        others["validation_bleu"] = round(best["validation_bleu"], 2)  # greedy, whatever chose the epoch
        start = report_in(settings.start) if settings.start else {}
        teachers = [{name: report_in(teacher)[name] for name in kept} for teacher in settings.teachers]
        teachers = teachers or start.get("teachers", [])
        others |= {"teachers": teachers} if teachers else {}
        if start:
            others["started_from"] = [{name: start[name] for name in kept}, *start.get("started_from", [])]
        if settings.risk and "significant_bits" in start:  # most weights stay as they are
            others["significant_bits"] = start["significant_bits"]
    return {
        "command": settings.command(),
        "settings": settings.applied(),
        "model": sizes_of(trained.model),
        "training_seconds": round(seconds),
        "tokens_per_second": round(sum(r["tokens_per_second"] * r["seconds"] for r in history) / seconds),
        "best_epoch": best["epoch"],
        monitor: round(best[monitor], 2),
        "machine": machine() + gpu,
        "day": datetime.date.today().isoformat(),
        "torch": torch.__version__,
        "history": history,
    } | others


def round_weights(network: Any, bits: int) -> None:
    """Round each weight to so many significant bits (half precision has 11, bfloat16 has 8), in place.

    The file stays as long, but a compressor finds zeros in it: with 5 bits it halves.
    """
    import torch

    for parameter in network.parameters():
        mantissas, exponents = torch.frexp(parameter.detach())  # mantissas from 0.5 to below 1
        parameter.data = torch.ldexp((mantissas * 2**bits).round(), exponents - bits)


def save(trained: Any, output: Path, report: dict[str, Any]) -> None:
    """Write a checkpoint and, beside it, how it was trained."""
    from utils.pretrained import save_checkpoint

    trained.model = trained.model.cpu()
    if type(trained.model).__name__ == "BertForMaskedLM":
        from scripts.masked_model import save_changes

        save_changes(trained, output)
    elif hasattr(trained, "save_pretrained"):
        trained.save_pretrained(output)
    else:
        save_checkpoint(output, trained.model, {"tokenizer": trained.tokenizer})
    text = json.dumps(report, indent=1, ensure_ascii=False)
    (output / "training.json").write_text(text + "\n", encoding="utf-8")


def prepare_translator(settings: TranslatorTraining):
    """A new translator, and a function that trains it."""
    from scripts.minimum_risk import MONITOR, fit_to_risk
    from utils.tokens import train_tokenizer
    from utils.training import fit_translator, new_translator, phrasebook_tokenizers

    languages = (settings.source, settings.target)
    pairs, validation = translation_pairs(settings)
    if settings.corpus == "phrasebook":  # its vocabulary is small enough for whole words
        tokenizers = phrasebook_tokenizers(*languages)
    elif settings.shared_vocabulary:
        tokenizers = shared_tokenizers(dict(zip(languages, pairs, strict=True)), settings.vocabulary_size)
    else:
        tokenizers = {
            language: train_tokenizer(texts, language, settings.vocabulary_size)
            for language, texts in zip(languages, pairs, strict=True)
        }
    longest = max(len(encoding.ids) for encoding in tokenizers[settings.source].encode_batch(pairs[0])) - 1
    translator = new_translator(settings.model, tokenizers, settings.seed, longest, **settings.sizes())
    if settings.start:
        go_on_from(translator, settings.start)
    if settings.teachers:
        captions, references = pairs
        read = spliced_captions(captions, settings.spliced) if settings.spliced else captions
        pairs = [captions + read, references + translations_by(settings.teachers, read, languages)]

    def train(**options):
        options["label_smoothing"] = settings.label_smoothing
        if settings.risk:
            return fit_to_risk(translator, pairs, validation, candidates=settings.risk, **options)
        return fit_translator(translator, pairs, validation, **options)

    name = f"{settings.corpus}-{settings.source}-{settings.target}-{settings.model}"
    return name, translator, train, MONITOR if settings.risk else "validation_bleu"


def go_on_from(translator: Any, checkpoint: str) -> None:
    """Give a new translator the weights of a checkpoint, which must have its pieces and sizes."""
    from utils.translator import load_translator

    before = load_translator(checkpoint)
    for side in ("source_tokenizer", "target_tokenizer"):
        if getattr(before, side).get_vocab() != getattr(translator, side).get_vocab():
            raise ValueError(f"--start {checkpoint}: its {side} has other pieces than these texts give")
    try:
        translator.model.load_state_dict(before.model.state_dict())
    except RuntimeError as error:
        raise ValueError(f"--start {checkpoint}: its network is another one. {error}") from None


def spliced_captions(captions: Sequence[str], count: int) -> list[str]:
    """New English captions, each the beginning of one up to "is" or "are" and the end of another from there.

    No model has seen their translations, so what teachers make of them is what they know, and not what they
    learned by heart.

    Raises:
        ValueError: the captions do not give so many.
    """
    draw, known, new = random.Random(0), set(captions), []
    halves: dict[str, list[tuple[str, str]]] = {}
    for caption in captions:
        found = re.match(r"(.+?) (is|are) (.+)$", caption)
        if found and len(found[1].split()) <= 10:  # in a longer one the verb is often that of a clause
            halves.setdefault(found[2], []).append((found[1], found[3]))
    verbs = [verb for verb, those in halves.items() for _ in those]
    for _ in range(20 * count if verbs else 0):
        if len(new) == count:
            break
        verb = draw.choice(verbs)
        (beginning, _), (_, end) = draw.choice(halves[verb]), draw.choice(halves[verb])
        caption = f"{beginning} {verb} {end}"
        if caption not in known:
            known.add(caption)
            new.append(caption)
    if len(new) < count:
        raise ValueError(f"--spliced {count}: these captions gave {len(new)} new ones")
    return new


def translations_by(teachers: list[str], texts: list[str], languages: tuple[str, str]) -> list[str]:
    """What several translators together make of texts, for one network to learn from.

    Each translates with a beam of 5, and of what they wrote for a text that is taken to which all of them
    give the highest mean log-probability a token, on average. A student learns in this way what an ensemble
    knows (Kim and Rush 2016, section 3.2; Freitag et al. 2017). It takes minutes, so the translations are
    kept in ``runs/`` for a training that is stopped and goes on.

    Raises:
        ValueError: a teacher translates between other languages.
    """
    import hashlib

    from utils.pretrained import find_folder, sha256
    from utils.translator import load_translator

    translators = [load_translator(teacher) for teacher in teachers]
    for teacher, translator in zip(teachers, translators, strict=True):
        if translator.languages != languages:
            raise ValueError(f"--teachers: {teacher} translates {' to '.join(translator.languages)}")
    weights = [sha256(find_folder(teacher) / "model.safetensors") for teacher in teachers]
    key = hashlib.sha256("\n".join([*weights, *texts]).encode()).hexdigest()[:16]
    kept = Path("runs") / f"translations-{key}.json"
    if not kept.exists():
        print(f"{len(teachers)} teachers translate {len(texts)} texts", flush=True)
        written = [[one.text for one in translator.translate(texts, 5)] for translator in translators]
        pairs = sorted({pair for each in written for pair in zip(texts, each, strict=True)}, key=_lengths)
        sources, targets = zip(*pairs, strict=True)
        scores = [[one.score for one in translator.align(sources, targets)] for translator in translators]
        ranks = dict(zip(pairs, map(sum, zip(*scores, strict=True)), strict=True))
        chosen = [
            max(candidates, key=lambda candidate: (ranks[text, candidate], candidate))
            for text, *candidates in zip(texts, *written, strict=True)
        ]
        kept.parent.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=kept.parent, delete=False, encoding="utf-8") as file:
            json.dump(chosen, file, ensure_ascii=False)
        os.replace(file.name, kept)
    return json.loads(kept.read_text(encoding="utf-8"))


def _lengths(pair):
    return *map(len, pair), pair  # pairs of one length stand together: a batch has little padding


def shared_tokenizers(texts: dict[str, list[str]], vocabulary_size: int) -> dict:
    """One byte-pair encoding for several languages: in the tokeniser of each, a piece has the same id.

    Words are cut as each language cuts them, at its apostrophes; the pieces are learned from all of them
    together (Sennrich et al. 2016, section 3.2, joint BPE).

    Args:
        texts: the sentences of each language.
        vocabulary_size: pieces of the common vocabulary, special tokens included.
    """
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from tokenizers.trainers import BpeTrainer

    from utils.tokens import train_tokenizer
    from utils.vocabulary import SPECIAL_TOKENS, UNKNOWN

    tokenizers = {language: train_tokenizer([], language, len(SPECIAL_TOKENS)) for language in texts}
    words = [
        "\t".join(word for word, _ in own.pre_tokenizer.pre_tokenize_str(own.normalizer.normalize_str(text)))
        for language, own in tokenizers.items()
        for text in texts[language]
    ]
    joint = Tokenizer(models.BPE(unk_token=UNKNOWN, fuse_unk=True))
    joint.pre_tokenizer = pre_tokenizers.Split(Regex("\t"), "removed")
    trainer = BpeTrainer(
        vocab_size=vocabulary_size, special_tokens=SPECIAL_TOKENS, min_frequency=2, show_progress=False
    )
    joint.train_from_iterator(words, trainer)
    for own in tokenizers.values():
        own.model = joint.model
    return tokenizers


def translation_pairs(settings: TranslatorTraining) -> list[list[list[str]]]:
    """Pairs to train on and to validate on, each as two lists of sentences; no pair is in both."""
    languages, rows = (settings.source, settings.target), {}
    if settings.corpus == "multi30k":
        from scripts.corpora import load_multi30k

        corpus = load_multi30k(*languages)
        rows = {"train": corpus["train"], "validation": corpus["validation"]}
    elif settings.corpus == "captions":
        from utils.loaders import load_captions

        parts = load_captions().train_test_split(test_size=20, seed=0)
        rows = {"train": parts["train"], "validation": parts["test"]}
    else:
        from phrasebook import write_mixture

        options = {"max_words": settings.max_words, "theme": settings.theme}
        written = write_mixture(settings.count, settings.seed + 1, **options)
        seen, wanted = {row["en"] for row in written}, max(1, min(500, settings.count // 2))
        others = write_mixture(8 * wanted, 10**6, **options)
        rows["train"] = written
        rows["validation"] = [row for row in others if row["en"] not in seen][:wanted]
        if not rows["validation"]:
            raise ValueError(
                "every sentence that could validate is in the training; write fewer, or longer ones"
            )
    return [
        [[row[language] for row in part][: settings.limit] for language in languages]
        for part in rows.values()
    ]


def language_model_texts(corpus: str) -> dict[str, list[str]]:
    """Texts to train, validate and test a language model on, whole documents in each.

    Args:
        corpus: "brown", "movie-reviews", "both" of these, or "reviews", those of this project, which
            are its own splits. Of the others every twentieth text validates, and another twentieth is
            for tests. For "wikipedia" and "imdb" see ``large_corpus``. "all" trains on both of the first
            two, three times over, and on the training texts of the last two.

    Returns:
        The lists of texts "train", "validation" and "test".

    Raises:
        CorpusError: the corpus is not available.
    """
    if corpus == "reviews":
        from utils.loaders import load_reviews

        reviews = load_reviews()
        return {split: list(reviews[split]["text"]) for split in ("train", "validation", "test")}
    if corpus in ("wikipedia", "imdb"):
        return large_corpus(corpus)
    if corpus == "all":
        small, large = language_model_texts("both"), map(large_corpus, ("wikipedia", "imdb"))
        return small | {"train": [*small["train"] * 3, *(text for part in large for text in part["train"])]}
    from scripts.corpora import load_brown, load_movie_reviews

    loaders = {"brown": load_brown, "movie-reviews": load_movie_reviews}
    names = list(loaders) if corpus == "both" else [corpus]
    texts = [text for name in names for text in loaders[name]()["text"]]
    others = [text for i, text in enumerate(texts) if i % 10]
    return {"train": others, "validation": texts[::20], "test": texts[10::20]}


def large_corpus(corpus: str, held_out: int = 500, validating: int = 40) -> dict[str, list[str]]:
    """Articles of Wikipedia, 500 of them for tests, or the reviews of IMDb, whose test split is for tests.

    Labels are not read. What validates is taken evenly from the training texts, and "pieces" are texts of
    both corpora, from which a vocabulary can be learnt.
    """
    from scripts.corpora import load_imdb, load_wikipedia, plain

    articles, imdb = list(load_wikipedia()["text"]), load_imdb()
    reviews = [plain(text) for split in ("train", "unsupervised") for text in imdb[split]["text"]]
    tests = set(range(0, len(articles), max(2, len(articles) // held_out))[:held_out])
    parts = {
        "wikipedia": (
            [text for i, text in enumerate(articles) if i not in tests],
            [articles[i] for i in sorted(tests)],
        ),
        "imdb": (reviews, [plain(text) for text in imdb["test"]["text"]]),
    }
    train, test = parts[corpus]
    validation = train[:: max(2, len(train) // validating)]
    pieces = [text for texts, _ in parts.values() for text in texts[:: max(1, len(texts) // 9000)]]
    chosen = set(validation)
    return {
        "train": [text for text in train if text not in chosen],
        "validation": validation,
        "test": test,
        "pieces": pieces,
    }


def prepare_language_model(settings: LanguageModelTraining):
    """A language model, new or as far as it was trained, and a function that trains it."""
    from accelerate.utils import set_seed

    from scripts.stateful_training import fit_stateful
    from utils.models.language_models import RecurrentLanguageModel
    from utils.texts import LanguageModel, load_language_model
    from utils.tokens import train_tokenizer
    from utils.training import fit_language_model

    texts = language_model_texts(settings.corpus)
    dropouts = {"dropout": settings.dropout, "word_dropout": settings.word_dropout}
    if settings.start:
        model = load_language_model(settings.start, **dropouts)
    else:
        if settings.pieces:
            tokenizer = load_language_model(settings.pieces).tokenizer
        else:
            source = texts.get("pieces", texts["train"])
            tokenizer = train_tokenizer(source, "en", settings.vocabulary_size, lowercase=True)
        set_seed(settings.seed)
        sizes = {"embedding_size": settings.embedding_size, "hidden_sizes": tuple(settings.hidden_sizes)}
        model = LanguageModel(
            RecurrentLanguageModel(tokenizer.get_vocab_size(), **sizes, **dropouts), tokenizer
        )
    fit = fit_stateful if settings.stateful else fit_language_model
    train = _language_model_training(fit, model, texts, settings, window=settings.window)
    return f"language-model-{settings.corpus}", model, train, "validation_log_probability"


def prepare_masked_model(settings: MaskedModelTraining):
    """A masked language model on MiniLM, or a new one, and a function that trains it."""
    import torch
    from accelerate.utils import set_seed

    from scripts.masked_model import (
        MaskedStack,
        fit_masked_language_model,
        set_bias_to_frequencies,
        start_from_minilm,
    )
    from scripts.stack import TransformerLanguageModel
    from utils.tokens import train_tokenizer

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("a masked model is trained in one process")
    texts = language_model_texts(settings.corpus)
    if settings.start == "minilm":
        model, trained = start_from_minilm(texts["train"], settings.frozen_layers, settings.checkpoint)
        for module in model.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = settings.dropout
    else:
        tokenizer = train_tokenizer(texts["train"], "en", settings.vocabulary_size, lowercase=True, mask=True)
        set_seed(settings.seed)
        names = ("width", "heads", "layers", "feed_forward_size", "dropout")
        sizes = {name: getattr(settings, name) for name in names} | {"max_length": settings.window + 2}
        network = TransformerLanguageModel(tokenizer.get_vocab_size(), False, **sizes)
        model, trained = MaskedStack(network, tokenizer), list(network.parameters())
        set_bias_to_frequencies(model, texts["train"])
    options = {name: getattr(settings, name) for name in ("window", "epoch_size", "mask_share", "only_words")}
    train = _language_model_training(
        fit_masked_language_model, model, texts, settings, groups=[(trained, 1.0, 0)], **options
    )
    return "masked-language-model", model, train, "validation_log_probability"


def _language_model_training(fit, model, texts, settings, **fixed):
    parts = [texts[split][: settings.limit] for split in ("train", "validation")]
    return lambda **options: fit(model, *parts, **fixed, **options)


PREPARATIONS = {
    TranslatorTraining: prepare_translator,
    LanguageModelTraining: prepare_language_model,
    MaskedModelTraining: prepare_masked_model,
}


if __name__ == "__main__":
    from scripts.command import main as hello

    hello(["train", *sys.argv[1:]])
