"""Tokenisation on the `tokenizers` library: sub-words for captions, whole words for the phrasebook.

For byte-pair encoding (Sennrich et al. 2016), words are cut into pieces that were frequent in the
training text. A piece that begins a word starts with the sign ``▁``, which stands for the space before
it, so a text can be put together again. Punctuation is always a piece of its own, and so are the two
halves of "l'homme" and "man's": that way every piece belongs to exactly one word of an alignment.

Batches of token ids, sentences of like length together, so that little is padded.
"""

import itertools
import warnings

import numpy
import tokenizers
import torch
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
