"""What a pretrained body is worth, in images and in film reviews: the sweeps of notebook 03.

hello experiment transfer-digits | transfer-reviews | ulmfit | reviews-elsewhere
"""

import copy
import itertools

import numpy as np
import pandas as pd
import torch
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from scripts.corpora import load_sentence_polarity
from scripts.experiments.digits import ARMS, LABEL_COUNTS, digit_accuracy, pretrain_digit_body
from scripts.tables import write_rows, write_settings
from utils.loaders import SEEDS, load_reviews
from utils.models.language_models import RecurrentLanguageModel
from utils.pretrained import load_minilm
from utils.texts import LanguageModel, load_language_model
from utils.tokens import encode_texts
from utils.training import fit_language_model
from utils.transfer import (
    LanguageModelBody,
    TextClassifier,
    TransformersBody,
    fit_classifier,
    text_features,
)

REVIEW_COUNTS = (10, 20, 50, 100, 200, 400, 790)
LANGUAGE_MODELS = ("untrained", "pretrained", "adapted briefly", "adapted")

# Rates were chosen on the validation reviews at 200 labels, with seeds that are not among those that are
# reported: for MiniLM of three each, for ULMFiT from 0.0003, 0.001 and 0.003.
MINILM_EPOCHS = {10: 5, 50: 5, 200: 5, 790: 3}
MINILM_RATES = {"from scratch": 1e-4, "fine-tuned": 5e-5}
ULMFIT_EPOCHS = {50: 10, 200: 6, 790: 4}
ULMFIT_RATE = 3e-3


def slanted_triangular(step, total_steps, peak):
    """A short rise, and a long fall to a 32nd (Howard and Ruder 2018, equation 3), as in notebook 03."""
    rise = max(1, int(0.1 * total_steps))
    share = step / rise if step < rise else 1 - (step - rise) / max(1, total_steps - rise)
    return peak * (1 + share * 31) / 32


PLAIN = {"schedule": lambda step, total_steps, peak: peak}
TECHNIQUES = {
    "none": PLAIN,
    "discriminative rates": PLAIN | {"layer_decay": 1 / 2.6},
    "slanted triangular rates": {"schedule": slanted_triangular},
    "gradual unfreezing": PLAIN | {"unfreeze_every": 1},
    "all three": {"schedule": slanted_triangular, "layer_decay": 1 / 2.6, "unfreeze_every": 1},
}


def bag_of_words():
    """Logistic regression on the counts of words, the classifier that everything must beat."""
    return make_pipeline(CountVectorizer(), LogisticRegression(max_iter=2000))


def fit_probe(features, labels, validation, strengths=(1e-4, 1e-3, 1e-2, 1e-1, 1.0)):
    """Fit a linear head to features [texts, width] that stay as they are: logistic regression.

    Features and labels of other texts, ``validation``, choose its regularisation, scikit-learn's C.
    Built in notebook 03, *A body that has read a billion pairs of sentences*, as ``choose_labelled`` is.
    """
    heads = [make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=2000)) for c in strengths]
    return max((head.fit(features, labels) for head in heads), key=lambda head: head.score(*validation))


def choose_labelled(labels, count, seed):
    """Choose the indices of ``count`` examples at random, as many of each label; or all of them.

    Raises:
        ValueError: so many cannot be had, or not as many of each.
    """
    if count == len(labels):
        return list(range(count))
    order = np.random.default_rng(seed).permutation(len(labels)).tolist()
    kinds = sorted(set(labels))
    chosen = [i for kind in kinds for i in [i for i in order if labels[i] == kind][: count // len(kinds)]]
    if count % len(kinds) or len(chosen) != count or not count:
        raise ValueError(
            f"{count} examples, as many of each of {len(kinds)} labels, cannot be chosen from {len(labels)}"
        )
    return chosen


def accuracies(found, reviews):
    """Shares of right labels on held-out reviews.

    Args:
        found: ``found(split)`` returns the label of each review of "test" or "challenge".
        reviews: what ``load_reviews`` returned.

    Returns:
        A dictionary: "test", all of it; "plain", its plain part; "hard", its hard part and the
        challenge split together.
    """
    judged = pd.concat(reviews[split].to_pandas().assign(split=split) for split in ("test", "challenge"))
    answers = np.concatenate([np.asarray(found(split)) for split in ("test", "challenge")])
    right, plain = answers == judged["label"].to_numpy(), judged["kind"].eq("plain").to_numpy()
    parts = {"test": judged["split"].eq("test").to_numpy(), "plain": plain, "hard": ~plain}
    return {name: round(right[part].mean().item(), 4) for name, part in parts.items()}


def language_models(seed=0):
    """The language models of notebook 03: "untrained", "pretrained" on Brown, "adapted" to film reviews."""
    pretrained = load_language_model("language-model-brown")
    torch.manual_seed(seed)
    untrained = LanguageModel(RecurrentLanguageModel(**pretrained.model.config).eval(), pretrained.tokenizer)
    adapted = load_language_model("language-model-movie-reviews")
    return {"untrained": untrained, "pretrained": pretrained, "adapted": adapted}


def adapt(language_model, reviews, seed=0, epochs=3):
    """A copy of a language model that has read on in the training reviews; labels are not used."""
    adapted = copy.deepcopy(language_model)
    texts = [list(reviews[split]["text"]) for split in ("train", "validation")]
    fit_language_model(adapted, *texts, epochs=epochs, batch_size=16, learning_rate=1e-3, seed=seed)
    return adapted


def fine_tune(body, ids, reviews, count, seed, pooling="concat", **options):
    """Put a new, linear head on a body and train both on labelled reviews.

    Args:
        body: the body; it is changed.
        ids: token ids of the reviews of each split, a dictionary of lists.
        reviews: what ``load_reviews`` returned.
        count: labelled reviews; see ``choose_labelled``.
        seed: of the choice, of the head, and of the training.
        pooling: see ``pool``.
        options: see ``fit_classifier``; the validation reviews choose the epoch.

    Returns:
        The ``TextClassifier``.
    """
    labels = reviews["train"]["label"]
    chosen = choose_labelled(labels, count, seed)
    torch.manual_seed(seed)
    classifier = TextClassifier(body, pooling=pooling)
    texts, judged = [ids["train"][i] for i in chosen], [labels[i] for i in chosen]
    validation = ids["validation"], reviews["validation"]["label"]
    fit_classifier(classifier, texts, judged, validation, seed=seed, **options)
    return classifier


def few_label_rows(arm, fit, reviews, counts=REVIEW_COUNTS, seeds=SEEDS):
    """Accuracy against the number of labels: a list of rows.

    Args:
        arm: what the rows call it.
        fit: ``fit(chosen)`` learns from the training reviews with these indices, and returns what
            ``accuracies`` asks for.
        reviews: what ``load_reviews`` returned.
        counts: numbers of labels.
        seeds: of the choices.
    """
    rows, labels = [], reviews["train"]["label"]
    for count, seed in itertools.product(counts, seeds):
        found = fit(choose_labelled(labels, count, seed))
        rows.append({"arm": arm, "seed": seed, "labels": count} | accuracies(found, reviews))
    return rows


def compare_probes(arm, features, reviews, counts=REVIEW_COUNTS, seeds=SEEDS):
    """Linear heads on features that stay as they are, against the number of labels: a list of rows.

    Args:
        arm: what the rows call it.
        features: [texts, width] for each split, a dictionary.
        reviews, counts, seeds: see ``few_label_rows``.
    """
    labels = np.array(reviews["train"]["label"])
    validation = (features["validation"], reviews["validation"]["label"])

    def fit(chosen):
        probe = fit_probe(features["train"][chosen], labels[chosen], validation)
        return lambda split: probe.predict(features[split])

    return few_label_rows(arm, fit, reviews, counts, seeds)


def sweep_digits(name="transfer-digits", counts=LABEL_COUNTS, seeds=SEEDS, pretraining=600, steps=150):
    """Accuracy against the number of labels, from 0–4 to 5–9; two minutes.

    Args:
        name: of the results.
        counts: numbers of labels.
        seeds: of the bodies and of what follows.
        pretraining: steps in which a body learns 0 to 4.
        steps: see ``digit_accuracy``.
    """
    rows = []
    for seed in seeds:
        body = pretrain_digit_body(seed, pretraining)
        for count, arm in itertools.product(counts, ARMS):
            accuracy = round(digit_accuracy(arm, body, seed, count, steps), 4)
            rows.append({"arm": arm, "seed": seed, "labels": count, "accuracy": accuracy})
    write_rows(name, rows)
    settings = {"command": f"hello experiment {name}", "seeds": list(seeds)}
    write_settings(name, settings | {"pretraining": pretraining, "steps": steps})


def sweep_minilm(
    name="transfer-reviews", counts=REVIEW_COUNTS, epochs=MINILM_EPOCHS, seeds=SEEDS, load=load_minilm
):
    """A pretrained body against the same one from scratch and against counting words; hours.

    Args:
        name: of the results.
        counts: numbers of labels for what has a linear head.
        epochs: a dictionary from a number of labels to the passes, for what is trained as a whole.
        seeds: of the choices and of the trainings.
        load: ``load(pretrained)`` gives the model and its tokeniser.
    """
    reviews, (_, tokenizer) = load_reviews(), load(True)
    ids = {split: encode_texts(tokenizer, reviews[split]["text"]) for split in reviews}
    texts, labels = np.array(reviews["train"]["text"]), np.array(reviews["train"]["label"])

    def new_body(seed, pretrained):
        torch.manual_seed(seed)
        return TransformersBody(load(pretrained)[0])

    def count_words(chosen):
        counted = bag_of_words().fit(texts[chosen], labels[chosen])
        return lambda split: counted.predict(reviews[split]["text"])

    rows = few_label_rows("bag of words", count_words, reviews, counts, seeds)
    for arm, pretrained in (("frozen", True), ("frozen, untrained", False)):
        body = new_body(0, pretrained)
        features = {split: text_features(body, ids[split]).numpy() for split in ids}
        rows += compare_probes(arm, features, reviews, counts, seeds)
    for seed, count, (arm, rate) in itertools.product(seeds, epochs, MINILM_RATES.items()):
        options = {"epochs": epochs[count], "learning_rate": rate, "mixed_precision": "bf16"}
        body = new_body(seed, arm == "fine-tuned")
        classifier = fine_tune(body, ids, reviews, count, seed, pooling="mean", **options)
        rows.append({"arm": arm, "seed": seed, "labels": count} | _judge(classifier, ids, reviews))
    write_rows(name, rows)
    settings = {"command": f"hello experiment {name}", "seeds": list(seeds), "epochs": epochs}
    write_settings(name, settings | {"learning_rates": MINILM_RATES})


def sweep_ulmfit(
    name="ulmfit", counts=REVIEW_COUNTS, epochs=ULMFIT_EPOCHS, seeds=SEEDS, load=language_models, reading=3
):
    """Perplexities, linear heads on states, ULMFiT's steps and its techniques; a quarter of an hour.

    Args:
        name: of the results; the probes are written as ``NAME-probes``.
        counts, epochs, seeds: see ``sweep_minilm``.
        load: gives the language models.
        reading: passes over the reviews for "adapted briefly".
    """
    reviews, models = load_reviews(), load()
    models["adapted briefly"] = adapt(models["pretrained"], reviews, epochs=reading)
    ids = {split: models["adapted"].encode(list(reviews[split]["text"])) for split in reviews}
    unseen = list(reviews["test"]["text"])
    perplexities = {arm: round(model.perplexity(unseen), 1) for arm, model in models.items()}
    rows, probes = [], []
    for arm, model in models.items():
        body = LanguageModelBody(model.model)
        features = {split: text_features(body, ids[split], "concat").numpy() for split in ids}
        probes += compare_probes(arm, features, reviews, counts, seeds)
    steps = [(arm, "all three") for arm in LANGUAGE_MODELS]
    techniques = [("pretrained", technique) for technique in TECHNIQUES if technique != "all three"]
    for count, (arm, technique), seed in itertools.product(epochs, steps + techniques, seeds):
        options = TECHNIQUES[technique] | {"epochs": epochs[count], "learning_rate": ULMFIT_RATE}
        body = LanguageModelBody(copy.deepcopy(models[arm].model))
        classifier = fine_tune(body, ids, reviews, count, seed, **options)
        row = {"arm": arm, "techniques": technique, "seed": seed, "labels": count}
        rows.append(row | _judge(classifier, ids, reviews))
    write_rows(name, rows)
    write_rows(f"{name}-probes", probes)
    settings = {"command": f"hello experiment {name}", "seeds": list(seeds), "epochs": epochs}
    settings |= {"learning_rate": ULMFIT_RATE, "perplexity per word, test reviews": perplexities}
    write_settings(name, settings)


def _judge(classifier, ids, reviews):
    figures = accuracies(lambda split: classifier.predict(ids[split]), reviews)
    print(figures, flush=True)
    return figures


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
