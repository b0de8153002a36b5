"""A stack of Transformer layers as a language model, for experiments and for masked models from scratch."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from utils.models import HubModel
from utils.models.transformer import TransformerLayer, causal_mask, initialize_weights
from utils.vocabulary import PADDING_ID


class TransformerLanguageModel(HubModel):
    """A stack of Transformer layers as a language model: GPT with a causal mask, BERT with a full one.

    With a causal mask a position sees itself and what stands before it (Radford et al. 2018); with a full
    mask it sees the whole text (Devlin et al. 2019). Each of its ``max_length`` places has a learned vector.
    It is the ``Stack`` of notebook 04, with dropout, and with a mask of its own.
    """

    def __init__(
        self,
        vocabulary_size: int,
        causal: bool,
        width: int = 128,
        heads: int = 4,
        layers: int = 2,
        feed_forward_size: int = 512,
        dropout: float = 0.1,
        max_length: int = 128,
    ):
        super().__init__()
        self.causal, self.max_length = causal, max_length
        self.embedding = nn.Embedding(vocabulary_size, width)
        self.positions = nn.Embedding(max_length, width)
        self.layers = nn.ModuleList(
            TransformerLayer(width, heads, feed_forward_size, dropout, activation=F.gelu)
            for _ in range(layers)
        )
        self.final_norm = nn.LayerNorm(width)
        self.output_bias = nn.Parameter(torch.zeros(vocabulary_size))
        self.dropout = nn.Dropout(dropout)
        initialize_weights(self, width)

    def forward(self, tokens: Tensor, selected: Tensor | None = None) -> Tensor:
        """Predict a token at each place of [batch, time]: the next one if causal, else the one there.

        Gives logits [batch, time, vocabulary_size], or those of the places where ``selected`` is True,
        [selected places, vocabulary_size]. A text that is too long is a ValueError.
        """
        vectors = self.read(tokens)
        return self.predict(vectors if selected is None else vectors[selected])

    def read(self, tokens: Tensor) -> Tensor:
        """The vectors [batch, time, width] that leave the last layer."""
        if tokens.ndim != 2:
            raise ValueError(f"tokens must have the shape [batch, time], not {list(tokens.shape)}")
        length = tokens.size(1)
        if length > self.max_length:
            raise ValueError(f"a text has {length} tokens, but the model's places end at {self.max_length}")
        # Padding comes last, so a causal mask hides it from all that stands before it.
        full = (tokens != PADDING_ID)[:, None, None]  # [batch, 1, 1, time]
        mask = causal_mask(length, tokens.device) if self.causal else full
        vectors = self.dropout(self.embedding(tokens) + self.positions.weight[:length])
        for layer in self.layers:
            vectors = layer(vectors, mask)[0]
        return self.final_norm(vectors)

    def predict(self, vectors: Tensor) -> Tensor:
        """Logits [..., vocabulary_size] of vectors [..., width]; the embedding is used a second time."""
        return F.linear(vectors, self.embedding.weight, self.output_bias)
