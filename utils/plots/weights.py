"""Attention weights as pictures and texts need them: checked, over words, and an array."""

import sys
from typing import Any

import numpy

from utils.alignment import group_into_words
from utils.vocabulary import END

_PRECISION = {"float16": 2**-10, "bfloat16": 2**-7, "float8": 2**-2}  # by name of the number type


def as_array(values: Any) -> numpy.ndarray:
    """A tensor of any number type and device, or anything that NumPy reads, as an array of float64."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().double().numpy()
    return numpy.asarray(values, dtype=numpy.float64)


def prepare(
    weights: Any, source_tokens: Any = None, target_tokens: Any = None, merge: bool = True, end: bool = True
) -> tuple[numpy.ndarray, list[str], list[str]]:
    """Find weights and tokens, merge pieces into words, and without ``end`` trim the end tokens."""
    if type(weights) in (list, tuple) and weights and hasattr(weights[0], "attention_weights"):
        if len(weights) > 1:
            raise ValueError(f"these are {len(weights)} translations; draw one of them, such as [0]")
        weights = weights[0]
    if hasattr(weights, "attention_weights"):
        source_tokens, target_tokens = weights.source_tokens, weights.target_tokens
        weights = weights.attention_weights
        if weights is None:
            raise ValueError("this translation has no attention weights: its model has no attention")
    if hasattr(weights, "columns"):  # of a DataFrame
        source_tokens = weights.columns if source_tokens is None else source_tokens
        target_tokens = weights.index if target_tokens is None else target_tokens
        weights = weights.to_numpy()
    if source_tokens is None or target_tokens is None:
        raise ValueError("a bare matrix needs source_tokens and target_tokens")
    sources, targets = _texts(source_tokens), _texts(target_tokens)
    matrix = _check(weights, sources, targets)
    if merge:
        columns, rows = group_into_words(sources), group_into_words(targets)
        matrix = numpy.stack([matrix[:, pieces].sum(axis=1) for _, pieces in columns], axis=1)
        matrix = numpy.stack([matrix[pieces].mean(axis=0) for _, pieces in rows])
        sources, targets = [word for word, _ in columns], [word for word, _ in rows]
    if not end:
        columns, rows = ([i for i, word in enumerate(words) if word != END] for words in (sources, targets))
        matrix = matrix[rows][:, columns]
        sources, targets = [sources[i] for i in columns], [targets[i] for i in rows]
    return matrix, sources, targets


def _texts(tokens: Any) -> list[str]:
    if isinstance(tokens, str):
        return tokens.split()
    words = map(str, tokens.tolist() if hasattr(tokens, "tolist") else tokens)
    return ["".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in word) for word in words]


def _check(weights: Any, sources: list[str], targets: list[str]) -> numpy.ndarray:
    """The weights as an array [target, source], if they are weights."""
    if isinstance(weights, list) and weights and hasattr(weights[0], "detach"):
        weights = sys.modules["torch"].stack(weights)
    number = str(getattr(weights, "dtype", "")).removeprefix("torch.").partition("_")[0]
    try:
        matrix = as_array(weights)
    except (TypeError, ValueError) as error:
        raise ValueError(f"weights must be a matrix of numbers [target, source]: {error}") from None
    expected, came = [len(targets), len(sources)], list(matrix.shape)
    if came != expected:
        hint = " (transposed?)" if came == expected[::-1] else ""
        raise ValueError(f"weights must have the shape [target, source] = {expected}; they have {came}{hint}")
    if 0 in expected:
        raise ValueError(f"there is nothing to draw: weights have the shape {expected}")
    if not numpy.isfinite(matrix).all():
        row, column = numpy.argwhere(~numpy.isfinite(matrix))[0]
        raise ValueError(f"weights must be numbers, but [{row}, {column}] is {matrix[row, column]}")
    if matrix.min() < -1e-6:
        raise ValueError(f"weights must not be negative, but the smallest is {matrix.min():.3g}")
    sums = matrix.sum(axis=1)
    row = abs(sums - 1).argmax()
    if abs(sums[row] - 1) > 1e-3 + 4 * _PRECISION.get(number, 0):
        raise ValueError(f"each row must sum to 1, but row {row} ({targets[row]!r}) sums to {sums[row]:.4f}")
    return matrix
