"""Training of a recurrent language model that reads texts one after the other, and keeps its state."""

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from utils.texts import LanguageModel
from utils.training import train

FORGET = 0.02  # share of the rows whose state becomes zero before a window, as at the beginning of a text


def fit_stateful(
    language_model: LanguageModel,
    texts: Sequence[str],
    validation: Sequence[str],
    *,
    window: int,
    batch_size: int,
    seed: int = 0,
    **options: Any,
) -> list[dict]:
    """Train on all texts, in another order in each epoch, as ``batch_size`` rows that are read side by side.

    Gradients end where a window begins, but the state is carried on from window to window, so the model
    learns to remember (Merity et al. 2018). The history has the perplexity per word of ``validation``.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("a model that keeps its state is trained in one process")
    parts = [texts[start : start + 1000] for start in range(0, len(texts), 1000)]  # all would fill memory
    ids = [np.array(row, dtype=np.int32) for part in parts for row in language_model.encode(part)]
    if sum(map(len, ids)) < batch_size * (window + 1):
        raise ValueError(f"{batch_size} rows with windows of {window} need more text")
    state = None

    def batches(epoch):
        order = np.random.default_rng([seed, epoch]).permutation(len(ids))
        stream = torch.from_numpy(np.concatenate([ids[place] for place in order]))
        rows = stream[: len(stream) // batch_size * batch_size].view(batch_size, -1)
        starts = range(0, rows.size(1) - window, window)
        return [(rows[:, start : start + window + 1], torch.tensor(start == 0)) for start in starts]

    def loss(network, batch):
        nonlocal state
        tokens, first = batch[0].long(), bool(batch[1])  # [rows, window + 1]
        if first:
            state = None
        if state is not None:
            kept = (torch.rand(1, len(tokens), 1, device=tokens.device) >= FORGET).float()
            state = [tuple(part.detach() * kept for part in layer) for layer in state]
        logits, state = network(tokens[:, :-1], state)  # the last token is the first of the next window
        expected = tokens[:, 1:].flatten()
        return F.cross_entropy(logits.flatten(0, 1).float(), expected), expected.numel()

    def validate(_):
        perplexity = language_model.perplexity(validation)
        return {"validation_perplexity": perplexity, "validation_log_probability": -math.log(perplexity)}

    options |= {"monitor": "validation_log_probability", "seed": seed}
    return train(language_model.model, batches, loss, validate, **options)
