"""What a pretrained body is worth, in images and in film reviews: the sweeps of notebook 03."""

import copy
import itertools

import numpy as np
import torch
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from scripts.corpora import load_sentence_polarity
from scripts.tables import write_configuration, write_rows
from utils.digits import ARMS, LABEL_COUNTS, digit_accuracy, pretrain_digit_body
from utils.loaders import SEEDS, choose_labelled, load_reviews
from utils.models.language_models import RecurrentLanguageModel
from utils.texts import LanguageModel, load_language_model
from utils.tokens import encode_texts
from utils.training import fit_language_model, slanted_triangular
from utils.transfer import (
    LanguageModelBody,
    TextClassifier,
    fit_classifier,
    fit_probe,
    load_minilm,
    text_features,
)

REVIEW_COUNTS = (10, 20, 50, 100, 200, 400, 790)


LANGUAGE_MODELS = ("untrained", "pretrained", "adapted briefly", "adapted")


def bag_of_words():
    """Logistic regression on the counts of words, the classifier that everything must beat."""
    return make_pipeline(CountVectorizer(), LogisticRegression(max_iter=2000))


def accuracies(found, reviews):
    """Shares of right labels on held-out reviews.

    Args:
        found: ``found(split)`` returns the label of each review of "test" or "challenge".
        reviews: what ``load_reviews`` returned.

    Returns:
        A dictionary: "test", all of it; "plain", its plain part; "hard", its hard part and the
        challenge split together.
    """
    right, plain = {}, np.array([kind == "plain" for kind in reviews["test"]["kind"]])
    for split in ("test", "challenge"):
        right[split] = np.asarray(found(split)) == np.array(reviews[split]["label"])
    hard = np.concatenate([right["test"][~plain], right["challenge"]])
    return {
        "test": round(right["test"].mean().item(), 4),
        "plain": round(right["test"][plain].mean().item(), 4),
        "hard": round(hard.mean().item(), 4),
    }


def language_models(seed=0):
    """The language models of notebook 03.

    Args:
        seed: of the random weights.

    Returns:
        A dictionary of ``LanguageModel``: "untrained" has random weights, "pretrained" has read the
        Brown corpus, and "adapted" has then read on in film reviews.

    Raises:
        CheckpointError: a checkpoint is missing or damaged.
    """
    pretrained = load_language_model("language-model-brown")
    torch.manual_seed(seed)
    untrained = LanguageModel(RecurrentLanguageModel(**pretrained.model.config).eval(), pretrained.tokenizer)
    adapted = load_language_model("language-model-movie-reviews")
    return {"untrained": untrained, "pretrained": pretrained, "adapted": adapted}


def adapt(language_model, reviews, seed=0, epochs=3):
    """A copy of a language model that has read on in the training reviews; labels are not used."""
    adapted = copy.deepcopy(language_model)
    fit_language_model(
        adapted,
        list(reviews["train"]["text"]),
        list(reviews["validation"]["text"]),
        epochs=epochs,
        batch_size=16,
        learning_rate=1e-3,
        seed=seed,
    )
    return adapted


def fine_tune(body, ids, reviews, count, seed, *, epochs, learning_rate, pooling="concat", **options):
    """Put a new, linear head on a body and train both on labelled reviews.

    Args:
        body: the body; it is changed.
        ids: token ids of the reviews of each split, a dictionary of lists.
        reviews: what ``load_reviews`` returned.
        count: labelled reviews; see ``choose_labelled``.
        seed: of the choice, of the head, and of the training.
        epochs, learning_rate, options: see ``fit_classifier``; the 210 validation reviews choose the epoch.
        pooling: see ``pool``.

    Returns:
        The ``TextClassifier``.
    """
    chosen = choose_labelled(reviews["train"]["label"], count, seed)
    torch.manual_seed(seed)
    classifier = TextClassifier(body, pooling=pooling, head_size=0)
    labels = reviews["train"]["label"]
    fit_classifier(
        classifier,
        [ids["train"][i] for i in chosen],
        [labels[i] for i in chosen],
        (ids["validation"], reviews["validation"]["label"]),
        epochs=epochs,
        learning_rate=learning_rate,
        seed=seed,
        **options,
    )
    return classifier


# Rates were chosen on the validation reviews at 200 labels, with seeds that are not among those that are
# reported: for MiniLM of three each, for ULMFiT from 0.0003, 0.001 and 0.003.
MINILM_EPOCHS = {10: 5, 50: 5, 200: 5, 790: 3}


MINILM_RATES = {"from scratch": 1e-4, "fine-tuned": 5e-5}


ULMFIT_EPOCHS = {50: 10, 200: 6, 790: 4}


ULMFIT_RATE = 3e-3


PLAIN = {"schedule": lambda step, total_steps, peak: peak}


TECHNIQUES = {
    "none": PLAIN,
    "discriminative rates": PLAIN | {"layer_decay": 1 / 2.6},
    "slanted triangular rates": {"schedule": slanted_triangular},
    "gradual unfreezing": PLAIN | {"unfreeze_every": 1},
    "all three": {"schedule": slanted_triangular, "layer_decay": 1 / 2.6, "unfreeze_every": 1},
}


def sweep_digits(name="transfer-digits"):
    """Accuracy against the number of labels, from 0–4 to 5–9; writes rows and configuration."""
    rows = []
    for seed in SEEDS:
        body = pretrain_digit_body(seed)
        rows += [
            {"arm": arm, "seed": seed, "labels": count, "accuracy": digit_accuracy(arm, body, seed, count)}
            for count, arm in itertools.product(LABEL_COUNTS, ARMS)
        ]
    write_rows(name, [row | {"accuracy": round(row["accuracy"], 4)} for row in rows])
    write_configuration(name, {"command": f"python -m utils.experiments {name}", "seeds": list(SEEDS)})


def few_label_rows(arm, fit, reviews, counts=REVIEW_COUNTS):
    """Accuracy against the number of labels, for each of ``SEEDS``: a list of rows.

    Args:
        arm: what the rows call it.
        fit: ``fit(chosen)`` learns from the training reviews with these indices, and returns what
            ``accuracies`` asks for.
        reviews: what ``load_reviews`` returned.
        counts: numbers of labels.
    """
    rows, labels = [], reviews["train"]["label"]
    for count, seed in itertools.product(counts, SEEDS):
        found = fit(choose_labelled(labels, count, seed))
        rows.append({"arm": arm, "seed": seed, "labels": count} | accuracies(found, reviews))
    return rows


def compare_probes(name, features, reviews, counts=REVIEW_COUNTS):
    """Linear heads on features that stay as they are, against the number of labels: a list of rows.

    Args:
        name: of the arm.
        features: [texts, width] for each split, a dictionary.
        reviews: what ``load_reviews`` returned.
        counts: numbers of labels.
    """
    labels = np.array(reviews["train"]["label"])
    validation = (features["validation"], reviews["validation"]["label"])

    def fit(chosen):
        probe = fit_probe(features["train"][chosen], labels[chosen], validation)
        return lambda split: probe.predict(features[split])

    return few_label_rows(name, fit, reviews, counts)


def sweep_minilm(name="transfer-reviews"):
    """A pretrained body against the same one from scratch and against counting words; writes rows."""
    reviews, (_, tokenizer) = load_reviews(), load_minilm()
    ids = {split: encode_texts(tokenizer, reviews[split]["text"]) for split in reviews}
    texts, labels = np.array(reviews["train"]["text"]), np.array(reviews["train"]["label"])

    def count_words(chosen):
        counted = bag_of_words().fit(texts[chosen], labels[chosen])
        return lambda split: counted.predict(reviews[split]["text"])

    rows = few_label_rows("bag of words", count_words, reviews)
    for arm, pretrained in (("frozen", True), ("frozen, untrained", False)):
        torch.manual_seed(0)
        body, _ = load_minilm(pretrained)
        rows += compare_probes(arm, {s: text_features(body, ids[s]).numpy() for s in ids}, reviews)
    for seed, (count, epochs), arm in itertools.product(SEEDS, MINILM_EPOCHS.items(), MINILM_RATES):
        torch.manual_seed(seed)
        body, _ = load_minilm(pretrained=arm == "fine-tuned")
        options = {"epochs": epochs, "learning_rate": MINILM_RATES[arm], "mixed_precision": "bf16"}
        classifier = fine_tune(body, ids, reviews, count, seed, pooling="mean", **options)
        figures = accuracies(lambda split, c=classifier: c.predict(ids[split]), reviews)
        rows.append({"arm": arm, "seed": seed, "labels": count} | figures)
        print(rows[-1], flush=True)
    write_rows(name, rows)
    write_configuration(
        name,
        {
            "command": f"python -m utils.experiments {name}",
            "seeds": list(SEEDS),
            "epochs": MINILM_EPOCHS,
            "learning_rates": MINILM_RATES,
        },
    )


def sweep_ulmfit(name="ulmfit"):
    """Perplexities, linear heads on states, ULMFiT's steps and its techniques; writes two tables."""
    reviews = load_reviews()
    models = language_models()
    models["adapted briefly"] = adapt(models["pretrained"], reviews)
    texts = {split: list(reviews[split]["text"]) for split in reviews}
    ids = {split: models["adapted"].encode(texts[split]) for split in reviews}
    perplexities = {arm: round(model.perplexity(texts["test"]), 1) for arm, model in models.items()}
    rows, probes = [], []
    for arm, model in models.items():
        body = LanguageModelBody(model.model)
        features = {split: text_features(body, ids[split], "concat").numpy() for split in ids}
        probes += compare_probes(arm, features, reviews)
    steps = [(arm, "all three") for arm in LANGUAGE_MODELS]
    techniques = [("pretrained", technique) for technique in TECHNIQUES if technique != "all three"]
    for (count, epochs), (arm, technique), seed in itertools.product(
        ULMFIT_EPOCHS.items(), steps + techniques, SEEDS
    ):
        classifier = fine_tune(
            LanguageModelBody(copy.deepcopy(models[arm].model)),
            ids,
            reviews,
            count,
            seed,
            epochs=epochs,
            learning_rate=ULMFIT_RATE,
            **TECHNIQUES[technique],
        )
        figures = accuracies(lambda split, c=classifier: c.predict(ids[split]), reviews)
        rows.append({"arm": arm, "techniques": technique, "seed": seed, "labels": count} | figures)
        print(rows[-1], flush=True)
    write_rows(name, rows)
    write_rows(f"{name}-probes", probes)
    write_configuration(
        name,
        {
            "command": f"python -m utils.experiments {name}",
            "seeds": list(SEEDS),
            "epochs": ULMFIT_EPOCHS,
            "learning_rate": ULMFIT_RATE,
            "perplexity per word, test reviews": perplexities,
        },
    )


def compare_elsewhere(name="reviews-elsewhere"):
    """Our reviews against sentences of real ones, each trained on and tested on; writes the accuracies."""
    reviews, polarity = load_reviews(), load_sentence_polarity().shuffle(seed=0)
    sources = {
        "train": {"ours": reviews["train"], "theirs": polarity.select(range(len(reviews["train"])))},
        "test": {"ours": reviews["test"], "theirs": polarity.select(range(4000, 6000))},
    }
    body, tokenizer = load_minilm()
    features = {
        (part, who): text_features(body, encode_texts(tokenizer, rows["text"])).numpy()
        for part, both in sources.items()
        for who, rows in both.items()
    }
    found = []
    for trained, tested in itertools.product(sources["train"], sources["test"]):
        train, test = sources["train"][trained], sources["test"][tested]
        counted = bag_of_words().fit(train["text"], train["label"]).score(test["text"], test["label"])
        probe = make_pipeline(LogisticRegression(max_iter=2000))
        probe.fit(features["train", trained], train["label"])
        frozen = probe.score(features["test", tested], test["label"])
        pair = {"trained on": trained, "tested on": tested, "texts": len(test)}
        found.append(pair | {"bag of words": round(counted, 4), "MiniLM, frozen": round(frozen, 4)})
    write_rows(name, found)
    print(found)
