"""Language models together with their tokenisers: loaded, saved, and used on plain text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

from utils.inputs import check_count, load_tokenizer, pad, sorted_batches
from utils.models.language_models import RecurrentLanguageModel
from utils.pretrained import load_network, open_checkpoint, package_file
from utils.tokens import encode_texts
from utils.vocabulary import END_ID, MASK, PADDING_ID, START_ID, UNKNOWN_ID, WORD_SIGN


class LanguageModel:
    """A recurrent network that reads and writes text, by a tokeniser that frames it: ``<s> text </s>``."""

    def __init__(self, model: RecurrentLanguageModel, tokenizer: Tokenizer):
        self.model, self.tokenizer = model, tokenizer

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, with ``<s>`` before and ``</s>`` after it.

        A text that is empty, or has no piece that the model knows, is a ValueError.
        """
        encoded = encode_texts(self.tokenizer, texts)
        said_nothing = {START_ID, UNKNOWN_ID, END_ID, self.tokenizer.token_to_id(WORD_SIGN)}
        if unknown := [i for i, row in enumerate(encoded) if said_nothing.issuperset(row)]:
            raise ValueError(f"text {unknown[0]} has no word that the model knows: {texts[unknown[0]]!r}")
        return encoded

    @torch.no_grad()
    def log_probabilities(self, texts: Sequence[str]) -> list[Tensor]:
        """Log-probability of every token of each text but the first: tensors [tokens − 1], in nats."""
        self.model.eval()
        ids, results = self.encode(texts), {}
        for chunk in sorted_batches([len(row) for row in ids], 32):
            states, _ = self.model.read(pad([ids[i][:-1] for i in chunk]))  # [batch, time, width]
            for i, row in zip(chunk, states, strict=True):  # one by one, as the vocabulary is large
                expected = torch.tensor(ids[i][1:])
                found = self.model.predict(row[: len(expected)]).float().log_softmax(dim=-1)
                results[i] = found.gather(1, expected[:, None])[:, 0]
        return [results[i] for i in range(len(ids))]

    def perplexity(self, texts: Sequence[str]) -> float:
        """Perplexity per word that spaces separate: e to the mean negative log-probability of a word.

        Taught in notebook 03, *The labels are in the text: language modelling*.
        """
        nats = -sum(row.sum().item() for row in self.log_probabilities(texts))
        return float(torch.tensor(nats / sum(len(text.split()) for text in texts)).exp())

    def next_pieces(self, prompt: str, count: int = 5) -> list[tuple[str, float]]:
        """The likeliest continuations of a text: pairs ``(piece, probability)``, best first."""
        check_count("count", count, self.tokenizer.get_vocab_size())
        best = self._next(self.encode([prompt])[0][:-1])[0].softmax(dim=-1).topk(count)  # without </s>
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return [(str(self.tokenizer.id_to_token(index)), p) for index, p in pairs]

    def write(self, prompt: str, length: int = 40, temperature: float = 0.8, seed: int = 0) -> str:
        """Continue a text by drawing one piece after the other, ``length`` at most.

        Scores are divided by the temperature: towards 0 the likeliest piece always wins.
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
        logits, state = self.model(torch.tensor([ids if state is None else ids[-1:]]), state)
        return logits[0, -1], state


def load_language_model(name: str | Path, **overrides: Any) -> LanguageModel:
    """Load a recurrent language model, which ``find_folder`` finds, in evaluation mode.

    The ``overrides`` are arguments of the network that may differ, such as ``dropout``. A checkpoint that is
    missing, damaged or of another kind is a ``CheckpointError``.
    """
    folder, _ = open_checkpoint(name, [RecurrentLanguageModel.__name__], "language model")
    network = load_network(folder, RecurrentLanguageModel, **overrides)
    return LanguageModel(network, load_tokenizer(folder / "tokenizer.json"))


class MaskedLanguageModel:
    """A ``BertForMaskedLM`` that fills gaps, as ``pipeline("fill-mask")`` does; taught in notebook 04."""

    def __init__(self, model: Any, tokenizer: Any):
        self.model, self.tokenizer, self.vocabulary_size = model, tokenizer, len(tokenizer)
        self.max_length = model.config.max_position_embeddings

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, framed; a control token other than ``[MASK]`` is a ValueError."""
        ids = encode_texts(self.tokenizer.backend_tokenizer, texts)
        for position, text in enumerate(texts):
            if found := [t for t in self.tokenizer.all_special_tokens if t in text and t != MASK]:
                raise ValueError(f"text {position} has the control token {found[0]}; only {MASK} may be used")
        return ids

    @torch.no_grad()
    def log_probabilities_at(self, inputs: Tensor, selected: Tensor) -> Tensor:
        """Log-probabilities [selected places, vocabulary_size] of what stands at the selected places.

        The inputs are token ids [batch, time], with ``[MASK]`` where the model shall guess, and True is
        selected. A text that is too long is a ValueError.
        """
        self.model.eval()
        if inputs.size(1) > self.max_length:
            raise ValueError(f"{inputs.size(1)} tokens are too many: the places end at {self.max_length}")
        there = (inputs != self.tokenizer.pad_token_id).long()
        states = self.model.bert(inputs, attention_mask=there).last_hidden_state[selected]
        return self.model.cls(states).float().log_softmax(dim=-1)

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

    Its checkpoint holds only the weights that differ from MiniLM's.
    """
    folder, _ = open_checkpoint(name, ["BertForMaskedLM"], "masked language model")
    masked = minilm_for_filling()
    masked.model.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    return masked
