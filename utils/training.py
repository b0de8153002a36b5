"""One training loop for every model, on `accelerate`, and its command line.

The same command trains on one core, on a GPU, or on several machines:

    python -m utils.train translator --model gru-attention --target fr
    accelerate launch -m utils.train translator --model gru-attention --target fr

Training continues where it was stopped or killed, from the last finished epoch.
"""

import json
import math
import os
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

from phrasebook import phrasebook_words
from utils.models.language_models import (
    language_model_loss,
    mask_tokens,
    masked_language_model_loss,
)
from utils.models.recurrent import RecurrentTranslationModel
from utils.models.transformer import TransformerTranslationModel
from utils.scores import exact_share, translation_scores
from utils.tokens import END_ID, PADDING_ID, START_ID, translation_batches, word_tokenizer
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
