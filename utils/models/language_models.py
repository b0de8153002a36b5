"""A recurrent language model: it reads a text and predicts, after each token, the next one.

One layer of long short-term memory (Hochreiter and Schmidhuber 1997), whose output weights are those of
the input embedding (Press and Wolf 2017; Inan et al. 2017), with two of the dropouts of AWD-LSTM (Merity
et al. 2018, section 4): the same units of a sequence are dropped at all of its steps, and whole words are
dropped from the embedding.

One stack of Transformer layers, used in two ways: GPT and BERT.

With a causal mask a position sees itself and what stands before it, and the stack learns to predict the
next token (Radford et al. 2018). With a full mask it sees the whole text, and learns to predict tokens
that were hidden from it (Devlin et al. 2019).
"""

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from utils.models.transformer import TransformerLayer, causal_mask, initialize_weights
from utils.tokens import MASK_ID, PADDING_ID


def language_model_loss(logits, tokens, ignore_index=PADDING_ID):
    """Cross-entropy of each token, given those before it.

    Args:
        logits: [batch, time, vocabulary_size]; row t predicts token t + 1.
        tokens: token ids [batch, time]; the first is given and not predicted.
        ignore_index: tokens with this id are not counted.

    Returns:
        The mean loss in nats a token, a scalar tensor.

    Raises:
        ValueError: tensors that do not belong together, or nothing to predict.
    """
    if logits.shape[:2] != tokens.shape:
        raise ValueError(
            f"logits must have a row for each token: tokens are {tuple(tokens.shape)}, logits "
            f"{tuple(logits.shape)}"
        )
    if tokens.size(1) < 2:
        raise ValueError("there is nothing to predict: give sequences of at least two tokens")
    predicted, expected = logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()
    return F.cross_entropy(predicted.float(), expected, ignore_index=ignore_index)


def locked_dropout(vectors, share, training):
    """Drop units of [batch, time, width], the same ones at every step of a sequence (Gal 2016)."""
    if not training or not share:
        return vectors
    kept = torch.full_like(vectors[:, :1], 1 - share).bernoulli()  # [batch, 1, width]
    return vectors * kept / (1 - share)


class RecurrentLanguageModel(nn.Module):
    """Predicts the next token from a hidden state that has read all tokens before it.

    Args:
        vocabulary_size: number of sub-word pieces.
        embedding_size: width of the token vectors.
        hidden_size: width of the hidden state.
        dropout: share of the units that are dropped, of the token vectors and of the states.
        word_dropout: share of the vocabulary whose vectors are dropped in a step of training.
    """

    def __init__(self, vocabulary_size, embedding_size=256, hidden_size=480, dropout=0.2, word_dropout=0.05):
        super().__init__()
        self.config = {
            "vocabulary_size": vocabulary_size,
            "embedding_size": embedding_size,
            "hidden_size": hidden_size,
            "dropout": dropout,
            "word_dropout": word_dropout,
        }
        self.embedding = nn.Embedding(vocabulary_size, embedding_size, padding_idx=PADDING_ID)
        self.lstm = nn.LSTM(embedding_size, hidden_size, batch_first=True)
        self.projection = nn.Linear(hidden_size, embedding_size)
        self.output_bias = nn.Parameter(torch.zeros(vocabulary_size))
        # As output weights, vectors with PyTorch's deviation of 1 would give scores far too large.
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        with torch.no_grad():
            self.embedding.weight[PADDING_ID].zero_()

    def forward(self, tokens, state=None):
        """Predict the token after each of ``tokens``.

        Args:
            tokens: token ids [batch, time], padded at the end.
            state: what an earlier call returned, to read on from there.

        Returns:
            Logits [batch, time, vocabulary_size] and the new state.
        """
        hidden_states, state = self.read(tokens, state)
        return self.predict(hidden_states), state

    def read(self, tokens, state=None):
        """The hidden states [batch, time, hidden_size] after each token, and the state to read on from."""
        embedded = self.embedding(tokens)  # [batch, time, embedding_size]
        share = self.config["word_dropout"]
        if self.training and share:
            kept = torch.full((self.embedding.num_embeddings,), 1 - share, device=tokens.device)
            embedded = embedded * (kept.bernoulli() / (1 - share))[tokens].unsqueeze(-1)
        return self.lstm(locked_dropout(embedded, self.config["dropout"], self.training), state)

    def predict(self, hidden_states):
        """Logits [batch, time, vocabulary_size] of the next token, from hidden states."""
        kept = locked_dropout(hidden_states, self.config["dropout"], self.training)
        features = self.projection(kept)  # [batch, time, embedding_size]
        return F.linear(features, self.embedding.weight, self.output_bias)


ACTIVATIONS = {"gelu": F.gelu, "gelu-tanh": partial(F.gelu, approximate="tanh")}


class TransformerLanguageModel(nn.Module):
    """The layers of a Transformer as a language model, without an encoder to look at.

    Args:
        vocabulary_size: number of sub-word pieces.
        causal: True for GPT's mask, False for BERT's.
        width, heads, layers, feed_forward_size: the sizes.
        dropout: share of the units that are dropped in training.
        norm_first: the norm before each sub-layer, and one after the last layer, as in GPT-2; or after
            each sub-layer, and one after the embedding, as in BERT.
        max_length: tokens of the longest text; each place has a learned vector.
        activation: "gelu", or "gelu-tanh" for the approximation that GPT-2 uses.

    Raises:
        ValueError: a width that does not fit the heads, or an unknown activation.
    """

    def __init__(
        self,
        vocabulary_size,
        causal,
        width=128,
        heads=4,
        layers=2,
        feed_forward_size=512,
        dropout=0.1,
        norm_first=True,
        max_length=128,
        activation="gelu",
    ):
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, not {activation!r}")
        self.config = {
            "vocabulary_size": vocabulary_size,
            "causal": causal,
            "width": width,
            "heads": heads,
            "layers": layers,
            "feed_forward_size": feed_forward_size,
            "dropout": dropout,
            "norm_first": norm_first,
            "max_length": max_length,
            "activation": activation,
        }
        self.embedding = nn.Embedding(vocabulary_size, width)
        self.positions = nn.Embedding(max_length, width)
        self.embedding_norm = nn.Identity() if norm_first else nn.LayerNorm(width)
        sizes = (width, heads, feed_forward_size, dropout, norm_first)
        self.layers = nn.ModuleList(
            TransformerLayer(*sizes, activation=ACTIVATIONS[activation]) for _ in range(layers)
        )
        self.final_norm = nn.LayerNorm(width) if norm_first else nn.Identity()
        self.output_bias = nn.Parameter(torch.zeros(vocabulary_size))
        self.dropout = nn.Dropout(dropout)
        initialize_weights(self, width)

    def forward(self, tokens, state=None, selected=None):
        """Predict a token at each position: the next one if causal, else the one that stands there.

        Args:
            tokens: token ids [batch, time], padded at the end.
            state: what an earlier call returned, to read on from there; for a causal model only.
            selected: True where a prediction is wanted [batch, time]; None: everywhere.

        Returns:
            Logits [batch, time, vocabulary_size], or [selected places, vocabulary_size], and the new
            state (None unless causal).

        Raises:
            ValueError: tokens that are no matrix, a text longer than ``max_length``, or a state where
                there can be none.
        """
        vectors, state = self.read(tokens, state)
        return self.predict(vectors if selected is None else vectors[selected]), state

    def read(self, tokens, state=None):
        """The vectors [batch, time, width] that leave the last layer, and the state to read on from."""
        vectors, state, _ = self._run(tokens, state)
        return vectors, state

    def predict(self, vectors):
        """Logits [..., vocabulary_size] of vectors [..., width]; the embedding is used a second time."""
        return F.linear(vectors, self.embedding.weight, self.output_bias)

    def attention_maps(self, tokens):
        """The weights of each layer, a list of tensors [batch, heads, queries, keys]."""
        return self._run(tokens, None)[2]

    def _run(self, tokens, state):
        if tokens.ndim != 2:
            raise ValueError(f"tokens must have the shape [batch, time], not {list(tokens.shape)}")
        causal, first = self.config["causal"], 0
        if state is not None:
            if not causal:
                raise ValueError("only a causal model can read on: the others look at later tokens, too")
            first = state[0][0].size(2)
        last = first + tokens.size(1)
        if last > self.positions.num_embeddings:
            raise ValueError(
                f"a text has {last} tokens, but the model's places end at {self.positions.num_embeddings}; "
                "cut the text, or train with a larger max_length"
            )
        # Padding comes last, so a causal mask hides it from all that stands before it.
        mask = causal_mask(last, tokens.device)[first:] if causal else (tokens != PADDING_ID)[:, None, None]
        vectors = self.embedding(tokens) + self.positions.weight[first:last]
        vectors, maps, presents = self.dropout(self.embedding_norm(vectors)), [], []
        for index, layer in enumerate(self.layers):
            past = None if state is None else state[index]
            vectors, present, weights, _ = layer(vectors, mask, past)
            maps.append(weights)
            presents.append(present)
        return self.final_norm(vectors), presents if causal else None, maps


def mask_tokens(tokens, vocabulary_size, generator, share=0.15):
    """Hide tokens from a model that shall guess them (Devlin et al. 2019, section 3.1).

    In each text 15 % of the tokens are selected, at least one. Of these 80 % are replaced by
    ``[MASK]``, 10 % by a random token, and 10 % stay as they are. Special tokens are never selected, and
    none is ever put in at random; their ids are those up to ``MASK_ID``.

    Args:
        tokens: token ids [batch, time].
        vocabulary_size: random tokens are drawn from all ids below it.
        generator: a ``torch.Generator``.
        share: share of the tokens that are selected.

    Returns:
        What the model reads [batch, time], and True where a token was selected [batch, time].

    Raises:
        ValueError: a share that is not above 0 and at most 1, no matrix, or nothing to select.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, not {share}")
    if tokens.ndim != 2 or not (tokens > MASK_ID).any():
        raise ValueError(f"tokens of shape {list(tokens.shape)} hold no text that could be masked")
    ordinary = tokens > MASK_ID
    numbers = ordinary.sum(dim=1, keepdim=True)  # [batch, 1]
    wanted = (share * numbers).round().clamp(min=1).minimum(numbers)
    order = torch.rand(tokens.shape, generator=generator).masked_fill(~ordinary, 2.0).argsort(dim=1)
    selected = order.argsort(dim=1) < wanted  # the place of each token in a random order
    fate = torch.rand(tokens.shape, generator=generator)
    others = torch.randint(MASK_ID + 1, vocabulary_size, tokens.shape, generator=generator)
    inputs = tokens.masked_fill(selected & (fate < 0.8), MASK_ID)
    return torch.where(selected & (fate >= 0.9), others, inputs), selected


def masked_language_model_loss(logits, tokens, selected):
    """Cross-entropy of the selected tokens; the others do not count (Devlin et al. 2019, section 3.1).

    Args:
        logits: [selected tokens, vocabulary_size], in the order of ``tokens[selected]``.
        tokens: the true token ids [batch, time].
        selected: True where a token is to be guessed [batch, time].

    Returns:
        The mean loss in nats a selected token, a scalar tensor.

    Raises:
        ValueError: tensors that do not belong together, or nothing to predict.
    """
    if tokens.shape != selected.shape or logits.ndim != 2 or len(logits) != int(selected.sum()):
        raise ValueError(
            f"a row of logits is needed for each of {int(selected.sum())} selected tokens: logits are "
            f"{list(logits.shape)}, tokens {list(tokens.shape)}, selected {list(selected.shape)}"
        )
    if not len(logits):
        raise ValueError("there is nothing to predict: no token is selected")
    return F.cross_entropy(logits.float(), tokens[selected])
