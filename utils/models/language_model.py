"""A recurrent language model: it reads a text and predicts, after each token, the next one.

One layer of long short-term memory (Hochreiter and Schmidhuber 1997), whose output weights are those of
the input embedding (Press and Wolf 2017; Inan et al. 2017), with two of the dropouts of AWD-LSTM (Merity
et al. 2018, section 4): the same units of a sequence are dropped at all of its steps, and whole words are
dropped from the embedding.
"""

import torch
from torch import nn
from torch.nn import functional as F

from utils.data.tokenization import PADDING_ID


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
