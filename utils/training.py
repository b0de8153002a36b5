"""Training: one loop for every model, and what teaches translators and language models with it."""

import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list, set_seed
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm.auto import tqdm

from phrasebook import phrasebook_words
from utils.models.language_models import language_model_loss
from utils.models.recurrent import RecurrentTranslationModel
from utils.models.transformer import TransformerTranslationModel
from utils.scores import exact_share, translation_scores
from utils.texts import LanguageModel
from utils.tokens import translation_batches, word_tokenizer
from utils.translator import Translator
from utils.vocabulary import PADDING_ID

History = list[dict[str, Any]]


def warm_up_cosine(step: int, total_steps: int, peak: float) -> float:
    """The learning rate of a step: it rises during a tenth of them, and falls along half a cosine."""
    rise = max(1, round(0.1 * total_steps))
    if step < rise:
        return peak * (step + 1) / rise
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, total_steps - rise)))


def train(
    model: nn.Module,
    batches: Callable[[int], list],
    loss_function: Callable[..., tuple[Tensor, int]],
    validate: Callable[[nn.Module], dict[str, float]],
    *,
    monitor: str,
    epochs: int,
    learning_rate: float,
    seed: int = 0,
    patience: int = 5,
    schedule: Callable[[int, int, float], float] = warm_up_cosine,
    groups: Iterable[tuple[Iterable[nn.Parameter], float, int]] | None = None,
    averaging: float = 0.0,
    mixed_precision: str = "no",
    state: Any = None,
) -> History:
    """Train a model and leave it with the weights of its best epoch (notebook 01, *Training, by hand*).

    It runs on one core, on a GPU, or in several processes (``accelerate launch``), and returns for each
    epoch a dictionary: loss, seconds, tokens a second, and what ``validate`` returned.

    Args:
        batches: ``batches(epoch)`` lists the batches of an epoch: as many in each, and always the same.
        loss_function: ``loss_function(model, batch)`` returns the loss and the number of tokens.
        validate: ``validate(model)`` returns figures; the largest ``monitor`` chooses the best epoch.
        epochs: passes over the data; after ``patience`` of them without a better figure it ends.
        schedule: ``schedule(step, total_steps, learning_rate)`` gives the rate of each step.
        groups: (parameters, factor, first epoch): they learn at that multiple of the rate, from that epoch
            on, counted from 0. None: all parameters alike.
        averaging: if not 0, what is validated and kept is a running average of the weights, which keeps
            this share of itself in a step (Polyak and Juditsky 1992).
        mixed_precision: "no", "bf16" or "fp16", as `accelerate` means it.
        state: a ``scripts.training_state.TrainingState``, from which a stopped training goes on.
    """
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, not {epochs}")
    AcceleratorState._reset_state()  # an earlier training in this process may have had another precision
    accelerator = Accelerator(mixed_precision=mixed_precision)
    processes, rank = accelerator.num_processes, accelerator.process_index
    set_seed(seed)
    optimizer = _adamw(groups or [(model.parameters(), 1.0, 0)], learning_rate)
    model, optimizer = accelerator.prepare(model, optimizer)
    plain = accelerator.unwrap_model(model)  # without what several processes need around it
    average = AveragedModel(plain, multi_avg_fn=get_ema_multi_avg_fn(averaging)) if averaging else None
    history, best = state.restore(plain, optimizer, average) if state else ([], {})
    watched = sys.stderr.isatty() or "ipykernel" in sys.modules  # a bar in a log file is only noise
    hidden = rank > 0 or not watched or bool(os.environ.get("CI"))

    for epoch in range(len(history), epochs):
        scores = [record[monitor] for record in history]
        if scores and len(scores) - 1 - scores.index(max(scores)) >= patience:
            break
        # What is drawn depends on the epoch alone, so a resumed training repeats an uninterrupted one.
        set_seed(seed * 1_000_003 + epoch * 1_009 + rank)
        whole_epoch = batches(epoch)
        steps = len(whole_epoch) // processes  # every process takes as many
        if not steps:
            raise ValueError(f"an epoch needs at least {processes} batches, not {len(whole_epoch)}")
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.requires_grad_(epoch >= group["first_epoch"])
        model.train()
        started, tokens, loss_sum = time.perf_counter(), 0, 0.0

        bar = {"desc": f"epoch {epoch + 1} of {epochs}", "leave": False, "disable": hidden}
        for step, batch in enumerate(tqdm(whole_epoch[rank::processes][:steps], **bar)):
            rate = schedule(epoch * steps + step, epochs * steps, learning_rate)
            for group in optimizer.param_groups:
                group["lr"] = rate * group["factor"]
            with accelerator.autocast():
                loss, count = loss_function(model, [tensor.to(accelerator.device) for tensor in batch])
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            if average is not None:
                average.update_parameters(plain)
            tokens, loss_sum = tokens + count, loss_sum + loss.item()
            if not math.isfinite(loss_sum):
                raise FloatingPointError(
                    f"the loss is no number in epoch {epoch + 1}, step {step + 1}: lower the learning rate"
                )

        seconds = time.perf_counter() - started
        record = {"epoch": epoch + 1, "loss": loss_sum / steps, "seconds": seconds}
        record["tokens_per_second"] = tokens * processes / seconds
        latest = deepcopy(plain.state_dict())
        if average is not None:
            plain.load_state_dict(average.module.state_dict())
        plain.eval()
        with torch.no_grad():  # one process validates and tells the others
            record |= broadcast_object_list([validate(plain) if rank == 0 else {}])[0]
        if not math.isfinite(record[monitor]):
            raise FloatingPointError(f"{monitor} is {record[monitor]} after epoch {epoch + 1}")
        if record[monitor] > max(scores, default=-math.inf):
            best = deepcopy(plain.state_dict())
        plain.load_state_dict(latest)
        history.append(record)
        if state:
            state.keep(latest, best, optimizer, average, history)

    plain.load_state_dict(best)
    plain.eval()
    accelerator.wait_for_everyone()
    accelerator.free_memory()
    return history


def _adamw(groups, learning_rate):
    """AdamW (Loshchilov and Hutter 2019) for groups of parameters; norms and biases are not decayed."""
    parts = []
    for parameters, factor, first_epoch in groups:
        parameters, common = list(parameters), {"factor": factor, "first_epoch": first_epoch}
        for decay, matrices in ((0.01, True), (0.0, False)):
            chosen = [parameter for parameter in parameters if (parameter.ndim > 1) == matrices]
            parts.append({"params": chosen, "weight_decay": decay} | common)
    return torch.optim.AdamW(parts, lr=learning_rate, fused=True)  # one kernel, a quarter of the time


class SmoothedCrossEntropy(torch.autograd.Function):
    """F.cross_entropy with smoothed labels, faster: its gradient is made at once, in the logits' place."""

    @staticmethod
    def forward(context: Any, logits: Tensor, expected: Tensor, smoothing: float) -> Tensor:
        """A mean over the rows of [rows, vocabulary] that are no padding; the logits are used up."""
        counted, chosen = expected != PADDING_ID, expected[:, None]
        share = counted[:, None] / counted.sum()  # of each row in the mean
        right = (1 - smoothing) * logits.gather(1, chosen) + smoothing * logits.mean(dim=1, keepdim=True)
        highest = logits.amax(dim=1, keepdim=True)
        gradient = logits.sub_(highest).exp_()
        total = gradient.sum(dim=1, keepdim=True)
        gradient.mul_(share / total).sub_(share * (smoothing / logits.size(1)))
        context.save_for_backward(gradient.scatter_add_(1, chosen, share * (smoothing - 1)))
        return ((highest + total.log() - right) * share).sum()

    @staticmethod
    def backward(context: Any, above: Tensor) -> tuple[Tensor, None, None]:
        """The gradient, times that of what follows."""
        (gradient,) = context.saved_tensors
        return gradient if above == 1 else gradient * above, None, None


def translation_loss(model: nn.Module, batch: Any, label_smoothing: float = 0.1) -> tuple[Tensor, int]:
    """Cross-entropy of the next target token (notebook 01, *Training, by hand*).

    The batch has source ids [batch, source] and target ids [batch, target], ``<s>`` and ``</s>`` included;
    smoothing gives a share of the probability to all pieces alike (Szegedy et al. 2016). Returns the mean
    loss in nats per target token, padding not counted, and the number of tokens.
    """
    source, target = batch
    expected = target[:, 1:]  # the decoder reads up to token t and is asked for token t + 1
    logits = model(source, target[:, :-1]).float().flatten(0, 1)  # [batch · (target - 1), vocabulary]
    loss = SmoothedCrossEntropy.apply(logits, expected.flatten(), label_smoothing)
    return loss, int((expected != PADDING_ID).sum())


MODELS = {  # the class, and what the name fixes
    "gru": (RecurrentTranslationModel, {"attention": False}),
    "gru-attention": (RecurrentTranslationModel, {"attention": True}),
    "transformer": (TransformerTranslationModel, {}),
}


def new_translator(
    model: str, tokenizers: dict, seed: int = 0, training_length: int = 60, **sizes: Any
) -> Translator:
    """An untrained translator: one of ``MODELS``, with sizes that its class knows.

    The tokenisers are a dictionary from language, the source first; ``training_length`` is the longest
    source sentence, in pieces, that training will see.
    """
    if model not in MODELS:
        raise ValueError(f"there is no model {model!r}; choose one of {', '.join(MODELS)}")
    model_class, fixed = MODELS[model]
    set_seed(seed)
    source, target = tokenizers.values()
    network = model_class(source.get_vocab_size(), target.get_vocab_size(), **fixed, **sizes)
    return Translator(network, source, target, tuple(tokenizers), training_length)


def phrasebook_tokenizers(*languages: str) -> dict:
    """Tokenisers of whole words, one for each language, that know all that the phrasebook writes."""
    return {language: word_tokenizer(phrasebook_words()[language], language) for language in languages}


def fit_translator(
    translator: Translator,
    pairs: Sequence[Sequence[str]],
    validation: Sequence[Sequence[str]],
    *,
    epochs: int,
    batch_size: int = 64,
    each_once: bool = False,
    label_smoothing: float = 0.1,
    monitor: str = "validation_bleu",
    seed: int = 0,
    **options: Any,
) -> History:
    """Train a translator on pairs, a list of source sentences and one of target sentences.

    ``each_once`` cuts the pairs into as many parts as there are epochs, to see each part once; options are
    those of ``train``. The history has BLEU, the share of sentences exactly right, and the loss.
    """
    sources, references = map(list, validation)
    texts, translations = map(list, pairs)
    source_ids = [one.ids[1:] for one in translator.source_tokenizer.encode_batch(texts)]  # without <s>
    target_ids = [one.ids for one in translator.target_tokenizer.encode_batch(translations)]
    part = len(source_ids) // epochs if each_once and epochs > 0 else len(source_ids)
    if not part:
        raise ValueError(f"{len(source_ids)} pairs are too few for {epochs} epochs that see each pair once")

    def batches(epoch):
        chosen = slice(epoch * part, (epoch + 1) * part) if each_once else slice(None)
        return translation_batches(source_ids[chosen], target_ids[chosen], batch_size, [seed, epoch])

    def loss(model, batch):
        return translation_loss(model, batch, label_smoothing)

    def validate(_):
        texts = [translation.text for translation in translator.translate(sources)]
        aligned = translator.align(sources, references)
        log_probability = sum(a.score * len(a.target_tokens) for a in aligned)
        return {
            "validation_bleu": translation_scores(texts, references)["bleu"],
            "validation_exact": exact_share(texts, references),
            "validation_loss": -log_probability / sum(len(a.target_tokens) for a in aligned),
        }

    options |= {"monitor": monitor, "epochs": epochs, "seed": seed}
    return train(translator.model, batches, loss, validate, **options)


def fit_language_model(
    model: LanguageModel,
    texts: Sequence[str],
    validation: Sequence[str],
    *,
    window: int = 64,
    batch_size: int = 32,
    epoch_size: int | None = None,
    seed: int = 0,
    **options: Any,
) -> History:
    """Train a language model to predict the next token of texts, cut into ``shuffled_windows``.

    The history has the perplexity per word of ``validation``, and the mean log-probability of a word, in
    nats. Taught in notebook 03, *ULMFiT: pretrain, adapt, fine-tune*; options are those of ``train``.
    """
    batches = shuffled_windows(model.encode(texts), window, batch_size, epoch_size, seed)

    def loss(network, batch):
        (tokens,) = batch
        return language_model_loss(network(tokens)[0], tokens), tokens[:, 1:].numel()

    def validate(_):
        perplexity = model.perplexity(validation)
        return {"validation_perplexity": perplexity, "validation_log_probability": -math.log(perplexity)}

    options |= {"monitor": "validation_log_probability", "seed": seed}
    return train(model.model, batches, loss, validate, **options)


def shuffled_windows(
    ids: list[list[int]], window: int, batch_size: int, epoch_size: int | None, seed: int
) -> Callable[[int], list[tuple[Tensor]]]:
    """A function that gives an epoch's batches, (tokens [batch, window + 1],), from texts as token ids.

    The texts are joined and cut elsewhere in each epoch, and ``epoch_size`` windows are drawn (None: all).
    A window shares its first token with the one before.
    """
    stream = torch.tensor([token for row in ids for token in row])
    count = len(stream) // window - 1  # at every offset there are so many
    if count < 1:
        raise ValueError(f"windows of {window} need at least {2 * window} tokens, not {len(stream)}")

    def batches(epoch):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        offset = int(torch.randint(window, (), generator=generator))
        windows = stream[offset:].unfold(0, window + 1, window)  # [windows, window + 1]
        drawn = torch.randperm(count, generator=generator)[:epoch_size]
        return [(windows[rows],) for rows in drawn.split(batch_size)]

    return batches
