import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.alignment import group_into_words, link_matrix, match_pieces, parse_links
from utils.loaders import DATA, load_captions
from utils.tokens import (
    SPECIAL_TOKENS,
    bucketed_batches,
    pad,
    sorted_batches,
    train_tokenizer,
)


@pytest.mark.parametrize(
    ("language", "given_text", "normal"),
    [
        ("en", "The girl 's red balloon .", "The girl's red balloon."),
        ("en", "The boys' dog , a cat", "The boys' dog, a cat"),
        ("fr", "L' homme près d' une flaque d' eau .", "L'homme près d'une flaque d'eau."),
        ("fr", "Aujourd’hui ,  il pleut .", "Aujourd'hui, il pleut."),
        ("de", "Zwei Mädchen , drei Stühle .", "Zwei Mädchen, drei Stühle."),
    ],
)
def test_tokenizing_and_decoding_gives_the_normal_spelling_back(tokenizers, language, given_text, normal):
    learnt = [*load_captions()[language], given_text]  # so that no character of it is unknown
    for tokenizer in (tokenizers[language], train_tokenizer(learnt * 2, language, 400)):
        ids = tokenizer.encode(given_text).ids
        assert tokenizer.encode(normal).ids == ids
    assert tokenizer.token_to_id("<unk>") not in ids
    assert tokenizer.decode(ids) == normal


@pytest.mark.parametrize("language", ["en", "fr", "de"])
def test_every_caption_survives_tokenization(tokenizers, language):
    tokenizer = tokenizers[language]
    for caption in load_captions()[language]:
        encoding = tokenizer.encode(caption)
        decoded = tokenizer.decode(encoding.ids)
        assert decoded.replace(" ", "") == caption.replace(" ", "")
        groups = match_pieces(encoding.tokens, caption.split())
        assert len(groups) == len(caption.split())
        assert all(groups)


def test_pieces_are_grouped_into_the_words_of_the_captions(tokenizers):
    for language in ("en", "fr", "de"):
        for caption in load_captions()[language]:
            if language == "en" and " 's " in caption:
                continue  # this small vocabulary cuts "'s" in two; the signs alone cannot tell how
            tokens = tokenizers[language].encode(caption).tokens
            words = [word for word, _ in group_into_words(tokens) if word not in SPECIAL_TOKENS]
            assert words == caption.replace("quelqu'un", "quelqu' un").split()


def test_group_into_words_special_cases():
    assert group_into_words(["▁A", "▁bi", "cycle", "."]) == [("A", [0]), ("bicycle", [1, 2]), (".", [3])]
    assert group_into_words(["▁l'", "hom", "me"]) == [("l'", [0]), ("homme", [1, 2])]
    assert group_into_words(["▁man", "'s"]) == [("man", [0]), ("'s", [1])]
    assert group_into_words(["▁aujourd'", "hui"]) == [("aujourd'hui", [0, 1])]
    assert group_into_words(["▁t", "-", "shirt"]) == [("t-shirt", [0, 1, 2])]
    assert group_into_words(["▁a", "</s>"]) == [("a", [0]), ("</s>", [1])]
    assert group_into_words(["already", "words"]) == [("already", [0]), ("words", [1])]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=300), st.integers(1, 40), st.integers(0, 9))
def test_batches_hold_every_example_once(lengths, batch_size, seed):
    batches = bucketed_batches(lengths, batch_size, seed)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert max(map(len, batches)) <= batch_size
    assert batches == bucketed_batches(lengths, batch_size, seed)


def test_batches_are_of_like_length_and_differ_between_epochs():
    lengths = [index % 40 for index in range(4000)]
    batches = bucketed_batches(lengths, 32, [0, 1])
    padding = sum(max(lengths[i] for i in batch) - lengths[j] for batch in batches for j in batch)
    assert padding / sum(lengths) < 0.05
    assert batches != bucketed_batches(lengths, 32, [0, 2])


def test_sorted_batches_refuse_a_size_that_cannot_be():
    assert sorted_batches([3, 1, 2], 2) == [[1, 2], [0]]
    for size in (0, -1, 1.5):
        with pytest.raises(ValueError, match=f"batch_size must be an integer of at least 1, not {size}"):
            sorted_batches([3, 1, 2], size)


def test_pad_fills_at_the_end():
    assert pad([[5, 6, 7], [8]]).tolist() == [[5, 6, 7], [8, 0, 0]]


def test_captions_are_as_the_card_says():
    rows = list(load_captions())
    assert [row["id"] for row in rows] == [f"c{number:03d}" for number in range(1, 111)]
    lengths = [sum(any(c.isalnum() for c in word) for word in row["en"].split()) for row in rows]
    assert (min(lengths), max(lengths)) == (3, 40)
    assert f"{sum(length >= 20 for length in lengths)} captions have 20 words or more" in card()
    assert len({row["en"] for row in rows}) == 110
    aligned = [row for row in rows if row["links_en_fr"]]
    assert len(aligned) == 60
    for row in aligned:
        shape = len(row["fr"].split()), len(row["en"].split())
        sure, possible = (link_matrix(links, *shape) for links in parse_links(row["links_en_fr"]))
        assert sure.sum() >= 0.5 * len(row["fr"].split())
        assert (possible >= sure).all()


def test_agreement_between_the_two_readings_is_as_the_card_says():
    first = {row["id"]: row["links_en_fr"] for row in load_captions(aligned_only=True)}
    with open(DATA / "captions_second_reading.tsv", encoding="utf-8", newline="") as file:
        second = {row["id"]: row["links_en_fr"] for row in csv.DictReader(file, delimiter="\t")}
    assert len(second) == 20
    for kind, figure in ((0, "0.98 over sure links"), (1, "0.99 over all links")):
        one = {(key, *link) for key in second for link in parse_links(first[key])[kind]}
        two = {(key, *link) for key in second for link in parse_links(second[key])[kind]}
        f1 = 2 * len(one & two) / (len(one) + len(two))
        assert f"{f1:.2f}" == figure[:4]
        assert figure in card()


def card():
    return (DATA / "captions.md").read_text(encoding="utf-8")
