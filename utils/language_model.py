"""A language model together with its tokeniser: saved, verified, loaded and used on plain text."""

from pathlib import Path

import torch
from huggingface_hub import ModelHubMixin
from tokenizers import Tokenizer

from utils.data.batches import pad, sorted_batches
from utils.data.tokenization import END_ID, PADDING_ID, START_ID, UNKNOWN_ID, encode_texts
from utils.models.language_model import RecurrentLanguageModel
from utils.pretrained import load_weights, open_checkpoint, save_checkpoint

MODEL_TYPE = "recurrent-language-model"


class LanguageModel(ModelHubMixin):
    """A ``RecurrentLanguageModel`` that reads and writes text.

    Args:
        model: the network.
        tokenizer: a ``tokenizers.Tokenizer`` that frames a text with ``<s>`` and ``</s>``.
    """

    def __init__(self, model, tokenizer):
        self.model = model
        self.tokenizer = tokenizer

    def encode(self, texts):
        """Token ids of each text, with ``<s>`` before and ``</s>`` after it; see ``encode_texts``."""
        return encode_texts(self.tokenizer, texts)

    @torch.no_grad()
    def log_probabilities(self, texts, batch_size=32):
        """Log-probability of every token of each text but the first: a list of tensors [tokens − 1]."""
        ids, results = self.encode(texts), {}
        for chunk in self._batches(ids, batch_size):
            tokens = pad([ids[i] for i in chunk])  # [batch, time]
            hidden_states, _ = self.model.read(tokens[:, :-1])
            # The logits of a whole long text would not fit into memory, so they are made in parts.
            parts = zip(hidden_states.split(128, dim=1), tokens[:, 1:].split(128, dim=1), strict=True)
            found = torch.cat([self._chosen(states, expected) for states, expected in parts], dim=1)
            results |= {i: row[: len(ids[i]) - 1] for i, row in zip(chunk, found, strict=True)}
        return [results[i] for i in range(len(ids))]

    def perplexity(self, texts):
        """Perplexity per word: e to the mean negative log-probability of a word.

        Words are what spaces separate, so models with other pieces can be compared. 1 is a model that
        is always certain and right; choosing blindly among n words gives n.
        """
        nats = -sum(row.sum().item() for row in self.log_probabilities(texts))
        return float(torch.tensor(nats / sum(len(text.split()) for text in texts)).exp())

    @torch.no_grad()
    def hidden_states(self, texts, batch_size=32):
        """The hidden state after each token: a list of tensors [tokens, hidden_size]."""
        ids, results = self.encode(texts), {}
        for chunk in self._batches(ids, batch_size):
            states, _ = self.model.read(pad([ids[i] for i in chunk]))
            results |= {i: row[: len(ids[i])] for i, row in zip(chunk, states, strict=True)}
        return [results[i] for i in range(len(ids))]

    @torch.no_grad()
    def next_pieces(self, prompt, count=5):
        """The likeliest continuations of a text: a list of ``(piece, probability)``, best first."""
        (ids,) = self.encode([prompt])
        self.model.eval()
        logits, _ = self.model(torch.tensor([ids[:-1]]))  # without </s>
        best = logits[0, -1].softmax(dim=-1).topk(count)
        pieces = map(self.tokenizer.id_to_token, best.indices.tolist())
        return list(zip(pieces, best.values.tolist(), strict=True))

    @torch.no_grad()
    def write(self, prompt, length=40, temperature=0.8, seed=0):
        """Continue a text by drawing one piece after the other.

        Args:
            prompt: how the text begins.
            length: pieces to add, at most; it ends sooner where the model ends the text.
            temperature: scores are divided by it; towards 0 the likeliest piece always wins.
            seed: fixes what is drawn.

        Returns:
            The prompt and its continuation.
        """
        if temperature <= 0:
            raise ValueError(f"temperature must be above 0, not {temperature}")
        (ids,) = self.encode([prompt])
        ids, state = ids[:-1], None
        unread, generator = torch.tensor([ids]), torch.Generator().manual_seed(seed)
        self.model.eval()
        for _ in range(length):
            logits, state = self.model(unread, state)
            scores = logits[0, -1] / temperature
            scores[[PADDING_ID, UNKNOWN_ID, START_ID]] = -torch.inf
            unread = torch.multinomial(scores.softmax(dim=-1), 1, generator=generator).unsqueeze(0)
            if unread.item() == END_ID:
                break
            ids.append(unread.item())
        return self.tokenizer.decode(ids)

    def _chosen(self, hidden_states, expected):
        logits = self.model.predict(hidden_states).float()  # [batch, part, vocabulary]
        return logits.log_softmax(dim=-1).gather(2, expected.unsqueeze(-1)).squeeze(-1)

    def _batches(self, ids, batch_size):
        self.model.eval()
        return sorted_batches([len(row) for row in ids], batch_size)

    def _save_pretrained(self, save_directory):
        save_checkpoint(self.model, self.tokenizer, MODEL_TYPE, Path(save_directory))

    @classmethod
    def _from_pretrained(cls, *, model_id, **_):
        return load_language_model(model_id)


def load_language_model(path):
    """Load a language model from a folder; nothing is ever downloaded.

    Args:
        path: the folder of a checkpoint; a bare name is looked up in ``data/checkpoints``.

    Returns:
        A ``LanguageModel``.

    Raises:
        CheckpointError: the folder is missing, damaged, or holds another kind of model.
    """
    folder, config, _ = open_checkpoint(path, MODEL_TYPE, "language model")
    model = RecurrentLanguageModel(**config)
    load_weights(model, folder)
    return LanguageModel(model.eval(), Tokenizer.from_file(str(folder / "tokenizer.json")))
