"""Transfer learning: a body that was trained before, and a new head for the task at hand.

A *body* turns token ids into one vector for each position: ``body(tokens, mask)`` gives [batch, time,
width]. A *head* turns the vectors of a text into scores of labels.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from utils.inputs import pad, sorted_batches
from utils.tokens import bucketed_batches
from utils.training import train
from utils.vocabulary import PADDING_ID


class LanguageModelBody(nn.Module):
    """The hidden states of a ``RecurrentLanguageModel``, which is not copied (notebook 03, *ULMFiT*)."""

    def __init__(self, model: Any):
        super().__init__()
        self.model, self.width = model, model.width

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Padding comes last, so it changes nothing before it, and no mask is needed."""
        return self.model.read(tokens)[0]

    def layers(self) -> list[list[nn.Parameter]]:
        """The parameters from the input upwards, in groups that can learn at different rates."""
        return [list(part.parameters()) for part in (self.model.embedding, *self.model.layers)]


def pool(states: Tensor, mask: Tensor, how: str = "concat") -> Tensor:
    """One vector for each text; built in notebook 03, *ULMFiT: pretrain, adapt, fine-tune*.

    Of states [batch, time, width] and a mask [batch, time], True where there is a token: the "mean" [batch,
    width], or, for "concat", the last state, the largest value and the mean of each unit, side by side
    [batch, 3 · width] (Howard and Ruder 2018, section 3.3).
    """
    if how not in ("mean", "concat"):
        raise ValueError(f'texts are pooled by "mean" or "concat", not {how!r}')
    weights = mask.unsqueeze(-1).to(states.dtype)  # [batch, time, 1]
    mean = (states * weights).sum(dim=1) / weights.sum(dim=1)
    if how == "mean":
        return mean
    last = states[torch.arange(len(states)), mask.sum(dim=1) - 1]
    largest = states.masked_fill(~mask.unsqueeze(-1), -torch.inf).amax(dim=1)
    return torch.cat([last, largest, mean], dim=-1)


class TextClassifier(nn.Module):
    """A body with a new head for so many ``labels`` (notebook 03, *ULMFiT: pretrain, adapt, fine-tune*)."""

    def __init__(self, body: Any, labels: int = 2, pooling: str = "concat", dropout: float = 0.1):
        super().__init__()
        self.body, self.pooling, self.labels = body, pooling, labels
        width = body.width * (3 if pooling == "concat" else 1)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Dropout(dropout), nn.Linear(width, labels))

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores [batch, labels] of token ids [batch, time], padded at the end."""
        mask = tokens != PADDING_ID
        return self.head(pool(self.body(tokens, mask), mask, self.pooling))

    @torch.no_grad()
    def predict(self, ids: list[list[int]], batch_size: int = 64, longest: int = 1024) -> Tensor:
        """The likeliest label of each text, given as a list of token ids: [texts].

        A text of more tokens than ``longest`` is cut, with a warning; one without any is a ValueError.
        """
        self.eval()
        if not all(ids):
            raise ValueError(f"text {[*map(len, ids)].index(0)} has no tokens; give at least one word")
        if cut := [position for position, row in enumerate(ids) if len(row) > longest]:
            warnings.warn(
                f"{len(cut)} of {len(ids)} texts have more than {longest} tokens, and only so many were "
                f"read; the first of them is text {cut[0]}",
                stacklevel=2,
            )
            ids = [row[:longest] for row in ids]
        found = torch.empty(len(ids), dtype=torch.long)
        for chunk in sorted_batches([len(row) for row in ids], batch_size):
            found[chunk] = self(pad([ids[i] for i in chunk])).argmax(dim=-1)
        return found


def fit_classifier(
    classifier: TextClassifier,
    ids: list[list[int]],
    labels: Sequence[int],
    validation: tuple[list[list[int]], Sequence[int]],
    *,
    batch_size: int = 16,
    seed: int = 0,
    frozen: bool = False,
    layer_decay: float = 1.0,
    unfreeze_every: int = 0,
    **options,
) -> list[dict]:
    """Train a classifier; the techniques of ULMFiT (Howard and Ruder 2018, section 3) are switches.

    Taught in notebook 03, *ULMFiT: pretrain, adapt, fine-tune*. Returns the history of ``train``.

    Args:
        ids, labels: the token ids of each text, and its label, from 0.
        validation: ids and labels of other texts; the accuracy on them chooses the best epoch.
        frozen: whether the body stays as it is, and the head alone learns.
        layer_decay: each group of layers learns at this share of the rate of the group above it
            (discriminative fine-tuning; the paper divides by 2.6).
        unfreeze_every: if not 0, the head learns alone at first, and after each so many epochs one
            more group of layers joins in, from above (gradual unfreezing).
        options: those of ``train``; ``learning_rate`` is the head's, at its peak.

    Raises:
        ValueError: no text, another number of labels than of texts, or a label that the head does not have.
    """
    if not ids or len(ids) != len(labels):
        raise ValueError(f"as many labels as texts are needed, and at least one: {len(ids)}, {len(labels)}")
    there = range(classifier.labels)
    if wrong := [label for label in [*labels, *validation[1]] if label not in there]:
        raise ValueError(f"the head has the labels 0 to {there[-1]}, and one of those given is {wrong[0]!r}")
    classifier.body.requires_grad_(not frozen)
    layers = [] if frozen else classifier.body.layers()[::-1]
    groups = [
        (list(parameters), layer_decay**depth, depth * unfreeze_every)
        for depth, parameters in enumerate([classifier.head.parameters(), *layers])
    ]

    def batches(epoch):
        chosen = bucketed_batches([len(row) for row in ids], batch_size, [seed, epoch])
        return [(pad([ids[i] for i in rows]), torch.tensor([labels[i] for i in rows])) for rows in chosen]

    def loss(model, batch):
        return F.cross_entropy(model(batch[0]), batch[1]), batch[0].numel()

    def validate(model):
        right = model.predict(validation[0]) == torch.tensor(validation[1])
        return {"validation_accuracy": right.float().mean().item()}

    options |= {"monitor": "validation_accuracy", "seed": seed, "groups": groups}
    return train(classifier, batches, loss, validate, **options)
