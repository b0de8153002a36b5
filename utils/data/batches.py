"""Batches of token ids, sentences of like length together, so that little is padded."""

import itertools

import numpy
import torch

from utils.data.tokenization import END_ID, PADDING_ID, START_ID


def pad(sequences, padding_id=PADDING_ID):
    """Stack lists of token ids into one tensor of shape [batch, longest], filled up at the end."""
    return torch.nn.utils.rnn.pad_sequence(
        [torch.as_tensor(sequence) for sequence in sequences], batch_first=True, padding_value=padding_id
    )


def bucketed_batches(lengths, batch_size, seed, batches_per_bucket=50):
    """Shuffle, then sort by length inside buckets, then cut into batches and shuffle those.

    Args:
        lengths: one sort key (an integer, or a tuple of them) for each example.
        batch_size: examples in a batch; the last may be smaller.
        seed: an integer or a list of integers; the same seed gives the same batches.
        batches_per_bucket: more sorts better, fewer shuffles better.

    Returns:
        A list of lists of example indices that holds every index exactly once.
    """
    generator = numpy.random.default_rng(seed)
    order = generator.permutation(len(lengths))
    bucket_size = batch_size * batches_per_bucket
    batches = []
    for start in range(0, len(order), bucket_size):
        bucket = sorted(order[start : start + bucket_size].tolist(), key=lambda index: lengths[index])
        batches += [bucket[i : i + batch_size] for i in range(0, len(bucket), batch_size)]
    return [batches[i] for i in generator.permutation(len(batches))]


def sorted_batches(lengths, batch_size):
    """Cut examples into batches of nearly equal length, shortest first: a list of lists of indices."""
    order = sorted(range(len(lengths)), key=lambda index: lengths[index])
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def framed_windows(ids, size, first=0):
    """Cut a long text into windows that each begin with ``<s>`` and end with ``</s>``.

    Args:
        ids: the token ids of a text, ``<s>`` and ``</s>`` included.
        size: tokens of a window, at most, with both.
        first: ordinary tokens of the first window; 0 makes it as long as the others.

    Returns:
        A list of lists of token ids, which hold every ordinary token once, in order.

    Raises:
        ValueError: windows too small for a token, or a first window that is longer than the others.
    """
    inside = size - 2
    if inside < 1 or not 0 <= first <= inside:
        raise ValueError(f"windows of {size} tokens hold {inside} of a text; the first cannot hold {first}")
    text = ids[1:-1]
    cuts = [0, *range(first or inside, len(text), inside), len(text)]
    return [[START_ID, *text[a:b], END_ID] for a, b in itertools.pairwise(cuts)]


def translation_batches(source_ids, target_ids, batch_size, seed):
    """Cut sentence pairs into bucketed batches.

    Args:
        source_ids, target_ids: as many lists of token ids.
        batch_size, seed: those of ``bucketed_batches``.

    Returns:
        A list of pairs of tensors, [batch, source] and [batch, target], padded at the end.
    """
    lengths = [(len(target), len(source)) for source, target in zip(source_ids, target_ids, strict=True)]
    return [
        (pad([source_ids[i] for i in batch]), pad([target_ids[i] for i in batch]))
        for batch in bucketed_batches(lengths, batch_size, seed)
    ]
