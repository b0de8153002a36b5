"""The Transformer, encoder and decoder (Vaswani et al. 2017).

Where a recurrent network passes a state from word to word, here every position looks at all others of
its layer at once. The layers are those of the paper's figure 1. Two choices that the field made later
are switches: the norm before each sub-layer instead of after it, and learned positions.

A mask is True where a position may be looked at, and has a shape that fits [batch, heads, queries, keys].
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from utils.tokens import PADDING_ID


def causal_mask(length, device=None):
    """The mask of a decoder: position t may look at positions 0 to t. Shape [length, length]."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()


def sinusoidal_positions(length, width, device=None):
    """A vector for each position (Vaswani et al. 2017, section 3.5).

    Returns:
        [length, width]: sines in the even columns and cosines in the odd ones, with wavelengths that
        grow from 2π to 10,000 · 2π.

    Raises:
        ValueError: an odd width.
    """
    if width % 2:
        raise ValueError(f"sinusoidal positions need an even width, not {width}")
    rates = torch.exp(torch.arange(0, width, 2, device=device) * (-math.log(10_000.0) / width))
    angles = torch.arange(length, device=device)[:, None] * rates  # [length, width / 2]
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def scaled_dot_product_attention(queries, keys, values, mask=None):
    """softmax(Q Kᵀ / √d) V (Vaswani et al. 2017, equation 1).

    Args:
        queries: [..., queries, d].
        keys, values: [..., keys, d].
        mask: True where a query may look; None hides nothing.

    Returns:
        The mixed values [..., queries, d], and the weights [..., queries, keys], whose rows sum to 1.
    """
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.size(-1))  # [..., queries, keys]
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    weights = scores.softmax(dim=-1)
    return weights @ values, weights


class MultiHeadAttention(nn.Module):
    """Attention with several heads, each with its own queries, keys and values (section 3.2.2).

    Args:
        width: width of the vectors that come in and go out.
        heads: number of heads; each is ``width / heads`` wide.

    Raises:
        ValueError: a width that the heads cannot share evenly.
    """

    def __init__(self, width, heads):
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

    def project_keys(self, inputs):
        """Keys and values of [batch, keys, width], each [batch, heads, keys, width / heads]."""
        return self._split(self.key_projection(inputs)), self._split(self.value_projection(inputs))

    def forward(self, inputs, keys, values, mask=None):
        """Let each of [batch, queries, width] look at keys and values that ``project_keys`` made.

        Returns:
            [batch, queries, width], and the weights [batch, heads, queries, keys].
        """
        queries = self._split(self.query_projection(inputs))
        mixed, weights = scaled_dot_product_attention(queries, keys, values, mask)
        return self.output_projection(mixed.transpose(1, 2).flatten(2)), weights

    def _split(self, projected):
        return projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [batch, heads, length, d]


class TransformerLayer(nn.Module):
    """One layer of the encoder; with ``cross_attention``, one of the decoder (section 3.1).

    Self-attention, then attention to the encoder's output if there is one, then the feed-forward
    network: each is added to its own input, which a layer norm evens out.

    Args:
        width, heads, feed_forward_size: widths of the vectors and of the feed-forward network.
        dropout: share of units dropped in training.
        norm_first: whether the norm stands before each sub-layer (Xiong et al. 2020) or after the
            addition, as in the paper.
        cross_attention: whether the layer also looks at an encoder's output.
        activation: the non-linearity of the feed-forward network.
    """

    def __init__(
        self, width, heads, feed_forward_size, dropout, norm_first, cross_attention=False, activation=F.relu
    ):
        super().__init__()
        self.norm_first = norm_first
        self.activation = activation
        self.self_attention = MultiHeadAttention(width, heads)
        self.self_attention_norm = nn.LayerNorm(width)
        self.cross_attention = MultiHeadAttention(width, heads) if cross_attention else None
        self.cross_attention_norm = nn.LayerNorm(width) if cross_attention else None
        self.expand = nn.Linear(width, feed_forward_size)
        self.contract = nn.Linear(feed_forward_size, width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, inputs, mask=None, past=None, memory=None, memory_mask=None):
        """Run the layer.

        Args:
            inputs: [batch, length, width].
            mask: where self-attention may look.
            past: keys and values of earlier positions, from the last call, or None.
            memory: keys and values of the encoder's output, from ``cross_attention.project_keys``.
            memory_mask: where attention to the encoder may look.

        Returns:
            The outputs [batch, length, width], the keys and values of all positions so far, and the
            weights of self-attention and of attention to the encoder (None without it).
        """
        present, cross_weights = None, None

        def look_around(vectors):
            nonlocal present
            present = self.self_attention.project_keys(vectors)
            if past is not None:
                present = tuple(torch.cat(pair, dim=2) for pair in zip(past, present, strict=True))
            return self.self_attention(vectors, *present, mask)

        outputs, self_weights = self._sublayer(inputs, self.self_attention_norm, look_around)
        if self.cross_attention is not None:
            outputs, cross_weights = self._sublayer(
                outputs,
                self.cross_attention_norm,
                lambda vectors: self.cross_attention(vectors, *memory, memory_mask),
            )
        outputs, _ = self._sublayer(outputs, self.feed_forward_norm, self._feed_forward)
        return outputs, present, self_weights, cross_weights

    def _feed_forward(self, vectors):
        return self.contract(self.dropout(self.activation(self.expand(vectors)))), None

    def _sublayer(self, inputs, norm, function):
        if self.norm_first:
            added, weights = function(norm(inputs))
            return inputs + self.dropout(added), weights
        added, weights = function(inputs)
        return norm(inputs + self.dropout(added)), weights


def initialize_weights(model, width):
    """Draw a Transformer's random weights: projections as Glorot and Bengio (2010), embeddings normal.

    Args:
        model: an ``nn.Module``; its linear layers and embeddings are changed.
        width: of the vectors; a vector of an embedding has a length of about 1, that of padding is 0.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=width**-0.5)
            if module.padding_idx is not None:
                with torch.no_grad():
                    module.weight[module.padding_idx].zero_()


class TransformerTranslationModel(nn.Module):
    """A Transformer that reads one sentence and writes another (Vaswani et al. 2017, section 3).

    Args:
        source_vocabulary_size, target_vocabulary_size: number of tokens on either side.
        width: width of the vectors.
        heads: heads of each attention.
        layers: layers of the encoder, and as many of the decoder.
        feed_forward_size: width of the hidden layer in the feed-forward networks.
        dropout: share of the units that are dropped in training.
        norm_first: the norm before each sub-layer; False is the paper's way.
        positions: "sinusoidal", or "learned".
        max_length: longest sentence that learned positions can number.
        alignment_layer: the decoder layer, counted from 0, whose attention to the source is given
            out, averaged over its heads.

    Raises:
        ValueError: an unknown kind of positions, a width that does not fit the heads, or a layer that
            does not exist.
    """

    def __init__(
        self,
        source_vocabulary_size,
        target_vocabulary_size,
        width=192,
        heads=4,
        layers=3,
        feed_forward_size=384,
        dropout=0.3,
        norm_first=True,
        positions="sinusoidal",
        max_length=256,
        alignment_layer=1,
    ):
        super().__init__()
        if positions not in ("sinusoidal", "learned"):
            raise ValueError(f'positions must be "sinusoidal" or "learned", not {positions!r}')
        if not 0 <= alignment_layer < layers:
            raise ValueError(f"alignment_layer must be from 0 to {layers - 1}, not {alignment_layer}")
        self.config = {
            "source_vocabulary_size": source_vocabulary_size,
            "target_vocabulary_size": target_vocabulary_size,
            "width": width,
            "heads": heads,
            "layers": layers,
            "feed_forward_size": feed_forward_size,
            "dropout": dropout,
            "norm_first": norm_first,
            "positions": positions,
            "max_length": max_length,
            "alignment_layer": alignment_layer,
        }
        self.alignment_layer = alignment_layer
        self.source_embedding = nn.Embedding(source_vocabulary_size, width, padding_idx=PADDING_ID)
        self.target_embedding = nn.Embedding(target_vocabulary_size, width, padding_idx=PADDING_ID)
        self.source_positions = nn.Embedding(max_length, width) if positions == "learned" else None
        self.target_positions = nn.Embedding(max_length, width) if positions == "learned" else None
        sizes = (width, heads, feed_forward_size, dropout, norm_first)
        self.encoder = nn.ModuleList(TransformerLayer(*sizes) for _ in range(layers))
        self.decoder = nn.ModuleList(TransformerLayer(*sizes, cross_attention=True) for _ in range(layers))
        # With the norm first, nothing evens out the sum that leaves the last layer.
        self.encoder_norm = nn.LayerNorm(width) if norm_first else nn.Identity()
        self.decoder_norm = nn.LayerNorm(width) if norm_first else nn.Identity()
        # The projection to the vocabulary shares its weights with the target embedding (section 3.4).
        self.output_bias = nn.Parameter(torch.zeros(target_vocabulary_size))
        self.dropout = nn.Dropout(dropout)
        initialize_weights(self, width)

    def forward(self, source, target_in):
        """Predict every next token at once, given the true tokens before it (teacher forcing).

        Args:
            source: token ids [batch, source], padded at the end.
            target_in: token ids [batch, target], beginning with the start token.

        Returns:
            Logits [batch, target, target_vocabulary_size]; row t predicts the token after
            ``target_in[:, t]``.
        """
        return self.decode(target_in, self.encode(source))[0]

    def encode(self, source):
        """Read the source sentences.

        Returns:
            What the decoder may look at, a dictionary of tensors with the batch first: ``keys`` and
            ``values`` [batch, layers, heads, source, width / heads], one for each decoder layer, and
            ``mask`` [batch, source].
        """
        states, mask, _ = self._read(source)
        return self._remember(states, mask)

    def _remember(self, states, mask):
        pairs = [layer.cross_attention.project_keys(states) for layer in self.decoder]
        keys, values = (torch.stack(tensors, dim=1) for tensors in zip(*pairs, strict=True))
        return {"keys": keys, "values": values, "mask": mask}

    def start(self, memory):
        """The decoder's state before the first step: no keys and values yet, the batch first."""
        batch, layers, heads, _, size = memory["keys"].shape
        nothing = memory["keys"].new_empty(batch, layers, heads, 0, size)
        return {"keys": nothing, "values": nothing}

    def decode(self, target_in, memory):
        """Run the decoder over given tokens; the arguments are those of ``forward`` and ``step``.

        Returns:
            Logits [batch, target, target_vocabulary_size] and attention weights
            [batch, target, source], both in rows of the predicted token.
        """
        mask = causal_mask(target_in.size(1), target_in.device)
        logits, _, _, weights = self._write(target_in, memory, mask)
        return logits, weights[self.alignment_layer].mean(dim=1)

    def step(self, token, state, memory):
        """Decode one token; earlier positions are not computed again, their keys and values are kept.

        Args:
            token: ids of the previous tokens, [batch].
            state: what ``start`` or the last ``step`` returned.
            memory: what ``encode`` returned.

        Returns:
            Logits [batch, target_vocabulary_size], the new state, and the attention weights of the
            predicted token [batch, source].
        """
        logits, presents, _, weights = self._write(token[:, None], memory, state=state)
        keys, values = (torch.stack(tensors, dim=1) for tensors in zip(*presents, strict=True))
        state = {"keys": keys, "values": values}
        return logits[:, 0], state, weights[self.alignment_layer].mean(dim=1)[:, 0]

    def attention_maps(self, source, target_in):
        """The weights of every layer and head.

        Returns:
            A dictionary of lists, one tensor [batch, heads, queries, keys] for each layer: "encoder",
            "decoder" (self-attention) and "cross" (the decoder looking at the encoder).
        """
        states, source_mask, encoder_weights = self._read(source)
        memory = self._remember(states, source_mask)
        mask = causal_mask(target_in.size(1), target_in.device)
        _, _, self_weights, cross_weights = self._write(target_in, memory, mask)
        return {"encoder": encoder_weights, "decoder": self_weights, "cross": cross_weights}

    def _embed(self, tokens, embedding, positions, first=0):
        width, last = embedding.embedding_dim, first + tokens.size(1)
        if positions is None:
            numbered = sinusoidal_positions(last, width, tokens.device)[first:]
        elif last > positions.num_embeddings:
            raise ValueError(
                f"a sentence has {last} tokens, but learned positions end at {positions.num_embeddings}; "
                "train with a larger max_length"
            )
        else:
            numbered = positions.weight[first:last]
        return self.dropout(embedding(tokens) * math.sqrt(width) + numbered)  # [batch, length, width]

    def _read(self, source):
        mask = source != PADDING_ID  # [batch, source]
        states, maps = self._embed(source, self.source_embedding, self.source_positions), []
        for layer in self.encoder:
            states, _, weights, _ = layer(states, mask[:, None, None])
            maps.append(weights)
        return self.encoder_norm(states), mask, maps

    def _write(self, tokens, memory, mask=None, state=None):
        first = 0 if state is None else state["keys"].size(3)  # how many positions were written before
        vectors = self._embed(tokens, self.target_embedding, self.target_positions, first)
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
