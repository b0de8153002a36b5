"""This project's reviews against sentences of real ones: the table of the card ``data/reviews.md``.

hello experiment reviews-elsewhere
"""

import itertools

from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from scripts.bodies import TransformersBody, load_minilm, text_features
from scripts.corpora import load_sentence_polarity
from scripts.tables import write_rows
from utils.loaders import load_reviews
from utils.tokens import encode_texts


def bag_of_words():
    """Logistic regression on the counts of words."""
    return make_pipeline(CountVectorizer(), LogisticRegression(max_iter=2000))


def compare_elsewhere(name="reviews-elsewhere", tested=2000):
    """Our reviews against sentences of real ones, ``tested`` of them, each trained on and tested on."""
    reviews, polarity = load_reviews(), load_sentence_polarity().shuffle(seed=0)
    size = len(reviews["train"])
    train = {"ours": reviews["train"], "theirs": polarity.select(range(size))}
    test = {"ours": reviews["test"], "theirs": polarity.select(range(4000, 4000 + tested))}
    model, tokenizer = load_minilm()
    body = TransformersBody(model)

    def features(rows):
        return text_features(body, encode_texts(tokenizer, rows["text"])).numpy()

    train_features, test_features = (
        {w: features(rows) for w, rows in part.items()} for part in (train, test)
    )
    found = []
    for trained, judged in itertools.product(train, test):
        counted = bag_of_words().fit(train[trained]["text"], train[trained]["label"])
        probe = LogisticRegression(max_iter=2000).fit(train_features[trained], train[trained]["label"])
        labels = test[judged]["label"]
        row = {"trained on": trained, "tested on": judged, "texts": len(labels)}
        row["bag of words"] = round(counted.score(test[judged]["text"], labels), 4)
        row["MiniLM, frozen"] = round(probe.score(test_features[judged], labels), 4)
        found.append(row)
    write_rows(name, found)
    print(found)
