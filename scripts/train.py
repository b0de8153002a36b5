"""scripts.train"""

import argparse
import json
import os
import platform
import shutil
import sys
import time
from pathlib import Path

import torch
from accelerate.utils import set_seed

from phrasebook import LANGUAGES, THEMES, write_mixture
from scripts.corpora import CorpusError, load_brown, load_movie_reviews, load_multi30k
from utils.loaders import load_captions, load_reviews
from utils.models.language_models import (
    RecurrentLanguageModel,
    TransformerLanguageModel,
)
from utils.pretrained import CHECKPOINTS, CheckpointError
from utils.texts import LanguageModel, MaskedLanguageModel, load_language_model, start_from_minilm
from utils.tokens import train_tokenizer
from utils.training import (
    MODELS,
    ResumeError,
    fit_language_model,
    fit_masked_language_model,
    fit_translator,
    new_translator,
    phrasebook_tokenizers,
)


def _load_corpus(arguments):
    """Pairs to train on and to validate on, each as two lists of sentences."""
    if arguments.corpus == "multi30k":
        corpus = load_multi30k(arguments.source, arguments.target)
    elif arguments.corpus == "captions":
        parts = load_captions().train_test_split(test_size=20, seed=0)
        corpus = {"train": parts["train"], "validation": parts["test"]}
    else:
        sizes = {"train": arguments.count, "validation": min(500, arguments.count // 2)}
        seeds = {"train": arguments.seed + 1, "validation": 10**6}
        options = {"max_words": arguments.max_words, "theme": arguments.theme}
        corpus = {split: _columns(write_mixture(sizes[split], seeds[split], **options)) for split in sizes}
    return [
        [
            list(corpus[split][language])[: arguments.limit]
            for language in (arguments.source, arguments.target)
        ]
        for split in ("train", "validation")
    ]


def _columns(rows):
    return {language: [row[language] for row in rows] for language in LANGUAGES}


def train_translator(arguments):
    """Train a translator as the command line says; returns the folder of its checkpoint."""
    started = time.perf_counter()
    pairs, validation = _load_corpus(arguments)
    languages = (arguments.source, arguments.target)
    if arguments.corpus == "phrasebook":  # its vocabulary is small enough for whole words
        tokenizers = phrasebook_tokenizers(*languages)
    else:
        tokenizers = {
            language: train_tokenizer(texts, language, arguments.vocabulary_size)
            for language, texts in zip(languages, pairs, strict=True)
        }
    choices = vars(arguments) | {"bidirectional": not arguments.one_way}
    sizes = {name: choices[name] for name in MODELS[arguments.model][1]}
    longest = max(len(encoding.ids) for encoding in tokenizers[arguments.source].encode_batch(pairs[0])) - 1
    translator = new_translator(arguments.model, tokenizers, arguments.seed, longest, **sizes)
    name = f"{arguments.corpus}-{arguments.source}-{arguments.target}-{arguments.model}"
    output, options = _prepare(arguments, name)
    history = fit_translator(
        translator,
        pairs,
        validation,
        label_smoothing=arguments.label_smoothing,
        **options,
    )
    if _is_main_process():
        _save(translator, output, options["settings"], history, "validation_bleu", started)
    return output


def _save(trained, output, settings, history, monitor, started):
    """Write a checkpoint and, beside it, how it was trained."""
    best = max(history, key=lambda record: record[monitor])
    seconds = sum(record["seconds"] for record in history)
    report = {
        "settings": settings,
        "parameters": sum(parameter.numel() for parameter in trained.model.parameters()),
        "training_seconds": round(seconds),
        "tokens_per_second": round(sum(r["tokens_per_second"] * r["seconds"] for r in history) / seconds),
        "best_epoch": best["epoch"],
        monitor: round(best[monitor], 2),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads"
        + (f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""),
        "torch": torch.__version__,
        "history": history,
    }
    output.mkdir(parents=True, exist_ok=True)
    (output / "training.json").write_text(json.dumps(report, indent=1) + "\n")
    trained.model = trained.model.cpu()
    trained.save_pretrained(output)
    elapsed = time.perf_counter() - started
    print(f"saved {output}: best epoch {best['epoch']}, {elapsed:.0f} s in this run")


def language_model_texts(corpus):
    """Texts to train, validate and test a language model on, whole documents in each.

    Args:
        corpus: "brown", "movie-reviews", "both" of these, or "reviews", those of this project, which
            are its own splits. Of the others every twentieth text validates, and another twentieth is
            for tests.

    Returns:
        A dictionary with the lists of texts "train", "validation" and "test".

    Raises:
        CorpusError: the corpus is not available.
    """
    if corpus == "reviews":
        reviews = load_reviews()
        return {split: list(reviews[split]["text"]) for split in ("train", "validation", "test")}
    loaders = {"brown": load_brown, "movie-reviews": load_movie_reviews}
    names = list(loaders) if corpus == "both" else [corpus]
    texts = [text for name in names for text in loaders[name]()["text"]]
    others = [text for i, text in enumerate(texts) if i % 10]
    return {"train": others, "validation": texts[::20], "test": texts[10::20]}


def train_language_model(arguments):
    """Train a language model as the command line says; returns the folder of its checkpoint."""
    started = time.perf_counter()
    texts = language_model_texts(arguments.corpus)
    if arguments.start:
        language_model = load_language_model(arguments.start)
    else:
        tokenizer = train_tokenizer(texts["train"], "en", arguments.vocabulary_size, lowercase=True)
        set_seed(arguments.seed)
        network = RecurrentLanguageModel(
            tokenizer.get_vocab_size(), arguments.embedding_size, arguments.hidden_size
        )
        language_model = LanguageModel(network, tokenizer)
    language_model.model.config |= {"dropout": arguments.dropout, "word_dropout": arguments.word_dropout}
    output, options = _prepare(arguments, f"language-model-{arguments.corpus}")
    history = fit_language_model(
        language_model,
        texts["train"][: arguments.limit],
        texts["validation"][: arguments.limit],
        window=arguments.window,
        **options,
    )
    if _is_main_process():
        _save(language_model, output, options["settings"], history, "validation_log_probability", started)
    return output


def train_masked_language_model(arguments):
    """Train a masked language model as the command line says; returns the folder of its checkpoint."""
    started = time.perf_counter()
    texts = language_model_texts(arguments.corpus)
    if arguments.start == "minilm":
        masked_model = start_from_minilm(arguments.window + 2, arguments.dropout)
        # It compared directions, so its vectors are too short to be sure of a word, and grow slowly.
        last_norm = masked_model.model.layers[-1].feed_forward_norm
        last_norm.load_state_dict({name: 4 * tensor for name, tensor in last_norm.state_dict().items()})
        trained = list(masked_model.model.layers[arguments.frozen_layers :].parameters())
        trained.append(masked_model.model.output_bias)
    else:
        tokenizer = train_tokenizer(
            texts["train"], "en", arguments.vocabulary_size, lowercase=True, mask=True
        )
        set_seed(arguments.seed)
        names = ("width", "heads", "layers", "feed_forward_size", "dropout", "norm_first")
        network = TransformerLanguageModel(
            tokenizer.get_vocab_size(),
            causal=False,
            max_length=arguments.window + 2,
            **{name: getattr(arguments, name) for name in names},
        )
        masked_model, trained = MaskedLanguageModel(network, tokenizer), list(network.parameters())
    network = masked_model.model
    # The frequencies of the words need not be learnt step by step.
    counts = masked_model.count_pieces(texts["train"])
    network.output_bias.data = ((counts + 1) / counts.sum()).log()
    network.requires_grad_(False)  # training turns it on again for what it is given
    output, options = _prepare(arguments, "masked-language-model")
    history = fit_masked_language_model(
        masked_model,
        texts["train"][: arguments.limit],
        texts["validation"][: arguments.limit],
        window=arguments.window,
        epoch_size=arguments.epoch_size,
        mask_share=arguments.mask_share,
        groups=[(trained, 1.0, 0)],
        **options,
    )
    if _is_main_process():
        _save(masked_model, output, options["settings"], history, "validation_log_probability", started)
    return output


def _is_main_process():
    return int(os.environ.get("RANK", "0")) == 0


def _prepare(arguments, name):
    """The folder of the checkpoint, and what ``_add_training_options`` offers as arguments of training.

    An old state is deleted where that was asked for.
    """
    output = Path(arguments.output or CHECKPOINTS / name)
    state_folder = Path(arguments.state or Path("runs") / output.name)
    not_settings = ("function", "output", "state", "restart", "command")
    if arguments.restart and _is_main_process():
        shutil.rmtree(state_folder, ignore_errors=True)
    settings = {k: v for k, v in vars(arguments).items() if k not in not_settings}
    names = ("epochs", "patience", "batch_size", "learning_rate", "averaging", "seed", "mixed_precision")
    options = {name: settings[name] for name in names}
    return output, options | {"state_folder": state_folder, "settings": settings}


def build_parser():
    """The command line of ``python -m utils.train``."""
    parser = argparse.ArgumentParser(
        prog="python -m utils.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="WHAT")
    translator = _add_command(
        commands, "translator", train_translator, "a translator of image captions or of the phrasebook"
    )
    add = translator.add_argument
    add("--model", choices=list(MODELS), default="gru-attention", help="which model")
    add(
        "--corpus",
        choices=["multi30k", "captions", "phrasebook"],
        default="multi30k",
        help="what to train on; captions are the 110 in data/captions.tsv, for a quick try offline",
    )
    add("--count", type=int, default=200_000, help="phrasebook: sentences to write")
    add("--max-words", type=int, default=24, help="phrasebook: length of the longest")
    add("--theme", choices=THEMES, help="phrasebook: what the sentences are about (default: everything)")
    add("--one-way", action="store_true", help="an encoder that reads in one direction")
    add("--source", choices=["en", "de", "fr"], default="en", help="language that is read")
    add("--target", choices=["en", "de", "fr"], default="fr", help="language that is written")
    add("--label-smoothing", type=float, default=0.1, help="probability spread over the vocabulary")
    add("--embedding-size", type=int, default=192, help="recurrent: width of the token vectors")
    add("--hidden-size", type=int, default=256, help="recurrent: width of the states")
    add("--width", type=int, default=192, help="transformer: width of the vectors")
    add("--heads", type=int, default=4, help="transformer: heads of each attention")
    add("--layers", type=int, default=3, help="transformer: layers of the encoder and of the decoder")
    add("--feed-forward-size", type=int, default=384, help="transformer: width inside the feed-forward")
    _add_training_options(translator, epochs=24, batch_size=64, learning_rate=3e-3, dropout=0.3)
    model = _add_command(
        commands, "language-model", train_language_model, "a recurrent language model of English"
    )
    add = model.add_argument
    add("--corpus", choices=["brown", "movie-reviews", "reviews"], default="brown", help="what to train on")
    add("--start", help="checkpoint to go on from, instead of random weights")
    add("--window", type=int, default=64, help="tokens that are predicted in one piece")
    add("--embedding-size", type=int, default=256, help="width of the token vectors")
    add("--hidden-size", type=int, default=480, help="width of the hidden state")
    add("--word-dropout", type=float, default=0.05, help="share of the words dropped in a step")
    _add_training_options(model, epochs=30, batch_size=32, learning_rate=3e-3, dropout=0.2)
    masked = _add_command(
        commands,
        "masked-language-model",
        train_masked_language_model,
        "a small BERT, which fills the gaps of English text",
    )
    add = masked.add_argument
    corpora = ["brown", "movie-reviews", "both", "reviews"]
    add("--corpus", choices=corpora, default="both", help="what to train on; both: the first two")
    add("--window", type=int, default=128, help="tokens of the longest windows, a multiple of 4")
    add("--epoch-size", type=int, default=9000, help="windows that are drawn for an epoch")
    add("--mask-share", type=float, default=0.3, help="share of the tokens that are to be guessed")
    add("--start", choices=["minilm", "random"], default="minilm", help="weights to begin with")
    add("--frozen-layers", type=int, default=2, help="minilm: lowest layers that stay as they are")
    add("--width", type=int, default=256, help="random: width of the vectors")
    add("--heads", type=int, default=4, help="random: heads of each attention")
    add("--layers", type=int, default=5, help="random: layers of the stack")
    add("--feed-forward-size", type=int, default=1024, help="random: width inside the feed-forward")
    add("--norm-first", action="store_true", help="random: the norm before each sub-layer, not after it")
    _add_training_options(masked, epochs=12, batch_size=16, learning_rate=1e-3, dropout=0.0)
    masked.set_defaults(vocabulary_size=8000, averaging=0.999)
    return parser


def _add_command(commands, name, function, summary):
    command = commands.add_parser(
        name,
        help=summary,
        description=f"Train a {name.replace('-', ' ')} and save it as a checkpoint.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    command.set_defaults(function=function)
    return command


def _add_training_options(command, **defaults):
    add = command.add_argument
    add("--epochs", type=int, help="passes over the data, at most")
    add("--patience", type=int, default=8, help="epochs without improvement before stopping early")
    add("--batch-size", type=int, help="sequences in a step of one process")
    add("--learning-rate", type=float, help="highest learning rate")
    add("--dropout", type=float, help="share of units dropped in training")
    add("--vocabulary-size", type=int, default=5000, help="sub-word pieces of each language")
    add("--averaging", type=float, default=0.0, help="running average of the weights: what it keeps a step")
    add("--seed", type=int, default=0, help="fixes everything that is drawn")
    add("--limit", type=int, help="train on the first LIMIT texts or pairs only, for a quick try")
    add("--mixed-precision", choices=["no", "bf16", "fp16"], default="no", help="precision of products")
    add("--output", help="folder of the checkpoint (default: data/checkpoints/NAME)")
    add("--state", help="folder of the resumable state (default: runs/NAME)")
    add("--restart", action="store_true", help="forget a saved state and start anew")
    command.set_defaults(**defaults)


if __name__ == "__main__":
    parsed = build_parser().parse_args()
    try:
        parsed.function(parsed)
    except (CheckpointError, CorpusError, ResumeError) as problem:
        sys.exit(f"error: {problem}")
