"""Tokenisation on the `tokenizers` library: sub-words for captions, whole words for the phrasebook; batches.

A piece that begins a word starts with the sign ``▁``, which stands for the space before it, so a text can be
put together again. Punctuation is always a piece of its own, and so are the two halves of "l'homme" and
"man's": that way every piece belongs to exactly one word of an alignment.
"""

# ruff: noqa: F405 (what is not defined here is in utils.inputs and utils.vocabulary)

import warnings
from collections.abc import Iterable, Sequence

import numpy
import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers import processors as post
from tokenizers.trainers import BpeTrainer, WordLevelTrainer

from utils.inputs import *  # noqa: F403 (what it has is looked for here, too)
from utils.vocabulary import *  # noqa: F403

# Where the apostrophe belongs: French elision ends a word with it, the English genitive begins one.
_APOSTROPHES = {
    "en": (r" (?=(?:'s|'re|'ve|'ll|'d|'m|n't)\b)", "merged_with_next"),
    "fr": (r"(?<=\w') ", "merged_with_previous"),  # but "aujourd'hui" is one word
}
_APOSTROPHE = Regex("(?<!ujourd)'")
_SPELLING = [INVISIBLE, normalizers.NFC(), normalizers.Replace("’", "'")]


def word_tokenizer(sentences: Iterable[str], language: str) -> Tokenizer:
    """Make a tokeniser whose tokens are the words of sentences; ``encode`` gives ``<s> words </s>``.

    The language, such as "en", decides how apostrophes are attached. Used in notebook 01.
    """
    _, behaviour = _APOSTROPHES.get(language, (None, "isolated"))
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence(_SPELLING)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Split(Regex(r"[^\w'-]"), "isolated"),
            pre_tokenizers.Split(_APOSTROPHE, behaviour),
        ]
    )
    trainer = WordLevelTrainer(special_tokens=SPECIAL_TOKENS, show_progress=False)
    return _trained(tokenizer, sentences, trainer)


def train_tokenizer(
    sentences: Iterable[str],
    language: str,
    vocabulary_size: int = 4000,
    lowercase: bool = False,
    mask: bool = False,
) -> Tokenizer:
    """Learn a byte-pair encoding (Sennrich et al. 2016); ``encode`` gives ``<s> pieces </s>``.

    The ``vocabulary_size`` counts special tokens, too; with ``mask`` there is a fifth, ``[MASK]``, which
    stands for a word and its space.
    """
    joined, behaviour = _APOSTROPHES.get(language, (None, "isolated"))
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence(
        [
            *_SPELLING,
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
    special = SPECIAL_TOKENS + ([AddedToken(MASK, lstrip=True, normalized=True)] if mask else [])
    trainer = BpeTrainer(
        vocab_size=vocabulary_size, special_tokens=special, min_frequency=2, show_progress=False
    )
    return _trained(tokenizer, sentences, trainer)


def _trained(tokenizer, sentences, trainer):
    tokenizer.post_processor = post.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, START_ID), (END, END_ID)]
    )
    tokenizer.train_from_iterator(sentences, trainer)
    return reading_signs_as_text(tokenizer)


def encode_texts(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, checked by ``check_texts``; a warning names texts that are cut off."""
    check_texts(texts)
    encodings = tokenizer.encode_batch(list(texts))
    cut = [position for position, encoding in enumerate(encodings) if encoding.overflowing]
    if cut:
        longest = (tokenizer.truncation or {})["max_length"]
        warnings.warn(
            f"{len(cut)} of {len(encodings)} texts are longer than {longest} tokens and were cut off, the "
            f"first of them text {cut[0]}",
            stacklevel=2,
        )
    return [encoding.ids for encoding in encodings]


def bucketed_batches(
    lengths: Sequence, batch_size: int, seed: int | list[int], batches_per_bucket: int = 50
) -> list[list[int]]:
    """Shuffle, then sort by length inside buckets, then cut into batches and shuffle those.

    The lengths are sort keys, numbers or tuples of them. Gives lists of indices, each exactly once.
    """
    generator = numpy.random.default_rng(seed)
    order = generator.permutation(len(lengths))
    bucket_size = batch_size * batches_per_bucket
    batches = []
    for start in range(0, len(order), bucket_size):
        bucket = sorted(order[start : start + bucket_size].tolist(), key=lambda index: lengths[index])
        batches += [bucket[i : i + batch_size] for i in range(0, len(bucket), batch_size)]
    return [batches[i] for i in generator.permutation(len(batches))]


def translation_batches(
    source_ids: list[list[int]], target_ids: list[list[int]], batch_size: int, seed: int | list[int]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Cut sentence pairs into bucketed batches: [batch, source] and [batch, target], padded at the end."""
    lengths = [(len(target), len(source)) for source, target in zip(source_ids, target_ids, strict=True)]
    return [
        (pad([source_ids[i] for i in batch]), pad([target_ids[i] for i in batch]))
        for batch in bucketed_batches(lengths, batch_size, seed)
    ]
