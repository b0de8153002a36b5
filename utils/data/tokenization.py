"""Tokenisation on the `tokenizers` library: sub-words for captions, whole words for the phrasebook.

For byte-pair encoding (Sennrich et al. 2016), words are cut into pieces that were frequent in the
training text. A piece that begins a word starts with the sign ``▁``, which stands for the space before
it, so a text can be put together again. Punctuation is always a piece of its own, and so are the two
halves of "l'homme" and "man's": that way every piece belongs to exactly one word of an alignment.
"""

import warnings

import tokenizers
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

LANGUAGE_NAMES = {"en": "English", "fr": "French", "de": "German"}
PADDING, UNKNOWN, START, END = "<pad>", "<unk>", "<s>", "</s>"
SPECIAL_TOKENS = [PADDING, UNKNOWN, START, END]  # their ids are 0, 1, 2, 3
WORD_SIGN = "▁"  # stands for the space before a word
MASK = "[MASK]"  # for models that fill gaps; only their tokenisers have it
PADDING_ID, UNKNOWN_ID, START_ID, END_ID, MASK_ID = range(5)

# Where the apostrophe belongs: French elision ends a word with it, the English genitive begins one.
_APOSTROPHES = {
    "en": (r" (?=(?:'s|'re|'ve|'ll|'d|'m|n't)\b)", "merged_with_next"),
    "fr": (r"(?<=\w') ", "merged_with_previous"),  # but "aujourd'hui" is one word
}

_APOSTROPHE = Regex("(?<!ujourd)'")
FRAME = processors.TemplateProcessing(
    single=f"{START} $A {END}", special_tokens=[(START, START_ID), (END, END_ID)]
)


def word_tokenizer(sentences, language):
    """Make a tokeniser whose tokens are the words of the sentences.

    Punctuation is split off, so "great!" and "great !" are the same, and decoding puts spaces between
    all tokens.

    Args:
        sentences: an iterable of strings.
        language: "en", "fr" or "de"; decides how apostrophes are attached.

    Returns:
        A ``tokenizers.Tokenizer`` whose ``encode`` gives ``<s> words </s>``.
    """
    _, behaviour = _APOSTROPHES.get(language, (None, "isolated"))
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace("’", "'")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Split(Regex(r"[^\w'-]"), "isolated"),
            pre_tokenizers.Split(_APOSTROPHE, behaviour),
        ]
    )
    tokenizer.post_processor = FRAME
    trainer = trainers.WordLevelTrainer(special_tokens=SPECIAL_TOKENS, show_progress=False)
    tokenizer.train_from_iterator(sentences, trainer)
    return tokenizer


def train_tokenizer(sentences, language, vocabulary_size=4000, lowercase=False, mask=False):
    """Learn a byte-pair encoding from sentences.

    Args:
        sentences: an iterable of strings.
        language: "en", "fr" or "de"; decides how apostrophes are attached.
        vocabulary_size: number of pieces, special tokens included.
        lowercase: whether capitals are read as small letters.
        mask: whether ``[MASK]`` is a fifth special token, which stands for a word and its space.

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
        + ([normalizers.Lowercase()] if lowercase else [])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            # What follows [MASK] is not the beginning of a text, so it gets no space.
            pre_tokenizers.Metaspace(WORD_SIGN, prepend_scheme="first" if mask else "always"),
            pre_tokenizers.Split(Regex(r"▁?[^\w▁'-]"), "isolated"),
            pre_tokenizers.Split(_APOSTROPHE, behaviour),
        ]
    )
    tokenizer.decoder = decoders.Metaspace(replacement=WORD_SIGN, prepend_scheme="always")
    tokenizer.post_processor = FRAME
    special_tokens = SPECIAL_TOKENS + (
        [tokenizers.AddedToken(MASK, lstrip=True, normalized=True)] if mask else []
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size, special_tokens=special_tokens, min_frequency=2, show_progress=False
    )
    tokenizer.train_from_iterator(sentences, trainer)
    return tokenizer


def check_texts(texts, name="text"):
    """Refuse texts that cannot be read.

    Args:
        texts: a list.
        name: what a message calls one of them.

    Raises:
        TypeError, ValueError: a text that is not a string, or is empty; the message gives its place.
    """
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"{name} {position} must be a string, not {type(text).__name__}: {text!r}")
        if not text.strip():
            raise ValueError(f"{name} {position} is empty; give at least one word")


def encode_texts(tokenizer, texts):
    """Token ids of each text, a list of lists.

    Args:
        tokenizer: a ``tokenizers.Tokenizer``; where it truncates, a warning names the texts.
        texts: a list of strings.

    Raises:
        TypeError, ValueError: a text that is not a string, or is empty; the message gives its place.
    """
    check_texts(texts)
    encodings = tokenizer.encode_batch(list(texts))
    cut = [position for position, encoding in enumerate(encodings) if encoding.overflowing]
    if cut:
        longest = tokenizer.truncation["max_length"]
        warnings.warn(
            f"{len(cut)} of {len(encodings)} texts are longer than {longest} tokens and were cut off, the "
            f"first of them text {cut[0]}",
            stacklevel=2,
        )
    return [encoding.ids for encoding in encodings]
