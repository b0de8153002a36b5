"""Language models: a recurrent one, and a stack of Transformer layers that is GPT or BERT; their losses."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from utils.models import HubModel
from utils.models.transformer import TransformerLayer, causal_mask, initialize_weights
from utils.vocabulary import MASK_ID, PADDING_ID


def language_model_loss(logits: Tensor, tokens: Tensor, ignore_index: int = PADDING_ID) -> Tensor:
    """Cross-entropy of each token, given those before it; a mean, in nats a token.

    Row t of the logits [batch, time, vocabulary_size] predicts token t + 1 of [batch, time]; tokens with the
    id ``ignore_index`` are not counted. Built in notebook 03, *The labels are in the text: language
    modelling*. Tensors that do not belong together, or nothing to predict, are a ValueError.
    """
    shapes = f"tokens are {list(tokens.shape)}, logits {list(logits.shape)}"
    if logits.shape[:2] != tokens.shape:
        raise ValueError(f"logits must have a row for each token: {shapes}")
    if tokens.size(1) < 2:
        raise ValueError("there is nothing to predict: give sequences of at least two tokens")
    predicted, expected = logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()
    return F.cross_entropy(predicted.float(), expected, ignore_index=ignore_index)


def mask_tokens(
    tokens: Tensor,
    vocabulary_size: int,
    generator: torch.Generator,
    share: float = 0.15,
    mask_id: int = MASK_ID,
) -> tuple[Tensor, Tensor]:
    """Hide tokens from a model that shall guess them (Devlin et al. 2019, section 3.1).

    In each text a ``share`` of the tokens is selected, at least one. Of these 80 % are replaced by
    ``[MASK]``, 10 % by a random token, and 10 % stay as they are. Special tokens, those with ids up to
    ``mask_id``, are never selected, nor put in at random. Built in notebook 04, *Two objectives on the same
    text*.

    Gives what the model reads [batch, time], and True where a token was selected [batch, time]. A share
    that cannot be, no matrix, or nothing to select is a ValueError.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, not {share}")
    if tokens.ndim != 2 or not (tokens > mask_id).any():
        raise ValueError(f"tokens of shape {list(tokens.shape)} hold no text that could be masked")
    ordinary = tokens > mask_id
    numbers = ordinary.sum(dim=1, keepdim=True)  # [batch, 1]
    wanted = (share * numbers).round().clamp(min=1).minimum(numbers)
    order = torch.rand(tokens.shape, generator=generator).masked_fill(~ordinary, 2.0).argsort(dim=1)
    selected = order.argsort(dim=1) < wanted  # the place of each token in a random order
    fate = torch.rand(tokens.shape, generator=generator)
    others = torch.randint(mask_id + 1, vocabulary_size, tokens.shape, generator=generator)
    inputs = tokens.masked_fill(selected & (fate < 0.8), mask_id)
    return torch.where(selected & (fate >= 0.9), others, inputs), selected


def masked_language_model_loss(logits: Tensor, tokens: Tensor, selected: Tensor) -> Tensor:
    """Cross-entropy of the selected tokens alone (Devlin et al. 2019, section 3.1); a mean, in nats.

    The logits [selected tokens, vocabulary_size] have the order of ``tokens[selected]``. Built in notebook
    04, *Two objectives on the same text*; errors as in ``language_model_loss``.
    """
    if tokens.shape != selected.shape or logits.ndim != 2 or len(logits) != int(selected.sum()):
        raise ValueError(
            f"a row of logits is needed for each of {int(selected.sum())} selected tokens: logits are "
            f"{list(logits.shape)}, tokens {list(tokens.shape)}, selected {list(selected.shape)}"
        )
    if not len(logits):
        raise ValueError("there is nothing to predict: no token is selected")
    return F.cross_entropy(logits.float(), tokens[selected])


def locked_dropout(vectors: Tensor, share: float, training: bool) -> Tensor:
    """Drop units of [batch, time, width], the same ones at every step of a sequence (Gal 2016)."""
    if not training or not share:
        return vectors
    kept = torch.full_like(vectors[:, :1], 1 - share).bernoulli()  # [batch, 1, width]
    return vectors * kept / (1 - share)


class RecurrentLanguageModel(HubModel):
    """Predicts the next token from what layers of LSTM (Hochreiter and Schmidhuber 1997) have read.

    The output weights are those of the embedding (Press and Wolf 2017); a last layer of another width is
    projected. The dropouts are two of AWD-LSTM's (Merity et al. 2018, section 4): units of what each layer
    reads, the same at all steps of a sequence, and a share of the vocabulary. Taught in notebook 03,
    *ULMFiT: pretrain, adapt, fine-tune*.
    """

    def __init__(
        self,
        vocabulary_size: int,
        embedding_size: int = 256,
        hidden_sizes: tuple[int, ...] | list[int] = (384, 256),
        dropout: float = 0.05,
        word_dropout: float = 0.02,
    ):
        super().__init__()
        self.width, self.dropout, self.word_dropout = hidden_sizes[-1], dropout, word_dropout
        self.embedding = nn.Embedding(vocabulary_size, embedding_size, padding_idx=PADDING_ID)
        sizes = zip((embedding_size, *hidden_sizes[:-1]), hidden_sizes, strict=True)
        self.layers = nn.ModuleList(nn.LSTM(below, size, batch_first=True) for below, size in sizes)
        self.projection = nn.Linear(self.width, embedding_size) if self.width != embedding_size else None
        self.output_bias = nn.Parameter(torch.zeros(vocabulary_size))
        # As output weights, vectors with PyTorch's deviation of 1 would give scores far too large.
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        with torch.no_grad():
            self.embedding.weight[PADDING_ID].zero_()

    def forward(self, tokens: Tensor, state: list | None = None) -> tuple[Tensor, list]:
        """Logits [batch, time, vocabulary_size] of the token after each, and the state to read on from."""
        hidden_states, state = self.read(tokens, state)
        return self.predict(hidden_states), state

    def read(self, tokens: Tensor, state: list | None = None) -> tuple[Tensor, list]:
        """The last layer's states [batch, time, width] after each token, and the state to read on from."""
        vectors = self.embedding(tokens)  # [batch, time, embedding_size]
        if self.training and self.word_dropout:
            kept = torch.full((self.embedding.num_embeddings,), 1 - self.word_dropout, device=tokens.device)
            vectors = vectors * (kept.bernoulli() / (1 - self.word_dropout))[tokens].unsqueeze(-1)
        states = []
        for layer, before in zip(self.layers, state or [None] * len(self.layers), strict=True):
            vectors, after = layer(locked_dropout(vectors, self.dropout, self.training), before)
            states.append(after)
        return vectors, states

    def predict(self, hidden_states: Tensor) -> Tensor:
        """Logits [batch, time, vocabulary_size] of the next token, from hidden states."""
        if self.projection is not None:
            hidden_states = self.projection(hidden_states)  # [batch, time, embedding_size]
        return F.linear(hidden_states, self.embedding.weight, self.output_bias)


class TransformerLanguageModel(HubModel):
    """A stack of Transformer layers as a language model: GPT with a causal mask, BERT with a full one.

    With a causal mask a position sees itself and what stands before it (Radford et al. 2018); with a full
    mask it sees the whole text (Devlin et al. 2019). Each of its ``max_length`` places has a learned vector.
    Built in notebook 04, *One block, two masks*.
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
        self.causal, self.width, self.max_length = causal, width, max_length
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

    def forward(
        self, tokens: Tensor, state: list | None = None, selected: Tensor | None = None
    ) -> tuple[Tensor, list | None]:
        """Predict a token at each place of [batch, time]: the next one if causal, else the one there.

        Gives logits [batch, time, vocabulary_size], or [selected places, vocabulary_size], and a state from
        which a causal model reads on. A text that is too long is a ValueError.
        """
        vectors, state = self.read(tokens, state)
        return self.predict(vectors if selected is None else vectors[selected]), state

    def read(self, tokens: Tensor, state: list | None = None) -> tuple[Tensor, list | None]:
        """The vectors [batch, time, width] that leave the last layer, and the state to read on from."""
        vectors, state, _ = self._run(tokens, state)
        return vectors, state

    def predict(self, vectors: Tensor) -> Tensor:
        """Logits [..., vocabulary_size] of vectors [..., width]; the embedding is used a second time."""
        return F.linear(vectors, self.embedding.weight, self.output_bias)

    def attention_maps(self, tokens: Tensor) -> list[Tensor]:
        """The weights of each layer, tensors [batch, heads, queries, keys]."""
        return self._run(tokens, None, True)[2]

    def _run(self, tokens, state, need_weights=False):
        if tokens.ndim != 2:
            raise ValueError(f"tokens must have the shape [batch, time], not {list(tokens.shape)}")
        if state is not None and not self.causal:
            raise ValueError("only a causal model can read on: the others look at later tokens, too")
        first = 0 if state is None else state[0][0].size(2)
        last = first + tokens.size(1)
        if last > self.max_length:
            raise ValueError(
                f"a text has {last} tokens, but the model's places end at {self.max_length}; cut the text, "
                "or train with a larger max_length"
            )
        # Padding comes last, so a causal mask hides it from all that stands before it.
        full = (tokens != PADDING_ID)[:, None, None]
        mask = causal_mask(last, tokens.device)[first:] if self.causal else full
        vectors = self.embedding(tokens) + self.positions.weight[first:last]
        vectors, maps, presents = self.dropout(vectors), [], []
        for index, layer in enumerate(self.layers):
            past = None if state is None else state[index]
            vectors, present, weights, _ = layer(vectors, mask, past, need_weights=need_weights)
            maps.append(weights)
            presents.append(present)
        return self.final_norm(vectors), presents if self.causal else None, maps
