"""Word alignments: from attention weights over pieces to weights over words, and links between words.

A matrix of weights or links has the shape [target, source]: row t belongs to the word that is *predicted*.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # pictures need the words and links alone, and start without PyTorch
    import torch

from utils.vocabulary import SPECIAL_TOKENS, WORD_SIGN

_ELIDED = re.compile(r"(?!.*ujourd'$)\w+'")
_PUNCTUATION = re.compile(rf"[^\w{WORD_SIGN}'-]+")


def group_into_words(tokens: Sequence[str]) -> list[tuple[str, list[int]]]:
    """Group pieces, such as ▁A ▁bi cycle, into words: ``[("A", [0]), ("bicycle", [1, 2])]``.

    A word begins at a piece with the sign ``▁``, at punctuation and after it, after an elided article
    (``l'``), at an English ``'s``, and at a special token. A piece that is the sign alone belongs to the
    piece after it (at the end to the word before), so every word has a name. Tokens without any sign are
    words already.
    """
    if not any(token.startswith(WORD_SIGN) for token in tokens):
        return [(token, [index]) for index, token in enumerate(tokens)]
    pieces = []  # with their indices; a sign alone has been joined to what follows it
    for index, token in enumerate(tokens):
        if pieces and pieces[-1][0] == WORD_SIGN and token not in SPECIAL_TOKENS:
            pieces[-1] = (WORD_SIGN + token.removeprefix(WORD_SIGN), [*pieces[-1][1], index])
        else:
            pieces.append((token, [index]))
    words = []
    for token, indices in pieces:
        piece, previous = token.removeprefix(WORD_SIGN), words[-1][0] if words else ""
        begins = (
            token.startswith(WORD_SIGN)
            or any(text in SPECIAL_TOKENS for text in (token, previous))
            or (piece.startswith("'") and piece != "'")
            or _ELIDED.fullmatch(previous)
            or any(_PUNCTUATION.fullmatch(text) for text in (piece, previous))
        )
        if words and not (begins and piece and previous):
            words[-1] = (previous + piece, words[-1][1] + indices)
        else:
            words.append((piece, indices))
    return [(word or WORD_SIGN, indices) for word, indices in words]


def match_pieces(tokens: Sequence[str], words: Sequence[str]) -> list[list[int]]:
    """The indices of the pieces of each word, for words that are given by an annotated file.

    A piece belongs to the word in which it begins, and a word without a piece of its own gets the last one
    of the word before. A ValueError says that pieces and words spell different texts.
    """
    spelled = [(i, t.removeprefix(WORD_SIGN)) for i, t in enumerate(tokens) if t not in SPECIAL_TOKENS]
    text = "".join(piece for _, piece in spelled)
    if text != "".join(words):
        raise ValueError(f"the pieces spell {text!r}, the words {''.join(words)!r}")
    owner = [number for number, word in enumerate(words) for _ in word]  # word of each character
    groups, position = [[] for _ in words], 0
    for index, piece in spelled:
        groups[owner[min(position, len(owner) - 1)]].append(index)
        position += len(piece)
    for number, group in enumerate(groups):
        if not group:
            group.append(groups[number - 1][-1])
    return groups


def merge_weights(
    weights: torch.Tensor, source_groups: Sequence[list[int]], target_groups: Sequence[list[int]]
) -> torch.Tensor:
    """Merge weights over pieces into weights over words, given the piece indices of each word.

    What a word receives is the sum over its pieces; what a word gives is their mean. A row that summed to 1
    therefore still does. Built in notebook 02, *Reading the heat map*.
    """
    import torch

    columns = torch.stack([weights[:, group].sum(dim=1) for group in source_groups], dim=1)
    return torch.stack([columns[group].mean(dim=0) for group in target_groups])


def parse_links(text: str) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """Parse links in Pharaoh form, source index first: ``0-0`` is sure, ``1?2`` is possible.

    Gives pairs (source, target): the sure links, and the possible ones, which include the sure ones (Och
    and Ney 2003, section 5.1). Anything else is a ValueError.
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


def link_matrix(links: Iterable[tuple[int, int]], target_length: int, source_length: int) -> torch.Tensor:
    """A matrix [target, source] with ones at the pairs (source, target); one beyond it is a ValueError."""
    import torch

    matrix = torch.zeros(target_length, source_length)
    for source, target in links:
        if not (0 <= source < source_length and 0 <= target < target_length):
            raise ValueError(
                f"the link {source}-{target} (source-target) lies outside a sentence pair of "
                f"{source_length} source and {target_length} target words"
            )
        matrix[target, source] = 1.0
    return matrix


def hard_alignment(weights: torch.Tensor) -> torch.Tensor:
    """Link every target word to the source word with the largest weight, as a matrix [target, source]."""
    return weights.new_zeros(weights.shape).scatter(1, weights.argmax(dim=1, keepdim=True), 1.0)
