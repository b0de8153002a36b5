"""The recurrent encoder-decoder, with and without attention.

One class serves both, so that the two differ in nothing but the *context* that the decoder reads at each
step. Without attention it is always the encoder's last hidden state (Cho et al. 2014, section 2.2). With
attention all of the encoder's states are mixed anew at each step (Bahdanau et al. 2015, section 3.1).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from utils.models import HubModel
from utils.vocabulary import PADDING_ID


class AdditiveAttention(nn.Module):
    """Bahdanau's attention: score(s, h) = v · tanh(W s + U h) (Bahdanau et al. 2015, appendix A.1.2).

    The decoder state s asks, and the encoder states h are looked at. Built in notebook 02, *One look, by
    hand*.
    """

    def __init__(self, query_size: int, value_size: int, attention_size: int):
        super().__init__()
        self.query_projection = nn.Linear(query_size, attention_size, bias=False)
        self.key_projection = nn.Linear(value_size, attention_size, bias=False)
        self.score = nn.Linear(attention_size, 1, bias=False)

    def project_keys(self, values: Tensor) -> Tensor:
        """U h for all encoder states: the same at every step, so computed once per source."""
        return self.key_projection(values)  # [batch, source, attention_size]

    def forward(self, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Mix the values [batch, source, value_size] for one decoder step.

        The query [batch, query_size] is the decoder state before the step, the keys are
        ``project_keys(values)``, and the mask [batch, source] is True where there is a token. Gives the
        context [batch, value_size], and the weights [batch, source], which sum to 1.
        """
        hidden = torch.tanh(self.query_projection(query).unsqueeze(1) + keys)
        scores = self.score(hidden).squeeze(-1)  # [batch, source]
        weights = scores.masked_fill(~mask, -torch.inf).softmax(dim=-1)
        context = torch.bmm(weights.unsqueeze(1), values).squeeze(1)  # [batch, value_size]
        return context, weights


class RecurrentTranslationModel(HubModel):
    """A pair of gated recurrent networks; built in notebook 01, *The pair*.

    Half of a bidirectional encoder's width reads the sentence from its end: an odd one is a ValueError.
    With ``shared_embeddings`` the two languages have one vocabulary, and one matrix embeds both.
    """

    def __init__(
        self,
        source_vocabulary_size: int,
        target_vocabulary_size: int,
        attention: bool = True,
        embedding_size: int = 192,
        hidden_size: int = 256,
        bidirectional: bool = True,
        dropout: float = 0.3,
        shared_embeddings: bool = False,
    ):
        super().__init__()
        if shared_embeddings and source_vocabulary_size != target_vocabulary_size:
            raise ValueError("shared embeddings need two vocabularies of the same size")
        if bidirectional and hidden_size % 2:
            raise ValueError(f"hidden_size must be even for two directions, not {hidden_size}")
        separate = nn.Embedding(source_vocabulary_size, embedding_size, padding_idx=PADDING_ID)
        self.source_embedding = None if shared_embeddings else separate
        self.target_embedding = nn.Embedding(target_vocabulary_size, embedding_size, padding_idx=PADDING_ID)
        self.encoder = nn.GRU(
            embedding_size,
            hidden_size // 2 if bidirectional else hidden_size,
            bidirectional=bidirectional,
            batch_first=True,
        )
        self.bridge = nn.Linear(hidden_size, hidden_size)
        self.attention = AdditiveAttention(hidden_size, hidden_size, hidden_size) if attention else None
        self.decoder = nn.GRU(embedding_size + hidden_size, hidden_size, batch_first=True)
        self.readout = nn.Linear(hidden_size + hidden_size + embedding_size, embedding_size)
        # The projection to the vocabulary shares its weights with the target embedding.
        self.output_bias = nn.Parameter(torch.zeros(target_vocabulary_size))
        self.dropout = nn.Dropout(dropout)
        for embedding in filter(None, (self.source_embedding, self.target_embedding)):
            # As output weights, vectors with PyTorch's deviation of 1 would give scores far too large.
            nn.init.normal_(embedding.weight, std=embedding_size**-0.5)
            with torch.no_grad():
                embedding.weight[PADDING_ID].zero_()

    def forward(self, source: Tensor, target_in: Tensor) -> Tensor:
        """Predict every next token at once, given the true tokens before it (teacher forcing).

        Gives logits [batch, target, target_vocabulary_size] of the token after each of ``target_in``
        [batch, target], which begins with ``<s>``.
        """
        return self.decode(target_in, self.encode(source))[0]

    def encode(self, source: Tensor) -> dict[str, Tensor]:
        """Read sentences [batch, source], padded at the end: what the decoder may look at.

        That is ``last`` [batch, hidden_size], the encoder's last hidden state, and with attention also
        ``states`` and ``keys`` [batch, source, hidden_size] and ``mask`` [batch, source].
        """
        mask = source != PADDING_ID
        embedding = self.source_embedding or self.target_embedding
        embedded = self.dropout(embedding(source))  # [batch, source, embedding_size]
        packed = nn.utils.rnn.pack_padded_sequence(
            embedded, mask.sum(dim=1).cpu(), batch_first=True, enforce_sorted=False
        )
        states, last = self.encoder(packed)  # last: [directions, batch, hidden_size / directions]
        memory = {"last": torch.cat(list(last), dim=-1)}  # [batch, hidden_size]
        if self.attention is not None:
            unpacked = nn.utils.rnn.pad_packed_sequence(states, True, total_length=source.size(1))[0]
            memory |= {"states": unpacked, "keys": self.attention.project_keys(unpacked), "mask": mask}
        return memory

    def start(self, memory: dict[str, Tensor]) -> dict[str, Tensor]:
        """The decoder's state [batch, hidden_size] before the first step."""
        return {"hidden": torch.tanh(self.bridge(memory["last"]))}

    def decode(self, target_in: Tensor, memory: dict[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """Logits [batch, target, target_vocabulary_size] and attention weights [batch, target, source].

        Both are in rows of the predicted token; without attention, the weights are None.
        """
        embedded = self.dropout(self.target_embedding(target_in))  # [batch, target, embedding_size]
        hidden = self.start(memory)["hidden"].unsqueeze(0)  # [1, batch, hidden_size]
        if self.attention is None:  # one context for all steps: the recurrence runs in one call
            contexts = memory["last"].unsqueeze(1).expand(-1, target_in.size(1), -1)
            states, _ = self.decoder(torch.cat([embedded, contexts], dim=-1), hidden)
            return self._project(embedded, contexts, states), None
        steps = []
        for token in embedded.split(1, dim=1):
            state, hidden, context, weights = self._advance(token, hidden, memory)
            steps.append((context, state, weights))
        contexts, states, weights = zip(*steps, strict=True)
        # The projection to the vocabulary, the largest product of all, runs once for all steps.
        logits = self._project(embedded, torch.cat(contexts, dim=1), torch.cat(states, dim=1))
        return logits, torch.stack(weights, dim=1)

    def step(
        self, token: Tensor, state: dict[str, Tensor], memory: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor], Tensor | None]:
        """Decode one token, as in translating: the ``token`` [batch] that was written last is read next.

        Gives logits [batch, target_vocabulary_size], the state for the next step, and the attention
        weights of the predicted token [batch, source], or None.
        """
        embedded = self.target_embedding(token).unsqueeze(1)  # [batch, 1, embedding_size]
        output, hidden, context, weights = self._advance(embedded, state["hidden"].unsqueeze(0), memory)
        logits = self._project(embedded, context, output).squeeze(1)
        return logits, {"hidden": hidden.squeeze(0)}, weights

    def _advance(self, embedded, hidden, memory):
        # The state before the step asks: it has not seen the token that is about to be predicted.
        context, weights = memory["last"], None
        if self.attention is not None:
            seen = memory["keys"], memory["states"], memory["mask"]
            context, weights = self.attention(hidden.squeeze(0), *seen)
        context = context.unsqueeze(1)  # [batch, 1, hidden_size]
        state, hidden = self.decoder(torch.cat([embedded, context], dim=-1), hidden)
        return state, hidden, context, weights

    def _project(self, embedded, contexts, states):
        features = torch.cat([states, contexts, embedded], dim=-1)
        features = self.dropout(torch.tanh(self.readout(features)))  # [..., embedding_size]
        return F.linear(features, self.target_embedding.weight, self.output_bias)
