"""Translators: a network and its two tokenisers together, saved, verified, loaded and used as one."""

import difflib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub import ModelHubMixin
from tokenizers import Encoding, Tokenizer
from tokenizers.models import WordLevel

from utils.models.recurrent import RecurrentTranslationModel
from utils.models.transformer import TransformerTranslationModel
from utils.pretrained import load_network, open_checkpoint, save_checkpoint
from utils.tokens import check_count, check_texts, load_tokenizer, pad, sorted_batches
from utils.vocabulary import END_ID, PADDING_ID, SPECIAL_TOKENS, START_ID, UNKNOWN_ID, WORD_SIGN

Network = RecurrentTranslationModel | TransformerTranslationModel
NETWORKS = {network.__name__: network for network in (RecurrentTranslationModel, TransformerTranslationModel)}


@dataclass
class Translation:
    """One translated sentence.

    Attributes:
        text: the translation as plain text.
        source_tokens: the pieces that the encoder read, ``</s>`` at the end included. A character that
            the tokeniser does not know is shown as it is, but the encoder read ``<unk>``.
        target_tokens: the pieces that were written, ``</s>`` included if it was reached.
        score: mean log-probability of a target token, in nats.
        attention_weights: [target, source]; row t holds the weights that were used to *predict*
            ``target_tokens[t]``, and sums to 1. None for a network without attention.
    """

    text: str
    source_tokens: list[str]
    target_tokens: list[str]
    score: float
    attention_weights: torch.Tensor | None


class Translator(ModelHubMixin):
    """A trained network with the tokenisers of its two languages; taught in notebooks 01 and 02.

    ``save_pretrained(folder)`` writes it, ``load_translator(folder)`` reads it. ``push_to_hub(name)``
    publishes it on the Hugging Face Hub, from where ``load_translator(name)`` fetches it. The languages are
    codes, such as ("en", "fr"); sentences longer than ``training_length`` pieces warn.
    """

    def __init__(
        self,
        model: Network,
        source_tokenizer: Tokenizer,
        target_tokenizer: Tokenizer,
        languages: Sequence[str],
        training_length: int,
    ):
        self.model = model
        self.source_tokenizer = source_tokenizer
        self.target_tokenizer = target_tokenizer
        self.languages = tuple(languages)
        self.training_length = training_length

    def translate(
        self, sentences: str | Sequence[str], beam_size: int = 1, batch_size: int = 64
    ) -> list[Translation]:
        """Translate sentences.

        Args:
            sentences: several, or one string.
            beam_size: number of candidates that are kept at each step; 1 is greedy.
            batch_size: sentences translated together.

        Raises:
            TypeError, ValueError: a sentence that is not text, is empty, or has no known character; the
                message gives its position. Or a size that cannot be. Nothing is translated then.
        """
        check_count("beam_size", beam_size, self.target_tokenizer.get_vocab_size())
        check_count("batch_size", batch_size)
        sentences = [sentences] if isinstance(sentences, str) else list(sentences)
        encodings = self._encode(sentences, self.source_tokenizer, "sentence")
        results = {}
        self.model.eval()
        for chunk in sorted_batches([len(encoding.ids) for encoding in encodings], batch_size):
            source = pad([encodings[index].ids[1:] for index in chunk]).to(self._device())
            for index, found in zip(chunk, beam_search(self.model, source, beam_size), strict=True):
                ids, score, weights = found
                pieces = _pieces(sentences[index], encodings[index])
                tokens = [str(self.target_tokenizer.id_to_token(i)) for i in ids]
                text = self.target_tokenizer.decode(ids)
                results[index] = Translation(text, pieces, tokens, score, weights)
        return [results[index] for index in range(len(encodings))]

    @torch.no_grad()
    def align(
        self, sources: Sequence[str], targets: Sequence[str], batch_size: int = 64
    ) -> list[Translation]:
        """Score given translations, and see where the network looks while it predicts them.

        Refuses what ``translate`` refuses, and lists of different lengths.
        """
        check_count("batch_size", batch_size)
        sources, targets = list(sources), list(targets)
        read = self._encode(sources, self.source_tokenizer, "source")
        written = self._encode(targets, self.target_tokenizer, "target")
        if len(sources) != len(targets):
            raise ValueError(
                f"as many targets as sources are needed: {len(sources)} sources, {len(targets)} targets"
            )
        results = []
        self.model.eval()
        for start in range(0, len(read), batch_size):
            chunk = range(start, min(start + batch_size, len(read)))
            source = pad([read[i].ids[1:] for i in chunk]).to(self._device())
            target = pad([written[i].ids for i in chunk]).to(self._device())
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
                raise ValueError(
                    f"{name} {position} has a word that this translator does not know: {word!r}; "
                    + (f"the closest that it knows are {close}" if close else "nothing like it is known")
                )
            if all(token in (*SPECIAL_TOKENS, WORD_SIGN) for token in encoding.tokens):
                raise ValueError(
                    f"{name} {position} has no character that this translator knows: {sentence!r}; it reads "
                    "the alphabet of its training text"
                )
            if name == "sentence":
                self._warn(f"{name} {position}", sentence, len(encoding.ids) - 1)
        return encodings

    def _warn(self, name, sentence, length):
        if length > self.training_length:
            warnings.warn(
                f"{name} has {length} pieces, but no sentence in training had more than "
                f"{self.training_length}: expect a poor translation",
                stacklevel=4,
            )
        if sentence.isupper() and sum(map(str.isalpha, sentence)) > 3:
            warnings.warn(
                f"{name} is all in capital letters, as no sentence in training was: expect a poor "
                "translation, or write it in small letters",
                stacklevel=4,
            )

    def _device(self):
        return next(self.model.parameters()).device

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
    """Load a translator, in evaluation mode, from any working directory.

    The name is one in ``data/checkpoints``, such as "multi30k-en-fr-gru-attention"; a folder; or "user/name"
    on the Hugging Face Hub. A ``CheckpointError`` says that the folder or a file is missing, that a checksum
    differs, or that the weights belong to another network.
    """
    folder, config = open_checkpoint(name, NETWORKS, "translator")
    return Translator(
        load_network(folder, NETWORKS[config["model_type"]]),
        load_tokenizer(folder / "source_tokenizer.json"),
        load_tokenizer(folder / "target_tokenizer.json"),
        config["languages"],
        config["training_length"],
    )


@torch.no_grad()
def beam_search(
    model: Network, source: torch.Tensor, beam_size: int = 1
) -> list[tuple[list[int], float, torch.Tensor | None]]:
    """Search for the best target sentences, all sentences and candidates of a batch at once.

    Candidates are ranked by mean log-probability per token, so that short ones are not preferred. A target
    may be twice as long as its source [batch, source], and ten pieces more. A beam of 1 is greedy search.

    Returns:
        For each sentence the token ids, the score, and the weights [target, source] or None.
    """
    batch = source.size(0)
    rows = batch * beam_size
    lengths = (source != PADDING_ID).sum(dim=1)  # [batch]
    memory = {k: v.repeat_interleave(beam_size, dim=0) for k, v in model.encode(source).items()}
    state = model.start(memory)
    limits = (2 * lengths + 10).repeat_interleave(beam_size)  # [rows]
    token = torch.full((rows,), START_ID, device=source.device)
    tokens = torch.empty((rows, 0), dtype=torch.long, device=source.device)
    totals = torch.full((batch, beam_size), -torch.inf, device=source.device)
    totals[:, 0] = 0.0  # at first all candidates are the same: only one of them counts
    totals = totals.flatten()  # [rows], the sum of log-probabilities
    counts = torch.zeros(rows, device=source.device)
    finished = torch.zeros(rows, dtype=torch.bool, device=source.device)
    offsets = torch.arange(batch, device=source.device).repeat_interleave(beam_size) * beam_size
    attention = None
    while not finished.all():
        logits, state, weights = model.step(token, state, memory)
        log_probabilities = logits.float().log_softmax(dim=-1)  # [rows, vocabulary]
        log_probabilities[:, [PADDING_ID, UNKNOWN_ID, START_ID]] = -torch.inf
        # A finished candidate goes on in one way alone: with padding, at no cost.
        log_probabilities[finished] = -torch.inf
        log_probabilities[finished, PADDING_ID] = 0.0
        # The best candidates of a sentence are among the best continuations of each of its rows.
        best, continuations = log_probabilities.topk(beam_size, dim=1)  # [rows, beam]
        new_counts = counts + (~finished)
        new_totals = totals[:, None] + best
        ranks = (new_totals / new_counts[:, None]).view(batch, -1)  # [batch, beam · beam]
        chosen = ranks.topk(beam_size, dim=1).indices.flatten()  # [rows], best first
        parent, place = offsets + chosen // beam_size, chosen % beam_size
        token = continuations[parent, place]
        totals, counts, finished = new_totals[parent, place], new_counts[parent], finished[parent]
        tokens = torch.cat([tokens[parent], token[:, None]], dim=1)  # [rows, steps]
        if weights is not None:
            latest = weights[:, None]  # [rows, 1, source]
            attention = latest if attention is None else torch.cat([attention, latest], dim=1)
            attention = attention[parent]
        if beam_size > 1:
            state = {name: tensor[parent] for name, tensor in state.items()}
        finished = finished | (token == END_ID) | (counts >= limits)
    results = []
    for row, winner in enumerate(offsets[::beam_size].tolist()):  # candidates are sorted
        length, width = int(counts[winner]), int(lengths[row])
        weights = None if attention is None else attention[winner, :length, :width].cpu()
        score = (totals[winner] / counts[winner]).item()
        results.append((tokens[winner, :length].tolist(), score, weights))
    return results
