"""Sub-word tokenisation with byte-pair encoding (Sennrich et al. 2016), on the `tokenizers` library.

Words are cut into pieces that were frequent in the training text. A piece that begins a word starts
with the sign ``▁``, which stands for the space before it, so a text can be put together again.
Punctuation is always a piece of its own, and so are the two halves of "l'homme" and "man's":
that way every piece belongs to exactly one word of an alignment.
"""

import re

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

PADDING, UNKNOWN, START, END = "<pad>", "<unk>", "<s>", "</s>"
SPECIAL_TOKENS = [PADDING, UNKNOWN, START, END]  # their ids are 0, 1, 2, 3
PADDING_ID, UNKNOWN_ID, START_ID, END_ID = range(4)

# Where the apostrophe belongs: French elision ends a word with it, the English genitive begins one.
_APOSTROPHES = {
    "en": (r" (?=(?:'s|'re|'ve|'ll|'d|'m|n't)\b)", "merged_with_next"),
    "fr": (r"(?<=\w') ", "merged_with_previous"),  # but "aujourd'hui" is one word
}
_WORD_SIGN = "▁"
_ELIDED = re.compile(r"(?!.*ujourd'$)\w+'")
_PUNCTUATION = re.compile(r"[^\w▁-]+")


def train_tokenizer(sentences, language, vocabulary_size=4000):
    """Learn a byte-pair encoding from sentences.

    Args:
        sentences: an iterable of strings.
        language: "en", "fr" or "de"; decides how apostrophes are attached.
        vocabulary_size: number of pieces, the four special tokens included.

    Returns:
        A ``tokenizers.Tokenizer`` whose ``encode`` gives ``<s> pieces </s>``.
    """
    joined, behaviour = _APOSTROPHES.get(language, (None, "isolated"))
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Replace("’", "'"),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Strip(),
            # "a bicycle ." and "a bicycle." are the same sentence
            normalizers.Replace(Regex(r" (?=[.,;:!?)])"), ""),
        ]
        + ([normalizers.Replace(Regex(joined), "")] if joined else [])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(replacement=_WORD_SIGN, prepend_scheme="always"),
            pre_tokenizers.Split(Regex(r"▁?[^\w▁'-]"), "isolated"),
            pre_tokenizers.Split(Regex("(?<!ujourd)'"), behaviour),
        ]
    )
    tokenizer.decoder = decoders.Metaspace(replacement=_WORD_SIGN, prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, START_ID), (END, END_ID)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size, special_tokens=SPECIAL_TOKENS, min_frequency=2, show_progress=False
    )
    tokenizer.train_from_iterator(sentences, trainer)
    return tokenizer


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
    pieces = [token.removeprefix(_WORD_SIGN) for token in tokens]
    if not any(token.startswith(_WORD_SIGN) for token in tokens):
        return [(piece, [index]) for index, piece in enumerate(pieces)]
    words = []
    for index, (token, piece) in enumerate(zip(tokens, pieces, strict=True)):
        previous = words[-1][0] if words else ""
        begins = (
            not words
            or token.startswith(_WORD_SIGN)
            or token in SPECIAL_TOKENS
            or previous in SPECIAL_TOKENS
            or piece.startswith("'")
            or _ELIDED.fullmatch(previous)
            or _PUNCTUATION.fullmatch(piece)
            or _PUNCTUATION.fullmatch(previous) and previous != "'"
        )  # fmt: skip
        if begins:
            words.append((piece, [index]))
        else:
            words[-1] = (previous + piece, [*words[-1][1], index])
    return words
