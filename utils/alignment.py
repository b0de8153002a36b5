"""Word alignments: from attention weights over pieces to links between words, and their error rate.

Everywhere in this project a matrix of weights or links has the shape [target, source]: row t belongs
to the target word that is *predicted*, column s to a source word.
"""

import re

import torch

from utils.tokens import SPECIAL_TOKENS, WORD_SIGN

_ELIDED = re.compile(r"(?!.*ujourd'$)\w+'")


_PUNCTUATION = re.compile(rf"[^\w{WORD_SIGN}'-]+")


def group_into_words(tokens):
    """Group sub-word pieces into words.

    A word begins at a piece with the sign ``▁``, at punctuation and after it, after an elided
    article (``l'``), at an English ``'s``, and at a special token. Tokens that carry no sign at all
    are taken to be words already.

    Args:
        tokens: a list of pieces, such as ``["▁A", "▁bi", "cycle", "."]``.

    Returns:
        A list of pairs of a word and the indices of its pieces, in order:
        ``[("A", [0]), ("bicycle", [1, 2]), (".", [3])]``.
    """
    if not any(token.startswith(WORD_SIGN) for token in tokens):
        return [(token, [index]) for index, token in enumerate(tokens)]
    words = []
    for index, token in enumerate(tokens):
        piece = token.removeprefix(WORD_SIGN)
        previous = words[-1][0] if words else ""
        if (
            not words
            or token.startswith(WORD_SIGN)
            or any(text in SPECIAL_TOKENS for text in (token, previous))
            or (piece.startswith("'") and piece != "'")
            or _ELIDED.fullmatch(previous)
            or any(_PUNCTUATION.fullmatch(text) for text in (piece, previous))
        ):
            words.append((piece, [index]))
        else:
            words[-1] = (previous + piece, [*words[-1][1], index])
    return words


def match_pieces(tokens, words):
    """Assign sub-word pieces to words that are already given, such as those of an annotated file.

    Args:
        tokens: a list of pieces; special tokens are left out.
        words: the words of the same text.

    Returns:
        One list of piece indices for each word. A piece belongs to the word in which it begins; a
        word that shares all of its pieces with the one before gets that word's last piece.

    Raises:
        ValueError: pieces and words do not spell the same text.
    """
    spelled = [
        (index, token.removeprefix(WORD_SIGN))
        for index, token in enumerate(tokens)
        if token not in SPECIAL_TOKENS
    ]
    text = "".join(piece for _, piece in spelled)
    if text != "".join(words):
        raise ValueError(f"the pieces spell {text!r}, the words {''.join(words)!r}")
    owner = [number for number, word in enumerate(words) for _ in word]  # word of each character
    groups, position = [[] for _ in words], 0
    for index, piece in spelled:
        if piece:
            groups[owner[position]].append(index)
            position += len(piece)
    for number, group in enumerate(groups):
        if not group:
            group.append(groups[number - 1][-1])
    return groups


def merge_weights(weights, source_groups, target_groups):
    """Merge weights over pieces into weights over words.

    What a word receives is the sum over its pieces; what a word gives is the mean over its pieces.
    A row that summed to 1 therefore still does, if every source piece is in one group.

    Args:
        weights: a tensor [target pieces, source pieces].
        source_groups, target_groups: lists of lists of piece indices, one for each word.

    Returns:
        A tensor [target words, source words].
    """
    columns = torch.stack([weights[:, group].sum(dim=1) for group in source_groups], dim=1)
    return torch.stack([columns[group].mean(dim=0) for group in target_groups])


def merge_into_words(weights, source_tokens, target_tokens):
    """Merge weights over pieces into weights over the words that ``group_into_words`` finds.

    Args:
        weights: a tensor [target pieces, source pieces].
        source_tokens, target_tokens: the pieces.

    Returns:
        A tensor [target words, source words], the source words, and the target words.
    """
    sources, targets = group_into_words(source_tokens), group_into_words(target_tokens)
    merged = merge_weights(weights, [group for _, group in sources], [group for _, group in targets])
    return merged, [word for word, _ in sources], [word for word, _ in targets]


def parse_links(text):
    """Parse links in Pharaoh form, source index first: ``0-0`` is sure, ``1?2`` is possible.

    Returns:
        Two sets of pairs (source, target): the sure links, and the possible ones, which include the
        sure ones (Och and Ney 2003, section 5.1).

    Raises:
        ValueError: something that is not a link.
    """
    sure, possible = set(), set()
    for item in text.split():
        match = re.fullmatch(r"(\d+)([-?])(\d+)", item)
        if not match:
            raise ValueError(f"{item!r} is not a link; write 0-0 (sure) or 0?0 (possible)")
        pair = (int(match[1]), int(match[3]))
        possible.add(pair)
        if match[2] == "-":
            sure.add(pair)
    return sure, possible


def link_matrix(links, target_length, source_length):
    """Put pairs (source, target) into a matrix of zeros and ones, [target, source].

    Raises:
        ValueError: a link beyond the sentence.
    """
    matrix = torch.zeros(target_length, source_length)
    for source, target in links:
        if not (0 <= source < source_length and 0 <= target < target_length):
            raise ValueError(
                f"the link {source}-{target} (source-target) lies outside a sentence pair of "
                f"{source_length} source and {target_length} target words"
            )
        matrix[target, source] = 1.0
    return matrix


def hard_alignment(weights):
    """Link every target word to the source word with the largest weight, as a matrix [target, source]."""
    return torch.nn.functional.one_hot(weights.argmax(dim=1), weights.size(1)).float()


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
