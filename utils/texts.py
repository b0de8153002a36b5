"""Language models together with their tokenisers: loaded, saved, and used on plain text."""

# ruff: noqa: F405 (the names in capitals are those of utils.vocabulary)

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

from utils.inputs import check_count, load_tokenizer, pad, sorted_batches
from utils.models.language_models import RecurrentLanguageModel, TransformerLanguageModel
from utils.pretrained import CheckpointError, load_network, open_checkpoint, package_file, save_checkpoint
from utils.tokens import encode_texts
from utils.vocabulary import *  # noqa: F403

NETWORKS = {network.__name__: network for network in (RecurrentLanguageModel, TransformerLanguageModel)}


class LanguageModel:
    """A causal network that reads and writes text, by a tokeniser that frames it: ``<s> text </s>``."""

    def __init__(self, model: RecurrentLanguageModel | TransformerLanguageModel, tokenizer: Tokenizer):
        self.model, self.tokenizer = model, tokenizer

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, with ``<s>`` before and ``</s>`` after it."""
        return encode_texts(self.tokenizer, texts)

    @torch.no_grad()
    def log_probabilities(self, texts: Sequence[str]) -> list[Tensor]:
        """Log-probability of every token of each text but the first: tensors [tokens − 1], in nats."""
        ids, results = self.encode(texts), []
        for row, states in zip(ids, self._read([row[:-1] for row in ids]), strict=True):
            found = self.model.predict(states).float().log_softmax(dim=-1)  # [tokens − 1, vocabulary]
            results.append(found.gather(1, torch.tensor(row[1:])[:, None])[:, 0])
        return results

    def perplexity(self, texts: Sequence[str]) -> float:
        """Perplexity per word that spaces separate: e to the mean negative log-probability of a word.

        Taught in notebook 03, *The labels are in the text: language modelling*.
        """
        nats = -sum(row.sum().item() for row in self.log_probabilities(texts))
        return float(torch.tensor(nats / sum(len(text.split()) for text in texts)).exp())

    def hidden_states(self, texts: Sequence[str]) -> list[Tensor]:
        """The last layer's state after each token: tensors [tokens, width]."""
        return self._read(self.encode(texts))

    @torch.no_grad()
    def _read(self, ids):
        self.model.eval()
        results = {}
        for chunk in sorted_batches([len(row) for row in ids], 32):
            states, _ = self.model.read(pad([ids[i] for i in chunk]))  # [batch, time, width]
            results |= {i: row[: len(ids[i])] for i, row in zip(chunk, states, strict=True)}
        return [results[i] for i in range(len(ids))]

    def next_pieces(self, prompt: str, count: int = 5) -> list[tuple[str, float]]:
        """The likeliest continuations of a text: pairs ``(piece, probability)``, best first."""
        check_count("count", count, self.tokenizer.get_vocab_size())
        best = self._next(self.encode([prompt])[0][:-1])[0].softmax(dim=-1).topk(count)  # without </s>
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return [(str(self.tokenizer.id_to_token(index)), p) for index, p in pairs]

    def write(self, prompt: str, length: int = 40, temperature: float = 0.8, seed: int = 0) -> str:
        """Continue a text by drawing one piece after the other, ``length`` at most.

        Scores are divided by the temperature: towards 0 the likeliest piece always wins. A Transformer sees
        its latest ``max_length`` tokens.
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

    @torch.no_grad()
    def _next(self, ids, state=None):
        """Logits [vocabulary_size] after a text, of which the last token is new if there is a state."""
        self.model.eval()
        longest = getattr(self.model, "max_length", None)
        if longest and len(ids) > longest:
            ids, state = ids[-longest:], None  # each token moves one place down, so all are read anew
        logits, state = self.model(torch.tensor([ids if state is None else ids[-1:]]), state)
        return logits[0, -1], state

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a checkpoint that ``load_language_model`` reads."""
        save_checkpoint(folder, self.model, {"tokenizer": self.tokenizer})


def load_language_model(name: str | Path, **overrides: Any) -> LanguageModel:
    """Load a causal language model, which ``find_folder`` finds, in evaluation mode.

    The ``overrides`` are arguments of the network that may differ, such as ``dropout``. A checkpoint that is
    missing, damaged or of another kind is a ``CheckpointError``.
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

            if tokenizer.token_to_id(MASK) is None:
                raise ValueError(f"the tokeniser has no {MASK}; make it with train_tokenizer(..., mask=True)")
            signs = {"pad_token": PADDING, "unk_token": UNKNOWN, "cls_token": START, "sep_token": END}
            tokenizer = PreTrainedTokenizerFast(tokenizer_object=tokenizer, mask_token=MASK, **signs)
        self.model, self.tokenizer, self.vocabulary_size = model, tokenizer, len(tokenizer)
        self._own = isinstance(model, TransformerLanguageModel)
        self.max_length = model.max_length if self._own else model.config.max_position_embeddings

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, framed; a control token other than ``[MASK]`` is a ValueError."""
        ids = encode_texts(self.tokenizer.backend_tokenizer, texts)
        for position, text in enumerate(texts):
            if found := [t for t in self.tokenizer.all_special_tokens if t in text and t != MASK]:
                raise ValueError(f"text {position} has the control token {found[0]}; only {MASK} may be used")
        return ids

    def logits_at(self, inputs: Tensor, selected: Tensor) -> Tensor:
        """Logits [selected places, vocabulary_size] of what stands where ``selected`` is True.

        The inputs are token ids [batch, time], with ``[MASK]`` where the model shall guess; a text that is
        too long for it is a ValueError.
        """
        length = inputs.size(1)
        if length > self.max_length:
            raise ValueError(f"a text has {length} tokens, but the model's places end at {self.max_length}")
        if self._own:
            return self.model(inputs, selected=selected)[0]
        there = (inputs != self.tokenizer.pad_token_id).long()
        return self.model.cls(self.model.bert(inputs, attention_mask=there).last_hidden_state[selected])

    @torch.no_grad()
    def log_probabilities_at(self, inputs: Tensor, selected: Tensor) -> Tensor:
        """Log-probabilities in place of ``logits_at``, in nats, in evaluation mode."""
        self.model.eval()
        return self.logits_at(inputs, selected).float().log_softmax(dim=-1)

    def fill(self, text: str, count: int = 5) -> list[list[tuple[str, float]]]:
        """For each ``[MASK]`` of a text the likeliest pairs ``(word, probability)``, as if others stayed."""
        check_count("count", count, self.vocabulary_size)
        tokens = torch.tensor(self.encode([text]))  # [1, time]
        masks = tokens == self.tokenizer.mask_token_id
        if not masks.any():
            raise ValueError(f"there is nothing to fill: write {MASK} where a word is missing in {text!r}")
        best = self.log_probabilities_at(tokens, masks).exp().topk(count)
        pieces = [self.tokenizer.convert_ids_to_tokens(row) for row in best.indices.tolist()]
        words = [[piece.strip(WORD_SIGN) for piece in row] for row in pieces]
        return [list(zip(*pair, strict=True)) for pair in zip(words, best.values.tolist(), strict=True)]

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a checkpoint of a ``TransformerLanguageModel``; BERT's are written by its training."""
        save_checkpoint(folder, self.model, {"tokenizer": self.tokenizer.backend_tokenizer})


def minilm_for_filling() -> MaskedLanguageModel:
    """MiniLM as a ``BertForMaskedLM`` that has yet to learn to fill gaps; its embedding guesses words."""
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
    """Load a masked language model as ``load_language_model`` loads a causal one.

    A checkpoint of BERT's kind holds only the weights that differ from MiniLM's.
    """
    types = ("BertForMaskedLM", "TransformerLanguageModel")
    folder, config = open_checkpoint(name, types, "masked language model")
    if config.get("causal"):
        raise CheckpointError(f"{folder} holds a causal language model, not a masked one")
    if config["model_type"] == "TransformerLanguageModel":
        network = load_network(folder, TransformerLanguageModel)
        return MaskedLanguageModel(network, load_tokenizer(folder / "tokenizer.json"))
    masked = minilm_for_filling()
    masked.model.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    return masked
