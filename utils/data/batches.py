"""Batches of token ids, sentences of like length together, so that little is padded."""

import numpy
import torch

from utils.data.tokenization import PADDING_ID


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
