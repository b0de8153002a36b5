"""How good is an alignment? Its error rate, and what two blind guesses and counting alone score.

Notebook 02, *Are the weights alignments?*, builds the same in view.
"""

import torch


def diagonal_alignment(target_length, source_length):
    """Link every target word to the source word at the same relative place."""
    places = torch.linspace(0, source_length - 1, target_length).round().long()
    return torch.nn.functional.one_hot(places, source_length).float()


def uniform_alignment(target_length, source_length):
    """Equal weights: what a random choice of source words is expected to score."""
    return torch.full((target_length, source_length), 1 / source_length)


def alignment_error_rate(alignments, golds):
    """Alignment error rate of a corpus: 1 − (|A ∩ S| + |A ∩ P|) / (|A| + |S|) (Och and Ney 2003).

    Args:
        alignments: matrices A [target, source] of zeros and ones. With rows of weights that sum to
            one, the result is what drawing each link by its weight scores on average (the sizes of
            A and S are fixed, and the overlaps are sums over links).
        golds: as many pairs of matrices (S, P) of the same shapes, sure and possible links.

    Returns:
        The rate, from 0 (every link possible, every sure link found) to 1.

    Raises:
        ValueError: shapes or numbers that do not fit, or a sure link that is not possible.
    """
    if len(alignments) != len(golds) or not golds:
        raise ValueError(f"{len(alignments)} alignments do not fit {len(golds)} gold alignments")
    hits = size = 0.0
    for number, (alignment, (sure, possible)) in enumerate(zip(alignments, golds, strict=True)):
        if not alignment.shape == sure.shape == possible.shape:
            raise ValueError(
                f"pair {number}: the alignment has shape {tuple(alignment.shape)}, "
                f"the gold links {tuple(sure.shape)} and {tuple(possible.shape)}"
            )
        if (sure > possible).any():
            raise ValueError(f"pair {number}: every sure link must be a possible link too")
        hits += (alignment * sure).sum().item() + (alignment * possible).sum().item()
        size += alignment.sum().item() + sure.sum().item()
    return 1 - hits / size


def ibm_model_1(sources, targets, iterations=5):
    """Align sentence pairs by counting alone: IBM model 1 (Brown et al. 1993, section 4.1).

    A table holds how likely each source word becomes each target word, at first all alike. Expectation
    maximisation repeats two steps: share each target word out among the source words of its sentence
    by the table, and count the shares to make a new table. Order plays no part.

    Args:
        sources, targets: lists of lists of words.
        iterations: rounds of expectation maximisation.

    Returns:
        For each pair the shares as a tensor [target, source] whose rows sum to 1.

    Raises:
        ValueError: lists of different lengths, or an empty sentence.
    """
    if len(sources) != len(targets) or not all(map(len, [*sources, *targets])):
        raise ValueError("model 1 needs as many sources as targets, and no sentence without words")
    source_ids, target_ids = _word_ids(sources), _word_ids(targets)  # [pairs, longest], -1 is padding
    size = (int(source_ids.max()) + 1, int(target_ids.max()) + 1)
    cells = source_ids.clamp(min=0)[:, None, :] * size[1] + target_ids.clamp(min=0)[:, :, None]
    real = (source_ids >= 0)[:, None, :] & (target_ids >= 0)[:, :, None]  # [pairs, target, source]
    table = torch.full((size[0] * size[1],), 1.0 / size[1])
    for _ in range(iterations):
        shares = table[cells] * real
        shares = shares / shares.sum(dim=2, keepdim=True).clamp(min=1e-30)
        counts = torch.zeros_like(table).index_add_(0, cells.flatten(), shares.flatten()).view(size)
        table = (counts / counts.sum(dim=1, keepdim=True).clamp(min=1e-30)).flatten()
    return [
        share[: len(target), : len(source)]
        for share, source, target in zip(shares, sources, targets, strict=True)
    ]


def _word_ids(sentences):
    numbers = {}
    rows = [torch.tensor([numbers.setdefault(w, len(numbers)) for w in sentence]) for sentence in sentences]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)
