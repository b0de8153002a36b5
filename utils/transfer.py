"""Transfer learning: a body that was trained before, and a new head for the task at hand.

A *body* turns token ids into one vector for each position; a *head* turns the vectors of a text into
scores of labels. The body may be a language model of this project or one from `transformers`.
"""

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModel

from utils.pretrained import package_file
from utils.tokens import PADDING_ID, bucketed_batches, pad, sorted_batches
from utils.training import train


class LanguageModelBody(nn.Module):
    """The hidden states of a ``RecurrentLanguageModel``, without its output layer.

    Args:
        model: the language model's network; it is used, not copied.
    """

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.width = model.config["hidden_size"]

    def forward(self, tokens, mask):
        """Hidden states [batch, time, width]; padding comes last, so it changes nothing before it."""
        return self.model.read(tokens)[0]

    def layers(self):
        """The parameters from the input upwards, in groups that can learn at different rates."""
        return [list(self.model.embedding.parameters()), list(self.model.lstm.parameters())]


class TransformersBody(nn.Module):
    """The last hidden states of an encoder from `transformers`, such as MiniLM.

    Args:
        model: what ``AutoModel`` loads; it is used, not copied.
    """

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.width = model.config.hidden_size

    def forward(self, tokens, mask):
        """Hidden states [batch, time, width] of the last layer."""
        return self.model(input_ids=tokens, attention_mask=mask.long()).last_hidden_state

    def layers(self):
        """The parameters from the input upwards: the embeddings, then layer by layer."""
        return [
            list(self.model.embeddings.parameters()),
            *(list(layer.parameters()) for layer in self.model.encoder.layer),
        ]


def load_minilm(pretrained=True):
    """Load all-MiniLM-L6-v2, a BERT encoder of 22 million parameters, from its installed package.

    Args:
        pretrained: whether its weights are loaded; if not, they are drawn from PyTorch's generator.

    Returns:
        A ``TransformersBody``, and a ``tokenizers.Tokenizer`` that cuts texts off after 512 tokens.

    Raises:
        CheckpointError: the package is not installed (the message has the command), or the weights are
            damaged.
    """
    folder = package_file("minilm").parent
    if pretrained:
        model = AutoModel.from_pretrained(folder, local_files_only=True, add_pooling_layer=False)
    else:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        model = AutoModel.from_config(config, add_pooling_layer=False)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(model.config.max_position_embeddings)
    return TransformersBody(model.eval()), tokenizer


def pool(states, mask, how="concat"):
    """One vector for each text.

    Args:
        states: [batch, time, width].
        mask: True where there is a token, [batch, time].
        how: "mean", or "concat": the last state, the largest value and the mean of each unit, side by
            side (Howard and Ruder 2018, section 3.3).

    Returns:
        [batch, width], or [batch, 3 · width] for "concat".

    Raises:
        ValueError: another way.
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


@torch.no_grad()
def text_features(body, ids, pooling="mean", batch_size=64):
    """The features of texts by a frozen body.

    Args:
        body: a module with ``width``, called as ``body(tokens, mask)``.
        ids: token ids of each text, a list of lists.
        pooling: "mean" or "concat"; see ``pool``.
        batch_size: texts that are read together.

    Returns:
        A tensor [texts, width], or [texts, 3 · width] for "concat".
    """
    body.eval()
    found = [None] * len(ids)
    for chunk in sorted_batches([len(row) for row in ids], batch_size):
        tokens = pad([ids[i] for i in chunk])  # [batch, time]
        mask = tokens != PADDING_ID
        for i, row in zip(chunk, pool(body(tokens, mask), mask, pooling), strict=True):
            found[i] = row
    return torch.stack(found)


def fit_probe(features, labels, validation, strengths=(1e-4, 1e-3, 1e-2, 1e-1, 1.0)):
    """Fit a linear head to features that stay as they are: logistic regression.

    Args:
        features: [texts, width], a tensor or an array.
        labels: the label of each text.
        validation: features and labels of other texts, which choose the regularisation.
        strengths: values of scikit-learn's C to choose from; the smaller, the stronger.

    Returns:
        A fitted pipeline of scikit-learn with ``predict`` and ``score``.
    """
    probes = [
        make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000)).fit(features, labels)
        for strength in strengths
    ]
    return max(probes, key=lambda probe: probe.score(*validation))


class TextClassifier(nn.Module):
    """A body with a head.

    Args:
        body: a module with ``width`` and ``layers()``, called as ``body(tokens, mask)``.
        labels: number of labels.
        pooling: "mean" or "concat"; see ``pool``.
        head_size: width of the head's hidden layer; 0 makes the head linear.
        dropout: share of the units that the head drops in training.
    """

    def __init__(self, body, labels=2, pooling="concat", head_size=50, dropout=0.1):
        super().__init__()
        self.body, self.pooling = body, pooling
        width = body.width * (3 if pooling == "concat" else 1)
        hidden = [nn.Linear(width, head_size), nn.ReLU(), nn.Dropout(dropout)] if head_size else []
        self.head = nn.Sequential(
            nn.LayerNorm(width), nn.Dropout(dropout), *hidden, nn.Linear(head_size or width, labels)
        )

    def forward(self, tokens):
        """Scores [batch, labels] of token ids [batch, time], padded at the end."""
        mask = tokens != PADDING_ID
        return self.head(pool(self.body(tokens, mask), mask, self.pooling))

    @torch.no_grad()
    def predict(self, ids, batch_size=64):
        """The likeliest label of each text, given as a list of token ids: a tensor [texts]."""
        self.eval()
        found = torch.empty(len(ids), dtype=torch.long)
        for chunk in sorted_batches([len(row) for row in ids], batch_size):
            found[chunk] = self(pad([ids[i] for i in chunk])).argmax(dim=-1)
        return found

    def accuracy(self, ids, labels):
        """Share of the texts whose likeliest label is the right one."""
        return (self.predict(ids) == torch.tensor(labels)).float().mean().item()


def fit_classifier(
    classifier,
    ids,
    labels,
    validation,
    *,
    epochs,
    learning_rate,
    batch_size=16,
    seed=0,
    frozen=False,
    layer_decay=1.0,
    unfreeze_every=0,
    **options,
):
    """Train a classifier; the techniques of ULMFiT (Howard and Ruder 2018, section 3.3) can be switched on.

    Args:
        classifier: a ``TextClassifier``; it is changed.
        ids: token ids of each text, a list of lists.
        labels: the label of each text, from 0.
        validation: ids and labels of other texts, which choose the best epoch.
        epochs: passes over the texts.
        learning_rate: peak rate of the head.
        batch_size: texts in a step.
        seed: fixes the order of the texts and everything else that is drawn.
        frozen: whether the body stays as it is, and the head alone learns.
        layer_decay: each group of layers learns at this share of the rate of the group above it
            (discriminative fine-tuning; the paper divides by 2.6).
        unfreeze_every: if not 0, the head learns alone at first, and after each so many epochs one
            more group of layers joins in, from above (gradual unfreezing).
        options: those of ``train``; the paper's schedule is ``schedule=slanted_triangular``.

    Returns:
        The history: for each epoch the loss, the seconds, and the accuracy on ``validation``.

    Raises:
        ValueError: no texts, or not as many labels as texts.
    """
    if not ids or len(ids) != len(labels):
        raise ValueError(f"as many labels as texts are needed, and at least one: {len(ids)}, {len(labels)}")
    head_first = list(classifier.head.parameters())
    if frozen:
        groups = [(head_first, 1.0, 0)]
        classifier.body.requires_grad_(False)
    else:
        downwards = classifier.body.layers()[::-1]
        groups = [(head_first, 1.0, 0)] + [
            (parameters, layer_decay**depth, depth * unfreeze_every)
            for depth, parameters in enumerate(downwards, start=1)
        ]
    lengths = [len(row) for row in ids]

    def batches(epoch):
        return [
            (pad([ids[i] for i in batch]), torch.tensor([labels[i] for i in batch]))
            for batch in bucketed_batches(lengths, batch_size, [seed, epoch])
        ]

    return train(
        classifier,
        batches,
        lambda model, batch: (F.cross_entropy(model(batch[0]), batch[1]), batch[0].numel()),
        lambda model: {"validation_accuracy": model.accuracy(*validation)},
        monitor="validation_accuracy",
        epochs=epochs,
        learning_rate=learning_rate,
        seed=seed,
        groups=groups,
        **options,
    )
