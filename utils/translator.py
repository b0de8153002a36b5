"""Translators: a network and its two tokenisers together, saved, verified, loaded and used as one."""

import difflib
import importlib
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelHubMixin
from tokenizers import Encoding, Tokenizer
from tokenizers.models import WordLevel

from utils.inputs import check_count, check_texts, load_tokenizer, pad, sorted_batches
from utils.pretrained import load_network, open_checkpoint, save_checkpoint
from utils.vocabulary import END_ID, PADDING_ID, SPECIAL_TOKENS, START_ID, UNKNOWN_ID, WORD_SIGN

# The networks, and their modules: a checkpoint loads the one that it needs.
NETWORKS = {
    "RecurrentTranslationModel": "utils.models.recurrent",
    "TransformerTranslationModel": "utils.models.transformer",
}


@dataclass
class Translation:
    """One translated sentence.

    Attributes:
        text: the translation as plain text.
        source_tokens: the pieces that the encoder read, with ``</s>``. An unknown character is shown as
            it is, but the encoder read ``<unk>``.
        target_tokens: the pieces that were written, with ``</s>`` if it was reached.
        score: mean log-probability of a target token, in nats.
        attention_weights: [target, source]; row t sums to 1, and led to ``target_tokens[t]``. None for a
            network without attention.
    """

    text: str
    source_tokens: list[str]
    target_tokens: list[str]
    score: float
    attention_weights: torch.Tensor | None


@dataclass(eq=False)
class Translator(ModelHubMixin):
    """A trained network with the tokenisers of its two languages; taught in notebooks 01 and 02.

    ``load_translator`` reads what ``save_pretrained(folder)`` or ``push_to_hub(name)`` wrote. Languages are
    codes, such as ("en", "fr"); sentences longer than ``training_length`` pieces warn.
    """

    model: Any
    source_tokenizer: Tokenizer
    target_tokenizer: Tokenizer
    languages: tuple[str, ...]
    training_length: int

    def translate(
        self, sentences: str | Sequence[str], beam_size: int = 1, batch_size: int = 256
    ) -> list[Translation]:
        """Translate sentences, or one string, with ``beam_search``.

        A sentence that is no string is a TypeError; one that is empty or unknown, or a size that cannot be,
        is a ValueError. Nothing is translated then.
        """
        check_count("beam_size", beam_size, self.target_tokenizer.get_vocab_size())
        check_count("batch_size", batch_size)
        sentences = [sentences] if isinstance(sentences, str) else list(sentences)
        encodings = self._encode(sentences, self.source_tokenizer, "sentence")
        results = {}
        self.model.eval()
        for chunk in sorted_batches([len(encoding.ids) for encoding in encodings], batch_size):
            source = self._pad([encodings[i].ids[1:] for i in chunk])
            found = beam_search(self.model, source, beam_size)
            for i, (ids, score, weights) in zip(chunk, found, strict=True):
                tokens = [str(self.target_tokenizer.id_to_token(index)) for index in ids]
                text, pieces = self.target_tokenizer.decode(ids), _pieces(sentences[i], encodings[i])
                results[i] = Translation(text, pieces, tokens, score, weights)
        return [results[i] for i in range(len(encodings))]

    @torch.no_grad()
    def align(
        self, sources: Sequence[str], targets: Sequence[str], batch_size: int = 64
    ) -> list[Translation]:
        """Score given translations, and see where the network looks while it predicts them."""
        check_count("batch_size", batch_size)
        sources, targets = list(sources), list(targets)
        read = self._encode(sources, self.source_tokenizer, "source")
        written = self._encode(targets, self.target_tokenizer, "target")
        if len(sources) != len(targets):
            raise ValueError(f"the lists must be as long: {len(sources)} sources, {len(targets)} targets")
        results = []
        self.model.eval()
        for start in range(0, len(read), batch_size):
            chunk = range(start, min(start + batch_size, len(read)))
            source = self._pad([read[i].ids[1:] for i in chunk])
            target = self._pad([written[i].ids for i in chunk])
            logits, weights = self.model.decode(target[:, :-1], self.model.encode(source))
            found = logits.float().log_softmax(dim=-1).gather(2, target[:, 1:, None])
            for row, i in enumerate(chunk):
                width, length = len(read[i].ids) - 1, len(written[i].ids) - 1  # without <s>
                pieces = _pieces(sources[i], read[i]), _pieces(targets[i], written[i])
                seen = None if weights is None else weights[row, :length, :width].cpu()
                results.append(Translation(targets[i], *pieces, found[row, :length].mean().item(), seen))
        return results

    def _encode(self, sentences: list[str], tokenizer: Tokenizer, name: str) -> list[Encoding]:
        check_texts(sentences, name)
        encodings = tokenizer.encode_batch(sentences)
        for position, (sentence, encoding) in enumerate(zip(sentences, encodings, strict=True)):
            if isinstance(tokenizer.model, WordLevel) and UNKNOWN_ID in encoding.ids:
                word = sentence[slice(*encoding.offsets[encoding.ids.index(UNKNOWN_ID)])]
                close = difflib.get_close_matches(word, tokenizer.get_vocab(), n=3, cutoff=0.5)
                hint = f"the closest that it knows are {close}" if close else "nothing like it is known"
                problem = f"{name} {position} has a word that this translator does not know: {word!r}"
                raise ValueError(f"{problem}; {hint}")
            if all(token in (*SPECIAL_TOKENS, WORD_SIGN) for token in encoding.tokens):
                problem = f"{name} {position} has no character that this translator knows: {sentence!r}"
                raise ValueError(f"{problem}; it reads the alphabet of its training text")
            for doubt in self._doubts(sentence, len(encoding.ids) - 1) if name == "sentence" else ():
                warnings.warn(f"{name} {position} {doubt}: expect a poor translation", stacklevel=3)
        return encodings

    def _doubts(self, sentence, length):
        if length > self.training_length:
            yield f"has {length} pieces, but no sentence in training had more than {self.training_length}"
        if sentence.isupper() and sum(map(str.isalpha, sentence)) > 3:
            yield "is all in capital letters, as no sentence in training was (write it in small letters)"

    def _pad(self, ids):
        return pad(ids).to(next(self.model.parameters()).device)

    def _save_pretrained(self, save_directory: Path) -> None:
        tokenizers = {"source_tokenizer": self.source_tokenizer, "target_tokenizer": self.target_tokenizer}
        settings = {"languages": self.languages, "training_length": self.training_length}
        save_checkpoint(save_directory, self.model, tokenizers, **settings)

    @classmethod
    def from_pretrained(cls, name: str | Path, **_) -> "Translator":
        """``load_translator``."""
        return load_translator(name)


def _pieces(sentence, encoding):
    """The pieces of a sentence without ``<s>``, unknown characters shown as they are."""
    pieces = zip(encoding.ids, encoding.tokens, encoding.offsets, strict=True)
    return [sentence[slice(*place)] if i == UNKNOWN_ID else token for i, token, place in pieces][1:]


def load_translator(name: str | Path) -> Translator:
    """Load a translator, in evaluation mode; the name is one that ``find_folder`` finds.

    A ``CheckpointError`` says what is missing or damaged, or that the weights belong to another network.
    """
    folder, config = open_checkpoint(name, NETWORKS, "translator")
    kind, length = config["model_type"], config["training_length"]
    network = load_network(folder, getattr(importlib.import_module(NETWORKS[kind]), kind))
    source, target = (load_tokenizer(folder / f"{side}_tokenizer.json") for side in ("source", "target"))
    return Translator(network, source, target, tuple(config["languages"]), length)


@torch.no_grad()
def beam_search(model: Any, source: torch.Tensor, beam_size: int = 1, every: bool = False) -> list:
    """For each source [batch, source] the best target: ids, score, and weights [target, source] or None.

    With ``every`` it is the list of all ``beam_size`` candidates, best first.
    Each step keeps the ``beam_size`` candidates with the highest mean log-probability per token; 1 is greedy
    search. A target may be twice as long as its source, and ten pieces more. Finished ones leave the batch.
    """
    lengths = (source != PADDING_ID).sum(dim=1)  # [batch]
    limits = (2 * lengths + 10).repeat_interleave(beam_size)  # [rows], beam_size of them for a sentence
    memory = {k: v.repeat_interleave(beam_size, dim=0) for k, v in model.encode(source).items()}
    state = model.start(memory)
    token = torch.full_like(limits, START_ID)
    tokens = token.new_empty(len(token), 0)
    totals = torch.full(limits.shape, -torch.inf, device=source.device)  # sums of log-probabilities
    totals[::beam_size] = 0.0  # at first all candidates are the same: only one of them counts
    counts = torch.zeros_like(totals)
    attention = []  # the weights [rows, source] of each step
    results, places = {}, list(range(len(source)))  # the place of each sentence that is still in the batch
    while True:
        finished = (token == END_ID) | (token == PADDING_ID) | (counts >= limits)
        done = finished.view(-1, beam_size).all(dim=1)  # [batch]
        if done.sum() > len(done) / 8:  # sentences that are done make room
            seen = torch.stack(attention, dim=1) if attention else None  # [rows, steps, source]
            for row in done.nonzero().flatten().tolist():
                found, place = [], places[row]
                for one in range(row * beam_size, row * beam_size + (beam_size if every else 1)):
                    length, score = int(counts[one]), (totals[one] / counts[one]).item()
                    weights = None if seen is None else seen[one, :length, : int(lengths[place])].cpu()
                    found.append((tokens[one, :length].tolist(), score, weights))
                results[place] = found if every else found[0]  # candidates are sorted
            if done.all():
                return [results[place] for place in range(len(source))]
            places = [place for place, ended in zip(places, done.tolist(), strict=True) if not ended]
            stay = (~done).repeat_interleave(beam_size).nonzero().flatten()  # [rows], places
            token, tokens, limits, finished = token[stay], tokens[stay], limits[stay], finished[stay]
            totals, counts, attention = totals[stay], counts[stay], [step[stay] for step in attention]
            memory, state = ({k: v.index_select(0, stay) for k, v in one.items()} for one in (memory, state))
        logits, state, weights = model.step(token, state, memory)
        logits = logits.float()  # [rows, vocabulary]
        normalisers = logits.logsumexp(dim=1, keepdim=True)
        logits[:, [PADDING_ID, UNKNOWN_ID, START_ID]] = -torch.inf
        # The best candidates of a sentence are among the best continuations of each of its rows.
        best, continuations = _largest(logits, beam_size)  # [rows, beam]
        best -= normalisers
        # A finished candidate goes on in one way alone: with padding, at no cost.
        best[finished], continuations[finished] = -torch.inf, PADDING_ID
        best[finished, 0] = 0.0
        new_counts = counts + (~finished)
        new_totals = totals[:, None] + best
        ranks = (new_totals / new_counts[:, None]).view(len(places), -1)  # [batch, beam · beam]
        chosen = ranks.topk(beam_size, dim=1).indices  # [batch, beam], best first
        token, totals = (t.view_as(ranks).gather(1, chosen).flatten() for t in (continuations, new_totals))
        first = torch.arange(0, len(token), beam_size, device=source.device)[:, None]
        parent = (first + chosen // beam_size).flatten()  # [rows]
        counts, tokens = new_counts[parent], torch.cat([tokens[parent], token[:, None]], dim=1)
        attention += [] if weights is None else [weights]
        if beam_size > 1:
            state = {name: tensor[parent] for name, tensor in state.items()}
            attention = [step[parent] for step in attention]


def _largest(logits, count):
    """The largest of each row and their places, as ``topk`` gives them; only the best blocks are sorted."""
    size = math.gcd(logits.size(1), 100)
    blocks = logits.unflatten(1, (-1, size))  # [rows, blocks, size]
    best = blocks.amax(dim=2).topk(min(count, blocks.size(1)), dim=1).indices  # [rows, best blocks]
    found = blocks.gather(1, best[:, :, None].expand(-1, -1, size)).flatten(1).topk(count, dim=1)
    return found.values, best.gather(1, found.indices // size) * size + found.indices % size
