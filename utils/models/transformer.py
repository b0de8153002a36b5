"""The Transformer, encoder and decoder (Vaswani et al. 2017), built in notebook 02, *The Transformer*.

A mask is True where a position may be looked at, and has a shape that fits [batch, heads, queries, keys].
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from numpy.random import SFC64
from torch import Tensor, nn
from torch.nn import functional as F

from utils.models import HubModel
from utils.vocabulary import PADDING_ID

Mask = Tensor | None


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
    queries: Tensor, keys: Tensor, values: Tensor, mask: Mask = None
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
            raise ValueError(f"{heads} heads need a width that is a multiple of {heads}, not {width}")
        self.heads = heads
        # The matrices of queries, keys and values, one below the other, so that one product makes all three.
        self.qkv_projection = nn.Linear(width, 3 * width)
        self.output_projection = nn.Linear(width, width)

    def project(self, inputs: Tensor, first: int = 0, last: int = 3) -> tuple[Tensor, ...]:
        """Queries, keys and values of [batch, length, width], each [batch, heads, length, width / heads].

        Or some of the three: a decoder looks with queries (0 to 1) at the encoder's keys and values (1 to 3).
        """
        rows = slice(first * inputs.size(-1), last * inputs.size(-1))
        projected = F.linear(inputs, self.qkv_projection.weight[rows], self.qkv_projection.bias[rows])
        parts = projected.unflatten(-1, (last - first, self.heads, -1)).unbind(dim=2)
        return tuple(part.transpose(1, 2) for part in parts)

    def forward(
        self, queries: Tensor, keys: Tensor, values: Tensor, mask: Mask = None, need_weights: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Let queries look at keys and mix the values, all of them from ``project``.

        Gives [batch, queries, width], and the weights [batch, heads, queries, keys]. Where these are not
        needed, they are None, and PyTorch's own function is faster.
        """
        kind, parts = queries.dtype, (queries, keys, values)
        if kind == torch.bfloat16 and queries.is_cpu:  # there its way back is slow
            parts = queries.float(), keys.float(), values.float()
        with torch.autocast(queries.device.type, enabled=False):
            if need_weights:
                mixed, weights = scaled_dot_product_attention(*parts, mask)
            else:
                mixed, weights = F.scaled_dot_product_attention(*parts, mask), None
        return self.output_projection(mixed.to(kind).transpose(1, 2).flatten(2)), weights


class Dropout(nn.Dropout):
    """As in PyTorch, but on a CPU NumPy's fastest generator draws for four units, 16 bits each, at once."""

    def forward(self, input: Tensor) -> Tensor:
        if not (self.training and self.p and input.is_cpu):
            return super().forward(input)
        bits = SFC64(int(torch.randint(2**63 - 1, ()))).random_raw(input.numel() // 4 + 1).view("int16")
        kept = bits[: input.numel()] >= round(self.p * 2**16) - 2**15
        scale = torch.tensor(1 / (1 - self.p), dtype=input.dtype)  # it keeps the mean
        whole = {2: torch.int16, 4: torch.int32, 8: torch.int64}[input.element_size()]
        factors = kept * scale.view(whole).numpy()  # the bits of 0, or of the scale
        return input * torch.from_numpy(factors).view(input.dtype).view_as(input)


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
        self.dropout = Dropout(dropout)

    def forward(
        self,
        inputs: Tensor,
        mask: Mask = None,
        past: tuple[Tensor, Tensor] | None = None,
        memory: tuple[Tensor, Tensor, Tensor] | None = None,
        need_weights: bool = True,
    ) -> tuple[Tensor, tuple[Tensor, Tensor], Tensor | None, Tensor | None]:
        """Run the layer over [batch, length, width].

        The mask says where to look; ``past`` are keys and values of earlier positions, ``memory`` those of
        the encoder's output, from ``cross_attention.project``, and their mask. Gives the outputs, keys and
        values of all positions so far, and the weights of both attentions, or None.
        """
        queries, keys, values = self.self_attention.project(self.self_attention_norm(inputs))
        if past is not None:
            keys, values = torch.cat([past[0], keys], dim=2), torch.cat([past[1], values], dim=2)
        mixed, self_weights = self.self_attention(queries, keys, values, mask, need_weights)
        outputs, cross_weights = inputs + self.dropout(mixed), None
        if memory is not None:
            (queries,) = self.cross_attention.project(self.cross_attention_norm(outputs), 0, 1)
            mixed, cross_weights = self.cross_attention(queries, *memory, need_weights)
            outputs = outputs + self.dropout(mixed)
        hidden = self.activation(self.expand(self.feed_forward_norm(outputs)))
        outputs = outputs + self.dropout(self.contract(self.dropout(hidden)))
        return outputs, (keys, values), self_weights, cross_weights


@torch.no_grad()
def initialize_weights(model: nn.Module, width: int) -> None:
    """Draw projections as Glorot and Bengio (2010), and token vectors with a length of about 1."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            for projection in module.weight.chunk(3 if name.endswith("qkv_projection") else 1):
                nn.init.xavier_uniform_(projection)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=width**-0.5)
            if module.padding_idx is not None:
                module.weight[module.padding_idx].zero_()


class TransformerTranslationModel(HubModel):
    """A Transformer that reads one sentence and writes another (Vaswani et al. 2017, section 3).

    Its methods are those of ``RecurrentTranslationModel``. The attention that it gives out is that of one
    decoder layer to the source, averaged over its heads: the ``alignment_layer``, counted from 0. One that
    does not exist is a ValueError, as is a width that does not fit the heads. With ``shared_embeddings`` the
    two languages have one vocabulary, and one matrix embeds both (section 3.4).
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
        shared_embeddings: bool = False,
    ):
        super().__init__()
        if not 0 <= alignment_layer < layers:
            raise ValueError(f"alignment_layer must be from 0 to {layers - 1}, not {alignment_layer}")
        if shared_embeddings and source_vocabulary_size != target_vocabulary_size:
            raise ValueError("shared embeddings need two vocabularies of the same size")
        self.alignment_layer = alignment_layer
        separate = nn.Embedding(source_vocabulary_size, width, padding_idx=PADDING_ID)
        self.source_embedding = None if shared_embeddings else separate
        self.target_embedding = nn.Embedding(target_vocabulary_size, width, padding_idx=PADDING_ID)
        sizes = (width, heads, feed_forward_size, dropout)
        self.encoder = nn.ModuleList(TransformerLayer(*sizes) for _ in range(layers))
        self.decoder: Any = nn.ModuleList(TransformerLayer(*sizes, True) for _ in range(layers))
        # With the norm first, nothing evens out the sum that leaves the last layer.
        self.encoder_norm, self.decoder_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        # The projection to the vocabulary shares its weights with the target embedding (section 3.4).
        self.output_bias = nn.Parameter(torch.zeros(target_vocabulary_size))
        self.dropout = Dropout(dropout)
        initialize_weights(self, width)

    def forward(self, source: Tensor, target_in: Tensor) -> Tensor:
        """Logits [batch, target, target_vocabulary_size] of the token after each of ``target_in``."""
        return self._write(target_in, self.encode(source), need_weights=False)[0]

    def encode(self, source: Tensor) -> dict[Any, Tensor]:
        """The "mask" [batch, source], and keys (n, 0) and values (n, 1) for each layer n of the decoder.

        These are tensors [batch, heads, source, width / heads].
        """
        states, mask, _ = self._read(source)
        memory: dict[Any, Tensor] = {"mask": mask}
        for n, layer in enumerate(self.decoder):
            memory[n, 0], memory[n, 1] = layer.cross_attention.project(states, 1, 3)
        return memory

    def start(self, memory: dict[Any, Tensor]) -> dict[Any, Tensor]:
        """The decoder's state before the first step: it has written nothing yet."""
        return {}

    def decode(self, target_in: Tensor, memory: dict[Any, Tensor]) -> tuple[Tensor, Tensor]:
        """Logits [batch, target, target_vocabulary_size] and attention weights [batch, target, source]."""
        logits, _, _, weights = self._write(target_in, memory)
        return logits, weights[self.alignment_layer].mean(dim=1)

    def step(
        self, token: Tensor, state: dict[Any, Tensor], memory: dict[Any, Tensor]
    ) -> tuple[Tensor, dict[Any, Tensor], Tensor]:
        """Decode one token; the keys and values of earlier positions are kept, not computed again."""
        logits, state, _, weights = self._write(token[:, None], memory, state)
        return logits[:, 0], state, weights[self.alignment_layer].mean(dim=1)[:, 0]

    def attention_maps(self, source: Tensor, target_in: Tensor) -> dict[str, list[Tensor]]:
        """Lists "encoder", "decoder" and "cross": a layer's weights are [batch, heads, queries, keys]."""
        _, _, decoder, cross = self._write(target_in, self.encode(source))
        return {"encoder": self._read(source, True)[2], "decoder": list(decoder), "cross": list(cross)}

    def _embed(self, tokens, embedding, first=0):
        width, last = embedding.embedding_dim, first + tokens.size(1)
        positions = sinusoidal_positions(last, width, tokens.device)[first:]
        return self.dropout(embedding(tokens) * math.sqrt(width) + positions)  # [batch, length, width]

    def _read(self, source, need_weights=False):
        mask = source != PADDING_ID  # [batch, source]
        states, maps = self._embed(source, self.source_embedding or self.target_embedding), []
        for layer in self.encoder:
            states, _, weights, _ = layer(states, mask[:, None, None], need_weights=need_weights)
            maps.append(weights)
        return self.encoder_norm(states), mask, maps

    def _write(self, tokens, memory, state=None, need_weights=True):
        first = state[0, 0].size(2) if state else 0  # how many positions were written before
        vectors = self._embed(tokens, self.target_embedding, first)
        mask = causal_mask(tokens.size(1), tokens.device) if state is None else None
        kept, maps = {}, []
        for n, layer in enumerate(self.decoder):
            past = (state[n, 0], state[n, 1]) if state else None
            seen = memory[n, 0], memory[n, 1], memory["mask"][:, None, None]
            vectors, (kept[n, 0], kept[n, 1]), *weights = layer(vectors, mask, past, seen, need_weights)
            maps.append(weights)
        logits = F.linear(self.decoder_norm(vectors), self.target_embedding.weight, self.output_bias)
        return logits, kept, *zip(*maps, strict=True)
