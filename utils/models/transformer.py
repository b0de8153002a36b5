"""The Transformer, encoder and decoder (Vaswani et al. 2017), built in notebook 02, *The Transformer*.

A mask is True where a position may be looked at, and has a shape that fits [batch, heads, queries, keys].
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from utils.models import HubModel
from utils.vocabulary import PADDING_ID


def causal_mask(length: int, device: torch.device | None = None) -> Tensor:
    """The mask of a decoder [length, length]: position t may look at positions 0 to t."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()


def sinusoidal_positions(length: int, width: int, device: torch.device | None = None) -> Tensor:
    """A vector for each position, [length, width] (section 3.5), built in *Self-attention, by hand*.

    Sines in the even columns, cosines in the odd ones. An odd width is a ValueError.
    """
    if width % 2:
        raise ValueError(f"sinusoidal positions need an even width, not {width}")
    rates = torch.exp(torch.arange(0, width, 2, device=device) * (-math.log(10_000.0) / width))
    angles = torch.arange(length, device=device)[:, None] * rates  # [length, width / 2]
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def scaled_dot_product_attention(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """softmax(Q Kᵀ / √d) V (equation 1), built in *Self-attention, by hand*.

    Gives the mixed values [..., queries, d], and the weights [..., queries, keys], whose rows sum to 1.
    """
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.size(-1))  # [..., queries, keys]
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    weights = scores.softmax(dim=-1)
    return weights @ values, weights


class MultiHeadAttention(nn.Module):
    """Attention with several heads (section 3.2.2), built in *Self-attention, by hand*.

    Each head is ``width / heads`` wide; a width that the heads cannot share evenly is a ValueError.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        if width % heads:
            raise ValueError(
                f"{heads} heads cannot share a width of {width}: it must be a multiple of {heads}"
            )
        self.heads = heads
        self.query_projection = nn.Linear(width, width)
        self.key_projection = nn.Linear(width, width)
        self.value_projection = nn.Linear(width, width)
        self.output_projection = nn.Linear(width, width)

    def project_keys(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of [batch, keys, width], each [batch, heads, keys, width / heads]."""
        return self._split(self.key_projection(inputs)), self._split(self.value_projection(inputs))

    def forward(
        self, inputs: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Let each of [batch, queries, width] look at keys and values that ``project_keys`` made.

        Gives [batch, queries, width], and the weights [batch, heads, queries, keys].
        """
        queries = self._split(self.query_projection(inputs))
        mixed, weights = scaled_dot_product_attention(queries, keys, values, mask)
        return self.output_projection(mixed.transpose(1, 2).flatten(2)), weights

    def _split(self, projected):
        return projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [batch, heads, length, d]


class TransformerLayer(nn.Module):
    """One layer of the encoder; with ``cross_attention``, one of the decoder (section 3.1).

    Self-attention, attention to the encoder's output, the feed-forward network: each is added to its own
    input. The layer norm stands before each of them, which trains more easily than the paper's norm after
    the addition (Xiong et al. 2020).
    """

    def __init__(
        self,
        width: int,
        heads: int,
        feed_forward_size: int,
        dropout: float,
        cross_attention: bool = False,
        activation: Callable[[Tensor], Tensor] = F.relu,
    ):
        super().__init__()
        self.activation = activation
        self.self_attention = MultiHeadAttention(width, heads)
        self.self_attention_norm = nn.LayerNorm(width)
        self.cross_attention: Any = MultiHeadAttention(width, heads) if cross_attention else None
        self.cross_attention_norm: Any = nn.LayerNorm(width) if cross_attention else None
        self.expand = nn.Linear(width, feed_forward_size)
        self.contract = nn.Linear(feed_forward_size, width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        inputs: Tensor,
        mask: Tensor | None = None,
        past: tuple[Tensor, Tensor] | None = None,
        memory: tuple[Tensor, Tensor] | None = None,
        memory_mask: Tensor | None = None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor], Tensor, Tensor | None]:
        """Run the layer over [batch, length, width].

        Args:
            mask, memory_mask: where self-attention and attention to the encoder may look.
            past: keys and values of earlier positions, from the last call.
            memory: keys and values of the encoder's output, from ``cross_attention.project_keys``.

        Returns:
            The outputs, keys and values of all positions so far, and the weights of both attentions.
        """
        vectors = self.self_attention_norm(inputs)
        keys, values = self.self_attention.project_keys(vectors)
        if past is not None:
            keys, values = torch.cat([past[0], keys], dim=2), torch.cat([past[1], values], dim=2)
        mixed, self_weights = self.self_attention(vectors, keys, values, mask)
        outputs, cross_weights = inputs + self.dropout(mixed), None
        if memory is not None:
            vectors = self.cross_attention_norm(outputs)
            mixed, cross_weights = self.cross_attention(vectors, *memory, memory_mask)
            outputs = outputs + self.dropout(mixed)
        hidden = self.activation(self.expand(self.feed_forward_norm(outputs)))
        outputs = outputs + self.dropout(self.contract(self.dropout(hidden)))
        return outputs, (keys, values), self_weights, cross_weights


def initialize_weights(model: nn.Module, width: int) -> None:
    """Draw projections as Glorot and Bengio (2010), and token vectors with a length of about 1."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=width**-0.5)
            if module.padding_idx is not None:
                with torch.no_grad():
                    module.weight[module.padding_idx].zero_()


class TransformerTranslationModel(HubModel):
    """A Transformer that reads one sentence and writes another (Vaswani et al. 2017, section 3).

    Its methods are those of ``RecurrentTranslationModel``. The attention that it gives out is that of one
    decoder layer to the source, averaged over its heads: the ``alignment_layer``, counted from 0. One that
    does not exist is a ValueError, as is a width that does not fit the heads.
    """

    def __init__(
        self,
        source_vocabulary_size: int,
        target_vocabulary_size: int,
        width: int = 192,
        heads: int = 4,
        layers: int = 3,
        feed_forward_size: int = 384,
        dropout: float = 0.3,
        alignment_layer: int = 1,
    ):
        super().__init__()
        if not 0 <= alignment_layer < layers:
            raise ValueError(f"alignment_layer must be from 0 to {layers - 1}, not {alignment_layer}")
        self.alignment_layer = alignment_layer
        self.source_embedding = nn.Embedding(source_vocabulary_size, width, padding_idx=PADDING_ID)
        self.target_embedding = nn.Embedding(target_vocabulary_size, width, padding_idx=PADDING_ID)
        sizes = (width, heads, feed_forward_size, dropout)
        self.encoder = nn.ModuleList(TransformerLayer(*sizes) for _ in range(layers))
        self.decoder: Any = nn.ModuleList(TransformerLayer(*sizes, True) for _ in range(layers))
        # With the norm first, nothing evens out the sum that leaves the last layer.
        self.encoder_norm, self.decoder_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        # The projection to the vocabulary shares its weights with the target embedding (section 3.4).
        self.output_bias = nn.Parameter(torch.zeros(target_vocabulary_size))
        self.dropout = nn.Dropout(dropout)
        initialize_weights(self, width)

    def forward(self, source: Tensor, target_in: Tensor) -> Tensor:
        """Logits [batch, target, target_vocabulary_size] of the token after each of ``target_in``."""
        return self.decode(target_in, self.encode(source))[0]

    def encode(self, source: Tensor) -> dict[str, Tensor]:
        """The ``mask`` [batch, source], and each decoder layer's ``keys`` and ``values`` of the source.

        These are tensors [batch, layers, heads, source, width / heads].
        """
        states, mask, _ = self._read(source)
        pairs = [layer.cross_attention.project_keys(states) for layer in self.decoder]
        keys, values = (torch.stack(tensors, dim=1) for tensors in zip(*pairs, strict=True))
        return {"keys": keys, "values": values, "mask": mask}

    def start(self, memory: dict[str, Tensor]) -> dict[str, Tensor]:
        """The decoder's state before the first step: no keys and values yet."""
        batch, layers, heads, _, size = memory["keys"].shape
        nothing = memory["keys"].new_empty(batch, layers, heads, 0, size)
        return {"keys": nothing, "values": nothing}

    def decode(self, target_in: Tensor, memory: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Logits [batch, target, target_vocabulary_size] and attention weights [batch, target, source]."""
        mask = causal_mask(target_in.size(1), target_in.device)
        logits, _, _, weights = self._write(target_in, memory, mask)
        return logits, weights[self.alignment_layer].mean(dim=1)

    def step(
        self, token: Tensor, state: dict[str, Tensor], memory: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Decode one token; the keys and values of earlier positions are kept, not computed again."""
        logits, presents, _, weights = self._write(token[:, None], memory, state=state)
        keys, values = (torch.stack(tensors, dim=1) for tensors in zip(*presents, strict=True))
        state = {"keys": keys, "values": values}
        return logits[:, 0], state, weights[self.alignment_layer].mean(dim=1)[:, 0]

    def attention_maps(self, source: Tensor, target_in: Tensor) -> dict[str, list[Tensor]]:
        """Lists "encoder", "decoder" and "cross": a layer's weights are [batch, heads, queries, keys]."""
        mask = causal_mask(target_in.size(1), target_in.device)
        _, _, self_weights, cross_weights = self._write(target_in, self.encode(source), mask)
        return {"encoder": self._read(source)[2], "decoder": self_weights, "cross": cross_weights}

    def _embed(self, tokens, embedding, first=0):
        width, last = embedding.embedding_dim, first + tokens.size(1)
        positions = sinusoidal_positions(last, width, tokens.device)[first:]
        return self.dropout(embedding(tokens) * math.sqrt(width) + positions)  # [batch, length, width]

    def _read(self, source):
        mask = source != PADDING_ID  # [batch, source]
        states, maps = self._embed(source, self.source_embedding), []
        for layer in self.encoder:
            states, _, weights, _ = layer(states, mask[:, None, None])
            maps.append(weights)
        return self.encoder_norm(states), mask, maps

    def _write(self, tokens, memory, mask=None, state=None):
        first = 0 if state is None else state["keys"].size(3)  # how many positions were written before
        vectors = self._embed(tokens, self.target_embedding, first)
        memory_mask = memory["mask"][:, None, None]  # [batch, 1, 1, source]
        presents, self_maps, cross_maps = [], [], []
        for index, layer in enumerate(self.decoder):
            vectors, present, self_weights, cross_weights = layer(
                vectors,
                mask,
                past=None if state is None else (state["keys"][:, index], state["values"][:, index]),
                memory=(memory["keys"][:, index], memory["values"][:, index]),
                memory_mask=memory_mask,
            )
            presents.append(present)
            self_maps.append(self_weights)
            cross_maps.append(cross_weights)
        logits = F.linear(self.decoder_norm(vectors), self.target_embedding.weight, self.output_bias)
        return logits, presents, self_maps, cross_maps
