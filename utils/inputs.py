"""What every model needs of its input: a tokeniser from a file, checks of texts and numbers, batches."""

from collections.abc import Sequence
from numbers import Integral
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, normalizers

from utils.vocabulary import MASK, PADDING_ID

# Format and control characters, such as a byte order mark or a soft hyphen.
INVISIBLE = normalizers.Replace(Regex(r"[\p{Cf}\p{Cc}\x{34F}\x{FE00}-\x{FE0F}&&[^\s]]"), "")


def reading_signs_as_text(tokenizer):
    """A "<pad>" that a reader writes is text; only ``[MASK]`` keeps its meaning."""
    tokenizer.encode_special_tokens = tokenizer.token_to_id(MASK) is None
    return tokenizer


def load_tokenizer(path: str | Path) -> Tokenizer:
    """Read a tokeniser of this project from its JSON file."""
    return reading_signs_as_text(Tokenizer.from_file(str(path)))


def check_texts(texts: Sequence, name: str = "text") -> None:
    """Refuse a text that is no string (TypeError) or empty (ValueError), by name and place."""
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"{name} {position} must be a string, not {type(text).__name__}: {text!r}")
        if not INVISIBLE.normalize_str(text).strip():
            raise ValueError(f"{name} {position} is empty; give at least one word")


def check_count(name: str, value: int, most: int | None = None) -> None:
    """Refuse an argument that is no integer from 1 to ``most`` (None: no limit) with a ValueError."""
    if not isinstance(value, Integral) or value < 1 or (most is not None and value > most):
        limit = "of at least 1" if most is None else f"from 1 to {most}"
        raise ValueError(f"{name} must be an integer {limit}, not {value!r}")


def pad(sequences: Sequence, padding_id: int = PADDING_ID) -> torch.Tensor:
    """Stack lists of token ids into one tensor of shape [batch, longest], filled up at the end."""
    return torch.nn.utils.rnn.pad_sequence(
        [torch.as_tensor(sequence) for sequence in sequences], batch_first=True, padding_value=padding_id
    )


def sorted_batches(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Cut examples into batches of nearly equal length, shortest first: lists of indices."""
    check_count("batch_size", batch_size)
    order = sorted(range(len(lengths)), key=lambda index: lengths[index])
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
