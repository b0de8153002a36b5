"""One training loop for every model, on `accelerate`, and its command line.

The same command trains on one core, on a GPU, or on several machines:

    python -m utils.train translator --model gru-attention --target fr
    accelerate launch -m utils.train translator --model gru-attention --target fr

Training continues where it was stopped or killed, from the last finished epoch.
"""

import argparse
import json
import math
import os
import platform
import shutil
import sys
import time
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, set_seed
from IPython import get_ipython
from safetensors import safe_open
from safetensors.torch import save_file
from torch.nn import functional as F
from tqdm.auto import tqdm

from utils.data.batches import translation_batches
from utils.data.captions import load_captions
from utils.data.corpora import CorpusError, load_brown, load_movie_reviews, load_multi30k
from utils.data.phrasebook import LANGUAGES, THEMES, phrasebook_words, write_mixture
from utils.data.reviews import load_reviews
from utils.data.tokenization import END_ID, PADDING_ID, START_ID, train_tokenizer, word_tokenizer
from utils.evaluate import exact_share, translation_scores
from utils.language_model import LanguageModel, load_language_model
from utils.masked_language_model import MaskedLanguageModel, start_from_minilm
from utils.models.language_model import RecurrentLanguageModel, language_model_loss
from utils.models.recurrent import RecurrentTranslationModel
from utils.models.transformer import TransformerTranslationModel
from utils.models.transformer_language_model import (
    TransformerLanguageModel,
    mask_tokens,
    masked_language_model_loss,
)
from utils.pretrained import CHECKPOINTS, CheckpointError
from utils.translator import Translator


class ResumeError(RuntimeError):
    """A training state does not belong to the training that is to be continued."""


def learning_rate_at(step, total_steps, peak, warm_up=0.1):
    """The learning rate of a step: a linear rise to ``peak``, then half a cosine down to zero.

    Args:
        step: the step, from 0.
        total_steps: steps of the whole training.
        peak: the highest rate.
        warm_up: share of the steps that rise.
    """
    rise = max(1, round(warm_up * total_steps))
    if step < rise:
        return peak * (step + 1) / rise
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, total_steps - rise)))


def slanted_triangular(step, total_steps, peak, warm_up=0.1, ratio=32):
    """A short linear rise and a long linear fall (Howard and Ruder 2018, equation 3).

    Args:
        step: the step, from 0.
        total_steps: steps of the whole training.
        peak: the highest rate.
        warm_up: share of the steps that rise.
        ratio: how many times smaller than the peak the lowest rate is.
    """
    rise = max(1, int(warm_up * total_steps))
    share = step / rise if step < rise else 1 - (step - rise) / max(1, total_steps - rise)
    return peak * (1 + share * (ratio - 1)) / ratio


def train(
    model,
    batches,
    loss_function,
    validate,
    *,
    monitor,
    epochs,
    learning_rate,
    state_folder=None,
    settings=None,
    seed=0,
    gradient_norm=1.0,
    weight_decay=0.01,
    patience=5,
    mixed_precision="no",
    averaging=0.0,
    groups=None,
    schedule=learning_rate_at,
):
    """Train a model and leave it with the weights of its best epoch.

    Args:
        model: any ``nn.Module``.
        batches: ``batches(epoch)`` returns the list of batches of one epoch, as many in each; the
            same epoch must give the same batches.
        loss_function: ``loss_function(model, batch)`` returns the loss and the number of tokens.
        validate: ``validate(model)`` returns a dictionary of figures.
        monitor: which of these figures chooses the best epoch; larger is better.
        epochs: how often the data are seen, at most.
        learning_rate: the peak of ``learning_rate_at``, for AdamW.
        state_folder: where the state is kept after each epoch, and looked for at the start; None
            keeps it in memory alone.
        settings: a dictionary that says what is trained; a state with other settings is refused.
        seed: fixes dropout and everything else that is drawn.
        gradient_norm: gradients longer than this are cut to it.
        weight_decay: that of AdamW.
        patience: epochs without a better figure after which training stops early.
        mixed_precision: "no", "bf16" or "fp16", as `accelerate` means it.
        averaging: if not 0, what is validated and kept is a running average of the weights, which
            keeps this share of itself at each step (Polyak and Juditsky 1992).
        groups: lists of parameters that learn in ways of their own, as triples (parameters, factor,
            first epoch): the learning rate is multiplied by the factor, and until the first epoch
            (counted from 0) they stay as they are. None: one group, all parameters.
        schedule: ``schedule(step, total_steps, learning_rate)`` gives the rate of a step.

    Returns:
        The history: one dictionary of figures for each epoch.

    Raises:
        ResumeError: the state in ``state_folder`` is of a training with other settings.
        FloatingPointError: the loss is no longer a number.
    """
    accelerator = Accelerator(mixed_precision=mixed_precision)
    set_seed(seed)
    groups = [(list(parameters), *rest) for parameters, *rest in groups or [(model.parameters(), 1.0, 0)]]
    optimizer = torch.optim.AdamW(
        [{"params": parameters} for parameters, *_ in groups], lr=learning_rate, weight_decay=weight_decay
    )
    model, optimizer = accelerator.prepare(model, optimizer)
    plain_model = accelerator.unwrap_model(model)
    processes, rank = accelerator.num_processes, accelerator.process_index
    state_file = None if state_folder is None else Path(state_folder) / "state.safetensors"
    history, best, average = [], {}, {}
    if state_file is not None and state_file.exists():
        history, best, average = _load_state(state_file, plain_model, optimizer, settings)
    weights = {name: weight.detach() for name, weight in plain_model.named_parameters()}
    if averaging:  # a state that was read lies on the CPU
        average = {
            name: average.get(name, weight).to(weight.device, copy=True) for name, weight in weights.items()
        }
    # No bar in logs and in continuous integration, where nobody watches it.
    unwatched = not accelerator.is_main_process or bool(os.environ.get("CI"))
    # None: only in a terminal. Jupyter is none, but shows the bar as a widget.
    quiet = True if unwatched else (None if get_ipython() is None else False)
    progress = tqdm(desc="training", disable=quiet, leave=False)
    for epoch in range(len(history), epochs):
        if _exhausted(history, monitor, patience):
            break
        # Everything random in an epoch depends on its number alone, so a resumed training does
        # what an uninterrupted one would have done.
        set_seed(seed * 1_000_003 + epoch * 1_009 + rank)
        epoch_batches = batches(epoch)
        steps = len(epoch_batches) // processes  # every process takes as many steps
        mine = epoch_batches[rank::processes][:steps]
        started, tokens, loss_sum = time.perf_counter(), 0, 0.0
        model.train()
        for parameters, _, first_epoch in groups:
            for parameter in parameters:
                parameter.requires_grad_(epoch >= first_epoch)
        if progress.total is None:
            progress.reset(total=epochs * steps)
            progress.update(epoch * steps)
        for index, batch in enumerate(mine):
            rate = schedule(epoch * steps + index, epochs * steps, learning_rate)
            for group, (_, factor, _) in zip(optimizer.param_groups, groups, strict=True):
                group["lr"] = rate * factor
            with accelerator.autocast():
                loss, count = loss_function(model, [tensor.to(accelerator.device) for tensor in batch])
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), gradient_norm)
            optimizer.step()
            optimizer.zero_grad()
            value = loss.item()
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"the loss became {value} in epoch {epoch + 1}, step {index + 1}; "
                    "start again with a lower learning rate"
                )
            tokens, loss_sum = tokens + count, loss_sum + value
            if averaging:
                # a long memory would hold on to the random start, so it grows with the steps
                keep = min(averaging, (epoch * steps + index + 1) / (epoch * steps + index + 10))
                torch._foreach_lerp_(list(average.values()), list(weights.values()), 1 - keep)
            progress.update()
            progress.set_postfix(loss=f"{loss_sum / (index + 1):.3f}", refresh=False)
        seconds = time.perf_counter() - started
        figures = [None]
        latest = {name: tensor.detach().clone() for name, tensor in plain_model.state_dict().items()}
        plain_model.load_state_dict(average, strict=False)
        if accelerator.is_main_process:
            plain_model.eval()
            with torch.no_grad():
                figures = [validate(plain_model)]
        # One process validates; all must agree on when to stop.
        record = {
            "epoch": epoch + 1,
            "loss": loss_sum / max(1, steps),
            "seconds": seconds,
            "tokens_per_second": tokens * processes / seconds,
            **broadcast_object_list(figures)[0],
        }
        if not math.isfinite(record[monitor]):
            raise FloatingPointError(f"{monitor} is {record[monitor]} after epoch {epoch + 1}")
        if record[monitor] > max((past[monitor] for past in history), default=-math.inf):
            best = {name: tensor.detach().clone() for name, tensor in plain_model.state_dict().items()}
        plain_model.load_state_dict(latest)
        history.append(record)
        if accelerator.is_main_process and state_file is not None:
            kept = {"model": latest, "best": best, "average": average}
            _save_state(state_file, kept, optimizer, history, settings)
            accelerator.print(json.dumps(record), flush=True)
    progress.close()
    plain_model.load_state_dict(best)
    plain_model.eval()
    accelerator.wait_for_everyone()
    accelerator.free_memory()
    return history


def _exhausted(history, monitor, patience):
    scores = [record[monitor] for record in history]
    return bool(scores) and len(scores) - 1 - scores.index(max(scores)) >= patience


def _save_state(path, groups, optimizer, history, settings):
    """Write the state as one safetensors file: completely, or not at all."""
    tensors = {f"{group}.{name}": t for group, named in groups.items() for name, t in named.items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in values.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    metadata = {"history": json.dumps(history), "settings": json.dumps(settings)}
    save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, temporary, metadata)
    os.replace(temporary, path)


def _load_state(path, model, optimizer, settings):
    groups = {"model": {}, "best": {}, "average": {}, "optimizer": {}}
    with safe_open(path, framework="pt") as file:
        saved = json.loads(file.metadata()["settings"])
        if saved != json.loads(json.dumps(settings)):
            differing = {
                name: (saved.get(name), settings.get(name))
                for name in (saved or {}) | (settings or {})
                if saved.get(name) != settings.get(name)
            }
            raise ResumeError(
                f"{path} is the state of a training with other settings (saved, asked for): "
                f"{differing}. Use those, choose another state folder, or start anew with --restart."
            )
        history = json.loads(file.metadata()["history"])
        for key in file.keys():  # noqa: SIM118 (safe_open is not a mapping)
            group, name = key.split(".", maxsplit=1)
            groups[group][name] = file.get_tensor(key)
    model.load_state_dict(groups["model"])
    moments = {}
    for key, tensor in groups["optimizer"].items():
        index, name = key.split(".", maxsplit=1)
        moments.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    return history, groups["best"], groups["average"]


def translation_loss(model, batch, label_smoothing=0.1):
    """Cross-entropy of the next target token, with label smoothing (Szegedy et al. 2016, section 7).

    Args:
        model: a translation model.
        batch: source ids [batch, source] and target ids [batch, target], ``<s>`` and ``</s>`` included.
        label_smoothing: share of the probability that is spread over the whole vocabulary.

    Returns:
        The mean loss in nats per target token (padding does not count), and the number of tokens.
    """
    source, target = batch
    expected = target[:, 1:]  # the decoder reads up to token t and is asked for token t + 1
    logits = model(source, target[:, :-1])  # [batch, target - 1, vocabulary]
    loss = F.cross_entropy(
        logits.flatten(0, 1).float(),
        expected.flatten(),
        ignore_index=PADDING_ID,
        label_smoothing=label_smoothing,
    )
    return loss, int((expected != PADDING_ID).sum())


RECURRENT_SIZES = ("embedding_size", "hidden_size", "bidirectional", "dropout")
TRANSFORMER_SIZES = ("width", "heads", "layers", "feed_forward_size", "dropout")
MODELS = {
    "gru": (RecurrentTranslationModel, RECURRENT_SIZES, {"attention": False}),
    "gru-attention": (RecurrentTranslationModel, RECURRENT_SIZES, {"attention": True}),
    "transformer": (TransformerTranslationModel, TRANSFORMER_SIZES, {}),
}


def new_translator(model, tokenizers, seed=0, training_length=60, **sizes):
    """Make a translator that has not been trained.

    Args:
        model: "gru", "gru-attention" or "transformer".
        tokenizers: a dictionary from language to tokeniser, the source first.
        seed: of the random weights.
        training_length: longest source sentence, in pieces, that training will see.
        sizes: sizes of the model, by the names that its class gives them.

    Raises:
        ValueError: an unknown model, or a size that it does not have.
    """
    if model not in MODELS:
        raise ValueError(f"there is no model {model!r}; choose one of {', '.join(MODELS)}")
    model_class, names, fixed = MODELS[model]
    unknown = [name for name in sizes if name not in names]
    if unknown:
        raise ValueError(f"a {model} model has no size {unknown[0]!r}; it has {', '.join(names)}")
    set_seed(seed)
    source, target = tokenizers.values()
    network = model_class(source.get_vocab_size(), target.get_vocab_size(), **fixed, **sizes)
    return Translator(network, source, target, tuple(tokenizers), training_length)


def phrasebook_tokenizers(*languages):
    """Tokenisers of whole words, one for each language, that know all that the phrasebook writes."""
    return {language: word_tokenizer(phrasebook_words()[language], language) for language in languages}


def fit_translator(
    translator,
    pairs,
    validation,
    *,
    epochs,
    batch_size=64,
    each_once=False,
    label_smoothing=0.1,
    monitor="validation_bleu",
    seed=0,
    **options,
):
    """Train a translator on pairs of sentences.

    Args:
        translator: what ``new_translator`` made; its model is changed.
        pairs: the source sentences and the target sentences, two lists.
        validation: the same of other sentences, which choose the best epoch.
        epochs: passes over the pairs.
        each_once: cut the pairs into as many parts as there are epochs, and see each part once.
        batch_size: pairs in a step.
        label_smoothing: share of the probability that is spread over the vocabulary.
        monitor: the figure that chooses the best epoch.
        seed: fixes the order of the pairs and everything else that is drawn.
        options: those of ``train``.

    Returns:
        The history: for each epoch the loss, the seconds, and three figures of validation: BLEU,
        the share of sentences that are exactly right, and the loss.
    """
    tokenizers = (translator.source_tokenizer, translator.target_tokenizer)
    source_ids, target_ids = (
        [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
        for tokenizer, texts in zip(tokenizers, pairs, strict=True)
    )
    source_ids = [ids[1:] for ids in source_ids]  # the encoder needs no start token
    sources, references = map(list, validation)
    part = len(source_ids) // epochs if each_once else len(source_ids)

    def batches(epoch):
        first = epoch * part if each_once else 0
        chosen = slice(first, first + part)
        return translation_batches(source_ids[chosen], target_ids[chosen], batch_size, [seed, epoch])

    def validate(model):
        texts = [translation.text for translation in translator.translate(sources)]
        aligned = translator.align(sources, references)
        log_probability = sum(a.score * len(a.target_tokens) for a in aligned)
        return {
            "validation_bleu": translation_scores(texts, references)["bleu"],
            "validation_exact": exact_share(texts, references),
            "validation_loss": -log_probability / sum(len(a.target_tokens) for a in aligned),
        }

    return train(
        translator.model,
        batches,
        lambda model, batch: translation_loss(model, batch, label_smoothing),
        validate,
        monitor=monitor,
        epochs=epochs,
        seed=seed,
        **options,
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


def fit_language_model(
    language_model, texts, validation, *, epochs, window=64, batch_size=32, seed=0, **options
):
    """Train a language model on running text.

    The text is cut into windows, which are shuffled and read from a fresh state; where the cuts fall
    changes with each epoch.

    Args:
        language_model: a ``LanguageModel``; its model is changed.
        texts: what to learn from, a list of strings.
        validation: other texts, which choose the best epoch.
        epochs: passes over the texts.
        window: tokens that are predicted in one piece.
        batch_size: windows in a step.
        seed: fixes the order of the windows and everything else that is drawn.
        options: those of ``train``.

    Returns:
        The history: for each epoch the loss, the seconds, and of the validation texts the perplexity
        per word and the mean log-probability of a word, in nats.

    Raises:
        ValueError: the texts are too short for two windows.
    """
    stream, count = _stream(language_model, texts, window)

    def batches(epoch):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        offset = int(torch.randint(window, (), generator=generator))
        windows = stream[offset:].unfold(0, window + 1, window)  # [windows, window + 1]; one token shared
        return [(windows[rows],) for rows in torch.randperm(count, generator=generator).split(batch_size)]

    def validate(_):
        perplexity = language_model.perplexity(validation)
        return {"validation_perplexity": perplexity, "validation_log_probability": -math.log(perplexity)}

    def loss_function(model, batch):
        (tokens,) = batch
        return language_model_loss(model(tokens)[0], tokens), tokens[:, 1:].numel()

    return train(
        language_model.model,
        batches,
        loss_function,
        validate,
        monitor="validation_log_probability",
        epochs=epochs,
        seed=seed,
        **options,
    )


def fit_masked_language_model(
    masked_model,
    texts,
    validation,
    *,
    epochs,
    window=64,
    batch_size=32,
    seed=0,
    epoch_size=None,
    mask_share=0.15,
    **options,
):
    """Train a masked language model on running text.

    The text is cut into windows, which are shuffled. Where the cuts fall and what is hidden changes with
    each epoch. Each batch is cut once more, into halves or quarters, or not at all, so that the model
    learns to read short texts, too.

    Args:
        masked_model: a ``MaskedLanguageModel``; its model is changed.
        texts: what to learn from, a list of strings.
        validation: other texts, which choose the best epoch.
        epochs: passes over the texts.
        window: tokens of the longest windows, a multiple of 4; ``<s>`` and ``</s>`` are added.
        batch_size: windows in a step.
        seed: fixes what is hidden and everything else that is drawn.
        epoch_size: windows that are drawn for an epoch; None: all.
        mask_share: share of the tokens that are selected; see ``mask_tokens``.
        options: those of ``train``.

    Returns:
        The history: for each epoch the loss, the seconds, and what ``guess_words`` finds on the validation
        texts: the mean log-probability of a hidden word, in nats, and the share of them that are among
        the model's first five.

    Raises:
        ValueError: a window that cannot be quartered, or that is too long for the model, or texts that
            are too short for two windows.
    """
    vocabulary_size, longest = (masked_model.model.config[k] for k in ("vocabulary_size", "max_length"))
    longest -= 2  # without <s> and </s>
    if window % 4 or not 0 < window <= longest:
        raise ValueError(f"the window must be a multiple of 4 and at most {longest}, not {window}")
    stream, count = _stream(masked_model, texts, window)

    def batches(epoch):
        generator, cut = torch.Generator().manual_seed(seed * 1_000_003 + epoch), []
        offset = int(torch.randint(window, (), generator=generator))
        windows = stream[offset:].unfold(0, window, window)
        for rows in torch.randperm(count, generator=generator)[:epoch_size].split(batch_size):
            parts = 2 ** int(torch.randint(3, (), generator=generator))
            tokens = F.pad(windows[rows].reshape(len(rows) * parts, -1), (1, 1), value=END_ID)
            tokens[:, 0] = START_ID  # [batch, window / parts + 2]
            cut.append((tokens, *mask_tokens(tokens, vocabulary_size, generator, mask_share)))
        return cut

    def validate(_):
        _, log_probabilities, ranks = masked_model.guess_words(validation)
        return {
            "validation_log_probability": log_probabilities.mean().item(),
            "validation_top5": (ranks < 5).float().mean().item(),
        }

    def loss_function(model, batch):
        tokens, inputs, selected = batch
        logits, _ = model(inputs, selected=selected)
        return masked_language_model_loss(logits, tokens, selected), tokens.numel()

    return train(
        masked_model.model,
        batches,
        loss_function,
        validate,
        monitor="validation_log_probability",
        epochs=epochs,
        seed=seed,
        **options,
    )


def _stream(language_model, texts, window):
    """The tokens of all texts, one after the other, and how many windows they hold at every offset."""
    stream = torch.tensor([token for ids in language_model.encode(texts) for token in ids])
    count = len(stream) // window - 1
    if count < 1:
        raise ValueError(
            f"the texts have {len(stream)} tokens; windows of {window} need at least {2 * window}"
        )
    return stream, count


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
