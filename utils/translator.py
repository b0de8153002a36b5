"""Translators: a model and its two tokenisers together, saved, verified, loaded and used as one."""

import difflib
import json
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub import ModelHubMixin
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from utils.models.recurrent import RecurrentTranslationModel
from utils.models.transformer import TransformerTranslationModel
from utils.pretrained import CheckpointError, load_weights, save_weights, verify_folder, write_checksums
from utils.tokens import (
    END_ID,
    PADDING_ID,
    SPECIAL_TOKENS,
    START_ID,
    UNKNOWN_ID,
    check_texts,
    pad,
    sorted_batches,
)

MODEL_TYPES = {
    "recurrent-translation": RecurrentTranslationModel,
    "transformer-translation": TransformerTranslationModel,
}


@dataclass
class Translation:
    """One translated sentence.

    Attributes:
        text: the translation as plain text.
        source_tokens: the pieces that the encoder read, ``</s>`` at the end included. A character
            that the tokeniser does not know is shown as it is, but the encoder read ``<unk>``.
        target_tokens: the pieces that were written, ``</s>`` included if it was reached.
        score: mean log-probability of a target token.
        attention_weights: a tensor of shape [target, source]; row t holds the weights that were used
            to *predict* ``target_tokens[t]``, and sums to 1. None for a model without attention.
    """

    text: str
    source_tokens: list[str]
    target_tokens: list[str]
    score: float
    attention_weights: torch.Tensor | None


class Translator(ModelHubMixin):
    """A trained model with the tokenisers of its two languages.

    ``save_pretrained(folder)`` writes it, ``load_translator(folder)`` reads it, and
    ``push_to_hub(name)`` publishes it on the Hugging Face Hub.

    Args:
        model: a translation model of this project.
        source_tokenizer, target_tokenizer: ``tokenizers.Tokenizer`` objects.
        languages: the pair of codes, such as ("en", "fr").
        training_length: longest source sentence seen in training, in pieces; longer ones warn.
    """

    def __init__(self, model, source_tokenizer, target_tokenizer, languages, training_length):
        self.model = model
        self.source_tokenizer = source_tokenizer
        self.target_tokenizer = target_tokenizer
        self.languages = tuple(languages)
        self.training_length = training_length

    def translate(self, sentences, beam_size=1, batch_size=64):
        """Translate sentences.

        Args:
            sentences: a list of strings, or one string.
            beam_size: number of candidates that are kept at each step; 1 is greedy.
            batch_size: sentences translated together.

        Returns:
            A list of ``Translation``, in the order of the sentences.

        Raises:
            TypeError, ValueError: a sentence that is not text, is empty, or has no known character;
                the message gives its position. Nothing is translated then.
        """
        if beam_size < 1:
            raise ValueError(f"beam_size must be at least 1, not {beam_size}")
        sentences = [sentences] if isinstance(sentences, str) else list(sentences)
        encodings = self._encode(sentences, self.source_tokenizer, "sentence")
        results = [None] * len(encodings)
        self.model.eval()
        for chunk in sorted_batches([len(encoding.ids) for encoding in encodings], batch_size):
            source = pad([encodings[index].ids[1:] for index in chunk]).to(self._device())
            for index, found in zip(chunk, beam_search(self.model, source, beam_size), strict=True):
                token_ids, score, weights = found
                target_tokens = [self.target_tokenizer.id_to_token(token_id) for token_id in token_ids]
                results[index] = Translation(
                    self.target_tokenizer.decode(token_ids),
                    _pieces(sentences[index], encodings[index]),
                    target_tokens,
                    score,
                    weights,
                )
        return results

    @torch.no_grad()
    def align(self, sources, targets, batch_size=64):
        """Score given translations, and see where the model looks while it predicts them.

        Args:
            sources, targets: lists of strings of equal length.
            batch_size: pairs that are read together.

        Returns:
            A list of ``Translation`` of the given targets.
        """
        sources, targets = list(sources), list(targets)
        source_encodings = self._encode(sources, self.source_tokenizer, "source")
        target_encodings = self._encode(targets, self.target_tokenizer, "target")
        if len(sources) != len(targets):
            raise ValueError(
                f"as many targets as sources are needed: {len(sources)} sources, {len(targets)} targets"
            )
        results = []
        self.model.eval()
        for start in range(0, len(source_encodings), batch_size):
            source_ids = [e.ids[1:] for e in source_encodings[start : start + batch_size]]
            target_ids = [e.ids for e in target_encodings[start : start + batch_size]]
            source, target = pad(source_ids).to(self._device()), pad(target_ids).to(self._device())
            logits, weights = self.model.decode(target[:, :-1], self.model.encode(source))
            log_probabilities = logits.float().log_softmax(dim=-1).gather(2, target[:, 1:, None])
            for row, (source_id, target_id) in enumerate(zip(source_ids, target_ids, strict=True)):
                length = len(target_id) - 1
                score = log_probabilities[row, :length].mean().item()
                row_weights = None if weights is None else weights[row, :length, : len(source_id)].cpu()
                index = start + row
                results.append(
                    Translation(
                        targets[index],
                        _pieces(sources[index], source_encodings[index]),
                        _pieces(targets[index], target_encodings[index]),
                        score,
                        row_weights,
                    )
                )
        return results

    def _encode(self, sentences, tokenizer, name):
        check_texts(sentences, name)
        encodings = tokenizer.encode_batch(sentences)
        for position, encoding in enumerate(encodings):
            if isinstance(tokenizer.model, WordLevel) and UNKNOWN_ID in encoding.ids:
                place = encoding.offsets[encoding.ids.index(UNKNOWN_ID)]
                word = sentences[position][slice(*place)]
                close = difflib.get_close_matches(word, tokenizer.get_vocab(), n=3, cutoff=0.5)
                raise ValueError(
                    f"{name} {position} has a word that this translator does not know: {word!r}; "
                    + (f"the closest that it knows are {close}" if close else "nothing like it is known")
                )
            if all(token in (*SPECIAL_TOKENS, "▁") for token in encoding.tokens):
                raise ValueError(
                    f"{name} {position} has no character that this translator knows: "
                    f"{sentences[position]!r}; it reads the alphabet of its training text"
                )
            if name == "sentence" and len(encoding.ids) - 1 > self.training_length:
                warnings.warn(
                    f"{name} {position} has {len(encoding.ids) - 1} pieces, but no sentence in training "
                    f"had more than {self.training_length}: expect a poor translation",
                    stacklevel=3,
                )
        return encodings

    def _device(self):
        return next(self.model.parameters()).device

    def _save_pretrained(self, save_directory):
        folder = Path(save_directory)
        save_weights(self.model, folder)
        self.source_tokenizer.save(str(folder / "source_tokenizer.json"))
        self.target_tokenizer.save(str(folder / "target_tokenizer.json"))
        config = {
            "model_type": next(k for k, v in MODEL_TYPES.items() if isinstance(self.model, v)),
            "languages": list(self.languages),
            "training_length": self.training_length,
            "model": self.model.config,
        }
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        write_checksums(folder)

    @classmethod
    def _from_pretrained(cls, *, model_id, **_):
        return load_translator(model_id)


def _pieces(sentence, encoding):
    """The pieces of a sentence without ``<s>``, unknown characters shown as they are."""
    pieces = zip(encoding.ids, encoding.tokens, encoding.offsets, strict=True)
    return [sentence[slice(*place)] if i == UNKNOWN_ID else token for i, token, place in pieces][1:]


def load_translator(path):
    """Load a translator from a folder on this machine; nothing is ever downloaded.

    Args:
        path: a folder that ``save_pretrained`` wrote, such as
            "data/checkpoints/multi30k-en-fr-gru-attention".

    Returns:
        A ``Translator`` in evaluation mode, with weights in single precision.

    Raises:
        CheckpointError: the folder or a file is missing, a checksum differs, or the weights belong
            to another model.
    """
    folder = verify_folder(path)
    config = json.loads((folder / "config.json").read_text())
    model_type = config.get("model_type")
    if model_type not in MODEL_TYPES:
        raise CheckpointError(
            f"{folder} holds a model of type {model_type!r}, not a translator; "
            f"translators have one of the types {sorted(MODEL_TYPES)}"
        )
    model = MODEL_TYPES[model_type](**config["model"])
    load_weights(model, folder)
    return Translator(
        model.eval(),
        Tokenizer.from_file(str(folder / "source_tokenizer.json")),
        Tokenizer.from_file(str(folder / "target_tokenizer.json")),
        config["languages"],
        config["training_length"],
    )


@torch.no_grad()
def beam_search(model, source, beam_size=1):
    """Search for the best target sentences, all sentences and candidates of a batch at once.

    Candidates are ranked by mean log-probability per token, so that short ones are not preferred.
    A target may be twice as long as its source, and ten pieces more.

    Args:
        model: a translation model with ``encode``, ``start`` and ``step``.
        source: token ids [batch, source], padded at the end.
        beam_size: candidates for each sentence; 1 is greedy search.

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
