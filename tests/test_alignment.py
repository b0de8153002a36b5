import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from phrasebook import write_phrases
from scripts.alignment_scores import (
    alignment_error_rate,
    diagonal_alignment,
    ibm_model_1,
    uniform_alignment,
)
from utils.alignment import (
    group_into_words,
    hard_alignment,
    link_matrix,
    match_pieces,
    merge_weights,
    parse_links,
)
from utils.plots.weights import prepare


def test_parse_links():
    assert parse_links("0-0 1?2") == ({(0, 0)}, {(0, 0), (1, 2)})
    assert parse_links("") == (set(), set())
    for bad in ("0:1", "1-", "-1-0", "a-b"):
        with pytest.raises(ValueError, match="is not a link"):
            parse_links(bad)


def test_link_matrix_has_target_rows():
    assert link_matrix({(2, 0)}, 2, 3).tolist() == [[0, 0, 1], [0, 0, 0]]
    with pytest.raises(ValueError, match=r"3-0 .* 3 source and 2 target"):
        link_matrix({(3, 0)}, 2, 3)


def test_error_rate_of_a_worked_example():
    # Three target words, three source words; sure links 0-0 and 1-2, possible also 2-1.
    sure = link_matrix({(0, 0), (1, 2)}, 3, 3)
    possible = link_matrix({(0, 0), (1, 2), (2, 1)}, 3, 3)
    predicted = link_matrix({(0, 0), (2, 1), (2, 2)}, 3, 3)
    # |A ∩ S| = 1, |A ∩ P| = 2, |A| = 3, |S| = 2
    assert alignment_error_rate([predicted], [(sure, possible)]) == pytest.approx(1 - 3 / 5)
    assert alignment_error_rate([sure], [(sure, possible)]) == 0
    assert alignment_error_rate([possible], [(sure, possible)]) == 0
    wrong = link_matrix({(1, 0)}, 3, 3)
    assert alignment_error_rate([wrong], [(sure, possible)]) == 1
    # two pairs are pooled, not averaged: (1 + 2 + 2 + 2) / (3 + 2 + 2 + 2)
    both = alignment_error_rate([predicted, sure], [(sure, possible)] * 2)
    assert both == pytest.approx(1 - 7 / 9)


def test_error_rate_of_uniform_weights_is_that_of_random_choices():
    sure = link_matrix({(0, 0), (1, 1)}, 2, 4)
    expected = alignment_error_rate([uniform_alignment(2, 4)], [(sure, sure)])
    rates = []
    for first in range(4):
        for second in range(4):
            chosen = link_matrix({(first, 0), (second, 1)}, 2, 4)
            rates.append(alignment_error_rate([chosen], [(sure, sure)]))
    assert expected == pytest.approx(sum(rates) / len(rates))


def test_error_rate_refuses_what_does_not_fit():
    square = torch.eye(2)
    with pytest.raises(ValueError, match="1 alignments do not fit 2"):
        alignment_error_rate([square], [(square, square)] * 2)
    with pytest.raises(ValueError, match=r"shape \(2, 2\).*\(2, 3\)"):
        alignment_error_rate([square], [(torch.zeros(2, 3), torch.zeros(2, 3))])
    with pytest.raises(ValueError, match="must be a possible link"):
        alignment_error_rate([square], [(square, torch.zeros(2, 2))])


def test_baselines():
    assert diagonal_alignment(3, 3).tolist() == torch.eye(3).tolist()
    assert diagonal_alignment(2, 4).argmax(dim=1).tolist() == [0, 3]
    assert diagonal_alignment(1, 5).sum() == 1
    assert hard_alignment(torch.tensor([[0.2, 0.8], [0.6, 0.4]])).tolist() == [[0, 1], [1, 0]]


@pytest.mark.slow
@given(st.integers(1, 6), st.integers(1, 9), st.randoms(use_true_random=False))
def test_merging_keeps_row_sums(rows, columns, random):
    weights = torch.rand(rows, columns, dtype=torch.float64).softmax(dim=1)
    cuts = [sorted(random.sample(range(1, n), random.randint(0, n - 1))) for n in (rows, columns)]
    groups = [
        [list(range(a, b)) for a, b in zip([0, *cut], [*cut, n], strict=True)]
        for cut, n in zip(cuts, (rows, columns), strict=True)
    ]
    merged = merge_weights(weights, groups[1], groups[0])
    assert merged.shape == (len(groups[0]), len(groups[1]))
    assert torch.allclose(merged.sum(dim=1), torch.ones(len(groups[0]), dtype=torch.float64))


def test_merging_by_hand():
    weights = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    assert torch.allclose(merge_weights(weights, [[0, 1], [2]], [[0, 1]]), torch.tensor([[0.5, 0.5]]))


def test_matching_pieces_to_given_words():
    assert match_pieces(["▁l'", "eau", ".", "</s>"], ["l'", "eau", "."]) == [[0], [1], [2]]
    # one piece that spells two words belongs to the first, and the second shares it
    assert match_pieces(["▁ab", "c"], ["a", "b", "c"]) == [[0], [0], [1]]
    with pytest.raises(ValueError, match="spell 'abc', the words 'abd'"):
        match_pieces(["▁ab", "c"], ["ab", "d"])


PIECES = ["▁", "▁a", "b", "$", ".", "'s", "▁l'", "</s>", "漢", "🚲"]


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=12))
def test_every_piece_is_in_one_word_and_every_word_has_a_name(tokens):
    words = group_into_words(tokens)
    assert sorted(index for _, group in words for index in group) == list(range(len(tokens)))
    assert all(word for word, _ in words)
    assert all(group == sorted(group) for _, group in words)
    weights = torch.rand(3, len(tokens)).softmax(dim=1)
    merged, sources, _ = prepare(weights, tokens, ["▁x", "▁y", "</s>"])
    assert sources == [word for word, _ in words]
    assert merged.sum(axis=1) == pytest.approx([1, 1, 1], abs=1e-5)


def test_a_sign_alone_belongs_to_the_piece_after_it():
    assert group_into_words(["▁A", "▁", "$", "5", "▁bike"]) == [
        ("A", [0]),
        ("$", [1, 2]),
        ("5", [3]),
        ("bike", [4]),
    ]
    assert group_into_words(["▁a", "▁", "</s>"]) == [("a", [0, 1]), ("</s>", [2])]
    assert group_into_words(["▁"]) == [("▁", [0])]
    assert match_pieces(["▁A", "▁", "$", "5", "</s>"], ["A", "$", "5"]) == [[0], [1, 2], [3]]


def test_alignment_imports_nothing_heavy():
    script = "import sys, utils.alignment; print(sorted({'transformers', 'huggingface_hub', 'tokenizers', "
    script += "'datasets', 'sklearn', 'matplotlib'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, encoding="utf-8", check=True)
    assert found.stdout.strip() == "[]"


def test_model_1_finds_the_words_of_a_textbook_example():
    """The corpus of Knight's tutorial: "das" must become "the" though both pairs of words co-occur."""
    sources = [["das", "haus"], ["das", "buch"], ["ein", "buch"]]
    targets = [["the", "house"], ["the", "book"], ["a", "book"]]
    shares = ibm_model_1(sources, targets, iterations=20)
    for share in shares:
        assert torch.allclose(share.sum(dim=1), torch.ones(2))
        assert share.argmax(dim=1).tolist() == [0, 1]
    first = ibm_model_1(sources, targets, iterations=1)
    assert torch.allclose(first[0], torch.full((2, 2), 0.5))


@pytest.mark.slow
def test_model_1_aligns_the_phrasebook_far_better_than_a_diagonal():
    rows = list(write_phrases(1500, seed=8, max_words=16))
    english, french = ([row[k].split() for row in rows] for k in ("en", "fr"))
    gold = [
        (link_matrix(parse_links(row["links_en_fr"])[0], len(f), len(e)),) * 2
        for row, e, f in zip(rows, english, french, strict=True)
    ]
    found = [hard_alignment(share) for share in ibm_model_1(english, french)]
    diagonal = [diagonal_alignment(len(f), len(e)) for e, f in zip(english, french, strict=True)]
    assert alignment_error_rate(found, gold) < 0.7 * alignment_error_rate(diagonal, gold)


def test_model_1_refuses_what_it_cannot_align():
    for sources, targets in (([["a"]], []), ([["a"], []], [["b"], ["c"]])):
        with pytest.raises(ValueError, match="no sentence without words"):
            ibm_model_1(sources, targets)
