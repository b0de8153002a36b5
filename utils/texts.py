"""Language models together with their tokenisers: loaded, saved, and used on plain text."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelHubMixin
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

from utils.models.language_models import RecurrentLanguageModel, TransformerLanguageModel
from utils.pretrained import CheckpointError, load_network, open_checkpoint, package_file, save_checkpoint
from utils.tokens import (
    check_count,
    check_texts,
    encode_texts,
    framed_windows,
    load_tokenizer,
    pad,
    sorted_batches,
)
from utils.vocabulary import (
    END,
    END_ID,
    MASK,
    PADDING,
    PADDING_ID,
    START,
    START_ID,
    UNKNOWN,
    UNKNOWN_ID,
    WORD_SIGN,
)

NETWORKS = {network.__name__: network for network in (RecurrentLanguageModel, TransformerLanguageModel)}


class LanguageModel(ModelHubMixin):
    """A causal network that reads and writes text, by a tokeniser that frames it: ``<s> text </s>``."""

    def __init__(self, model: RecurrentLanguageModel | TransformerLanguageModel, tokenizer: Tokenizer):
        self.model = model
        self.tokenizer = tokenizer

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, with ``<s>`` before and ``</s>`` after it; see ``encode_texts``."""
        return encode_texts(self.tokenizer, texts)

    @torch.no_grad()
    def log_probabilities(self, texts: Sequence[str], batch_size: int = 32) -> list[Tensor]:
        """Log-probability of every token of each text but the first: tensors [tokens − 1], in nats."""
        ids, results = self.encode(texts), {}
        for chunk, tokens in self._batches(ids, batch_size):
            hidden_states, _ = self.model.read(tokens[:, :-1])
            # The logits of a whole long text would not fit into memory, so they are made in parts.
            parts = zip(hidden_states.split(128, dim=1), tokens[:, 1:].split(128, dim=1), strict=True)
            found = torch.cat([self._chosen(states, expected) for states, expected in parts], dim=1)
            results |= {i: row[: len(ids[i]) - 1] for i, row in zip(chunk, found, strict=True)}
        return [results[i] for i in range(len(ids))]

    def perplexity(self, texts: Sequence[str]) -> float:
        """Perplexity per word: e to the mean negative log-probability of a word.

        Words are what spaces separate, so models with other pieces can be compared. Choosing blindly among
        n words gives n. Taught in notebook 03, *The labels are in the text: language modelling*.
        """
        nats = -sum(row.sum().item() for row in self.log_probabilities(texts))
        return float(torch.tensor(nats / sum(len(text.split()) for text in texts)).exp())

    @torch.no_grad()
    def hidden_states(self, texts: Sequence[str], batch_size: int = 32) -> list[Tensor]:
        """The last layer's state after each token: tensors [tokens, width]."""
        ids, results = self.encode(texts), {}
        for chunk, tokens in self._batches(ids, batch_size):
            states, _ = self.model.read(tokens)
            results |= {i: row[: len(ids[i])] for i, row in zip(chunk, states, strict=True)}
        return [results[i] for i in range(len(ids))]

    @torch.no_grad()
    def next_pieces(self, prompt: str, count: int = 5) -> list[tuple[str, float]]:
        """The likeliest continuations of a text: pairs ``(piece, probability)``, best first."""
        check_count("count", count, self.tokenizer.get_vocab_size())
        logits, _ = self._next(self.encode([prompt])[0][:-1], None)  # without </s>
        best = logits.softmax(dim=-1).topk(count)
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return [(str(self.tokenizer.id_to_token(index)), p) for index, p in pairs]

    @torch.no_grad()
    def write(self, prompt: str, length: int = 40, temperature: float = 0.8, seed: int = 0) -> str:
        """Continue a text by drawing one piece after the other; a Transformer sees its latest tokens.

        Args:
            prompt: how the text begins; it is part of what is returned.
            length: pieces to add, at most; it ends sooner where the model ends the text.
            temperature: scores are divided by it; towards 0 the likeliest piece always wins.
            seed: fixes what is drawn.
        """
        if temperature <= 0:
            raise ValueError(f"temperature must be above 0, not {temperature}")
        ids, state = self.encode([prompt])[0][:-1], None
        generator = torch.Generator().manual_seed(seed)
        for _ in range(length):
            logits, state = self._next(ids, state)
            logits[[PADDING_ID, UNKNOWN_ID, START_ID]] = -torch.inf
            drawn = torch.multinomial((logits / temperature).softmax(dim=-1), 1, generator=generator).item()
            if drawn == END_ID:
                break
            ids.append(int(drawn))
        return self.tokenizer.decode(ids)

    def _next(self, ids, state):
        """Logits [vocabulary_size] after a text, of which the last token is new if there is a state."""
        self.model.eval()
        longest = getattr(self.model, "max_length", None)
        if longest and len(ids) > longest:
            ids, state = ids[-longest:], None  # each token moves one place down, so all are read anew
        logits, state = self.model(torch.tensor([ids if state is None else ids[-1:]]), state)
        return logits[0, -1], state

    def _chosen(self, hidden_states, expected):
        logits = self.model.predict(hidden_states).float()  # [batch, part, vocabulary]
        return logits.log_softmax(dim=-1).gather(2, expected.unsqueeze(-1)).squeeze(-1)

    def _batches(self, ids, batch_size):
        self.model.eval()
        for chunk in sorted_batches([len(row) for row in ids], batch_size):
            yield chunk, pad([ids[i] for i in chunk])  # [batch, time]

    def _save_pretrained(self, save_directory: Path) -> None:
        save_checkpoint(save_directory, self.model, {"tokenizer": self.tokenizer})

    @classmethod
    def from_pretrained(cls, name: str | Path, **overrides) -> "LanguageModel":
        """``load_language_model``."""
        return load_language_model(name, **overrides)


def load_language_model(name: str | Path, **overrides: Any) -> LanguageModel:
    """Load a causal language model, which ``find_folder`` finds, in evaluation mode.

    The ``overrides`` are arguments of the network that may differ, such as ``dropout``. A
    ``CheckpointError`` says that the folder is missing, damaged, or holds another kind of model.
    """
    folder, config = open_checkpoint(name, NETWORKS, "language model")
    if config.get("causal") is False:
        raise CheckpointError(f"{folder} holds a masked language model, not a causal one")
    network = load_network(folder, NETWORKS[config["model_type"]], **overrides)
    return LanguageModel(network, load_tokenizer(folder / "tokenizer.json"))


class MaskedLanguageModel:
    """A masked language model that fills the gaps of a text; taught in notebook 04.

    The model is a ``BertForMaskedLM``, which with the tokeniser goes into ``pipeline("fill-mask")``, too; or
    a ``TransformerLanguageModel`` that is not causal, with a ``tokenizers.Tokenizer`` that has ``[MASK]``.
    """

    def __init__(self, model: Any, tokenizer: Any):
        if getattr(model, "causal", False):
            raise ValueError("a causal model cannot fill gaps: it does not see what follows them")
        if isinstance(tokenizer, Tokenizer):
            from transformers import PreTrainedTokenizerFast  # imported here, because it takes long

            names = {"pad_token": PADDING, "unk_token": UNKNOWN, "cls_token": START, "sep_token": END}
            if tokenizer.token_to_id(MASK) is not None:
                names["mask_token"] = MASK
            tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)
        if tokenizer.mask_token_id is None:
            raise ValueError(f"the tokeniser has no {MASK}; make it with train_tokenizer(..., mask=True)")
        self.model, self.tokenizer = model, tokenizer
        self.vocabulary_size = len(tokenizer)
        own = isinstance(model, TransformerLanguageModel)
        self.max_length = model.max_length if own else model.config.max_position_embeddings

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, framed; a control token other than ``[MASK]`` is a ValueError."""
        check_texts(texts)
        for position, text in enumerate(texts):
            if found := [t for t in self.tokenizer.all_special_tokens if t in text and t != MASK]:
                raise ValueError(f"text {position} has the control token {found[0]}; only {MASK} may be used")
        return encode_texts(self.tokenizer.backend_tokenizer, texts)

    def logits_at(self, inputs: Tensor, selected: Tensor) -> Tensor:
        """Logits [selected places, vocabulary_size] of what stands at the places selected in ``inputs``."""
        if inputs.size(1) > self.max_length:
            raise ValueError(
                f"a text has {inputs.size(1)} tokens, but the model's places end at {self.max_length}"
            )
        if isinstance(self.model, TransformerLanguageModel):
            return self.model(inputs, selected=selected)[0]
        there = (inputs != self.tokenizer.pad_token_id).long()
        return self.model.cls(self.model.bert(inputs, attention_mask=there).last_hidden_state[selected])

    @torch.no_grad()
    def log_probabilities_at(self, inputs: Tensor, selected: Tensor) -> Tensor:
        """Log-probabilities [selected places, vocabulary_size] of what stands there.

        The inputs are token ids [batch, time], with ``[MASK]`` where the model shall guess; ``selected`` is
        True at the places that are asked for.
        """
        self.model.eval()
        return self.logits_at(inputs, selected).float().log_softmax(dim=-1)

    def fill(self, text: str, count: int = 5) -> list[list[tuple[str, float]]]:
        """For each ``[MASK]`` of a text the likeliest pairs ``(word, probability)``, as if others stayed.

        A text without a mask, or one that is too long for the model, is a ValueError.
        """
        check_count("count", count, self.vocabulary_size)
        tokens = torch.tensor(self.encode([text]))  # [1, time]
        masks = tokens == self.tokenizer.mask_token_id
        if not masks.any():
            raise ValueError(f"there is nothing to fill: write {MASK} where a word is missing in {text!r}")
        best = self.log_probabilities_at(tokens, masks).exp().topk(count)
        pieces = [self.tokenizer.convert_ids_to_tokens(row) for row in best.indices.tolist()]
        return [
            [(piece.strip(WORD_SIGN), p) for piece, p in zip(*pair, strict=True)]
            for pair in zip(pieces, best.values.tolist(), strict=True)
        ]

    def guess_words(
        self, texts: Sequence[str], share: float = 0.15, seed: int = 0, batch_size: int = 32, size: int = 130
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Hide a share of the ``whole_words`` of texts, cut into windows of ``size`` tokens, and guess them.

        Returns:
            Three tensors [words]: the ids of the hidden words, their log-probabilities, and how many
            pieces the model finds likelier than each (a rank below 5 is among its first five).
        """
        size = min(size, self.max_length)
        windows = [window for ids in self.encode(texts) for window in framed_windows(ids, size)]
        generator, results = torch.Generator().manual_seed(seed), []
        for chunk in sorted_batches([len(window) for window in windows], batch_size):
            tokens = pad([windows[i] for i in chunk])  # [batch, time]
            hidden = self.whole_words(tokens) & (torch.rand(tokens.shape, generator=generator) < share)
            expected = tokens[hidden].unsqueeze(-1)  # [words, 1]
            inputs = tokens.masked_fill(hidden, self.tokenizer.mask_token_id)
            found = self.log_probabilities_at(inputs, hidden)
            theirs = found.gather(1, expected)
            results.append((expected, theirs, (found > theirs).sum(dim=1, keepdim=True)))
        columns = [torch.cat(column).squeeze(-1) for column in zip(*results, strict=True)]
        return columns[0], columns[1], columns[2]

    def whole_words(self, tokens: Tensor) -> Tensor:
        """True at tokens [batch, time] that are words: no parts, no punctuation, nothing tied to a word."""
        words, goes_on, ties = self._kinds_of_pieces
        whole = words[tokens]
        whole[:, :-1] &= ~goes_on[tokens[:, 1:]]
        whole[:, 1:] &= ~ties[tokens[:, :-1]]
        return whole

    @cached_property
    def _kinds_of_pieces(self):
        """For each piece whether it is a word, goes on with one, and ties two together."""
        pieces = self.tokenizer.convert_ids_to_tokens(range(self.vocabulary_size))
        ties = [piece in ("'", "-") for piece in pieces]
        if any(piece.startswith("##") for piece in pieces):  # the vocabulary of BERT
            words = [piece.isalpha() for piece in pieces]
            goes_on = [piece.startswith(("##", "'", "-")) for piece in pieces]
        else:
            words = [p.startswith(WORD_SIGN) and p.strip(WORD_SIGN).isalpha() for p in pieces]
            goes_on = [piece[0].isalnum() or piece[0] in "'-" for piece in pieces]
        return torch.tensor(words), torch.tensor(goes_on), torch.tensor(ties)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a checkpoint of a ``TransformerLanguageModel``; BERT's are written by its training."""
        save_checkpoint(folder, self.model, {"tokenizer": self.tokenizer.backend_tokenizer})


def minilm_for_filling() -> MaskedLanguageModel:
    """MiniLM as a ``BertForMaskedLM`` that has yet to learn to fill gaps.

    MiniLM was trained to compare sentences and published without the layers that guess words. Its embedding
    is used a second time for that, as BERT does, with nothing in between.
    """
    from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

    file = package_file("minilm")
    model: Any = BertForMaskedLM(BertConfig.from_pretrained(file.parent, layer_norm_eps=1e-5))
    model.cls.predictions.transform = torch.nn.Identity()
    model.bert.load_state_dict(load_file(file), strict=False)  # all but the pooler
    tokenizer = PreTrainedTokenizerFast.from_pretrained(file.parent, local_files_only=True)
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    return MaskedLanguageModel(model.eval(), tokenizer)


def load_masked_language_model(name: str | Path) -> MaskedLanguageModel:
    """Load a masked language model, which ``find_folder`` finds, in evaluation mode.

    A checkpoint of BERT's kind holds only the weights that differ from MiniLM's. A ``CheckpointError`` says
    that it or MiniLM's package is missing or damaged, or that it holds another kind of model.
    """
    types = ("BertForMaskedLM", "TransformerLanguageModel")
    folder, config = open_checkpoint(name, types, "masked language model")
    if config.get("causal"):
        raise CheckpointError(f"{folder} holds a causal language model, not a masked one")
    if config["model_type"] == "TransformerLanguageModel":
        return MaskedLanguageModel(
            load_network(folder, TransformerLanguageModel), load_tokenizer(folder / "tokenizer.json")
        )
    masked = minilm_for_filling()
    masked.model.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    return masked
