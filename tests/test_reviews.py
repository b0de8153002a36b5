import csv
import re
from collections import Counter, defaultdict

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import cosine_similarity

from utils.loaders import DATA, REVIEW_LABELS, REVIEW_SPLITS, load_results, load_reviews

HARD = {"negation", "contrast", "irony", "faint"}


@pytest.fixture(scope="module")
def reviews():
    return load_reviews()


@pytest.fixture(scope="module")
def rows():
    with open(DATA / "reviews.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_split_is_balanced_and_labels_follow_the_stars(reviews):
    assert sum(map(len, reviews.values())) >= 1500
    for split in reviews.values():
        assert abs(np.mean(split["label"]) - 0.5) < 0.02
    for split in reviews.values():
        for label, stars in zip(split["label"], split["stars"], strict=True):
            assert stars == 3 or label == (stars > 3)
    assert {kind for split in reviews.values() for kind in split["kind"]} == HARD | {"plain"}
    assert set(reviews["challenge"]["kind"]) == HARD
    for kind in HARD:
        assert Counter(reviews["test"]["kind"])[kind] >= 25


def test_reviews_vary_in_length(rows):
    lengths = [len(row["text"].split()) for row in rows]
    assert min(lengths) >= 5
    assert np.percentile(lengths, 90) > 3 * np.percentile(lengths, 10)


def words(text):
    return re.findall(r"[a-z0-9']+", text.lower())


def test_no_run_of_five_words_is_in_more_than_three_reviews(rows):
    found = defaultdict(set)
    for row in rows:
        tokens = words(row["text"])
        for i in range(len(tokens) - 4):
            found[tuple(tokens[i : i + 5])].add(row["id"])
    assert not {run: ids for run, ids in found.items() if len(ids) > 3}


def test_no_two_reviews_are_nearly_the_same(rows):
    assert len({row["id"] for row in rows}) == len(rows)
    counts = TfidfVectorizer(ngram_range=(1, 2)).fit_transform([row["text"] for row in rows])
    similarity = np.triu(cosine_similarity(counts), 1)
    assert similarity.max() < 0.6


def test_counting_words_is_neither_enough_nor_useless(reviews):
    vectorizer = CountVectorizer()
    counts = vectorizer.fit_transform(reviews["train"]["text"])
    classifier = LogisticRegression(max_iter=2000).fit(counts, reviews["train"]["label"])
    right = classifier.predict(vectorizer.transform(reviews["test"]["text"])) == reviews["test"]["label"]
    hard = np.array([kind in HARD for kind in reviews["test"]["kind"]])
    assert 0.65 <= right.mean() <= 0.88
    assert right[hard].mean() <= 0.65


def test_a_second_reader_agrees_as_the_card_says(rows):
    with open(DATA / "reviews_second_reading.tsv", encoding="utf-8", newline="") as file:
        second = list(csv.DictReader(file, delimiter="\t"))
    first = {row["id"]: row for row in rows if row["split"] in ("test", "challenge")}
    assert {row["id"] for row in second} == set(first)
    differ = [row["id"] for row in second if row["label"] != first[row["id"]]["label"]]
    hard = [row["id"] for row in first.values() if row["kind"] in HARD]
    card = (DATA / "reviews.md").read_text(encoding="utf-8")
    unsure = sum(row["unsure"] == "yes" for row in second)
    assert f"{len(second) - len(differ)} of {len(second)} labels agree" in card
    assert f"all but one of the {len(hard)} hard ones, and it was unsure of {unsure}" in card
    assert len(set(differ) & set(hard)) == 1
    assert all(name in card for name in differ)


def test_every_line_is_whole(rows):
    for row in rows:
        assert row["text"].strip(), row["id"]
        assert row["label"] in REVIEW_LABELS, row["id"]
        assert row["split"] in REVIEW_SPLITS, row["id"]
        assert row["stars"] in "12345", row["id"]


def test_a_missing_table_says_what_computes_it():
    with pytest.raises(FileNotFoundError, match=r"git checkout.*hello experiment nothing`"):
        load_results("nothing-history")


def test_the_card_has_the_figures_of_the_comparison_with_real_reviews():
    card = (DATA / "reviews.md").read_text(encoding="utf-8")
    rows = load_results("reviews-elsewhere").to_dict("records")
    assert [(row["trained on"], row["tested on"]) for row in rows] == [
        (trained, tested) for trained in ("ours", "theirs") for tested in ("ours", "theirs")
    ]
    for name, line in (
        ("bag of words", "counting words"),
        ("MiniLM, frozen", "linear head on MiniLM, frozen"),
    ):
        figures = " | ".join(f"{row[name]:.0%}".replace("%", " %") for row in rows)
        assert f"| {line} | {figures} |" in card
