"""What the two objectives of pretraining give on the reviews: the tables of notebook 04.

hello experiment features-gpt-bert | fill-reviews
"""

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from transformers.utils import logging

from scripts.bodies import TransformersBody, load_minilm, text_features
from scripts.experiments.bootstrap import interval
from scripts.masked_model import MaskedStack, count_pieces, fit_masked_language_model, guess_words
from scripts.stack import TransformerLanguageModel
from scripts.tables import write_rows, write_settings
from utils.loaders import load_reviews
from utils.pretrained import load_smollm2
from utils.tokens import encode_texts, train_tokenizer


def fit_probe(features, labels, validation, strengths=(1e-4, 1e-3, 1e-2, 1e-1, 1.0)):
    """Fit a linear head to features [texts, width] that stay as they are: logistic regression.

    Features and labels of other texts, ``validation``, choose its regularisation, scikit-learn's C.
    """
    heads = [make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=2000)) for c in strengths]
    return max((head.fit(features, labels) for head in heads), key=lambda head: head.score(*validation))


def probe_reviews(body, encode):
    """How well a linear head on frozen features tells good reviews from bad ones.

    Args:
        body: see ``text_features``.
        encode: ``encode(texts)`` gives the token ids of each text.

    Returns:
        For each review of the test split whether the head was right, an array.
    """
    reviews = load_reviews()
    features, labels = {}, {}
    for split in ("train", "validation", "test"):
        features[split] = text_features(body, encode(list(reviews[split]["text"])), batch_size=16)
        labels[split] = list(reviews[split]["label"])
    probe = fit_probe(features["train"], labels["train"], (features["validation"], labels["validation"]))
    return probe.predict(features["test"]) == labels["test"]


def compare_features(name="features-gpt-bert"):
    """Probe MiniLM and SmolLM2: minutes."""
    logging.disable_progress_bar()
    encoder, tokenizer = load_minilm()
    decoder, their_tokenizer = load_smollm2()
    models = {
        "MiniLM (encoder)": (encoder, lambda texts: encode_texts(tokenizer, texts)),
        "SmolLM2 (decoder)": (decoder.model, lambda texts: their_tokenizer(texts).input_ids),
    }
    rows = []
    for model_name, (model, encode) in models.items():
        accuracy, low, high = interval(probe_reviews(TransformersBody(model), encode))
        row = {"model": model_name, "accuracy": accuracy, "low": low, "high": high}
        rows.append(row | {"parameters": sum(p.numel() for p in model.parameters())})
        print(rows[-1], flush=True)
    write_rows(name, rows)
    write_settings(name, {"command": f"hello experiment {name}", "probe": "train", "test": "test"})


def train_masked(texts, validation, seed, epochs, width):
    """The masked model of notebook 04, *Both, trained from scratch*, trained on other texts."""
    tokenizer = train_tokenizer(texts, "en", 1000, lowercase=True, mask=True)
    torch.manual_seed(seed)
    sizes = {"width": width, "feed_forward_size": 4 * width, "dropout": 0.0}
    network = TransformerLanguageModel(tokenizer.get_vocab_size(), causal=False, **sizes)
    model = MaskedStack(network, tokenizer)
    options = {"epochs": epochs, "window": 32, "learning_rate": 3e-3, "seed": seed}
    fit_masked_language_model(model, texts, validation, **options)
    return model


def fill_reviews(name="fill-reviews", seeds=5, epochs=48, width=96):
    """Train the masked objective on the reviews from scratch; twenty minutes.

    Each row has the loss on the same hidden words of the test reviews, in nats: that of the model, and that
    of how often each piece occurs in the training reviews.
    """
    texts = {split: list(rows["text"]) for split, rows in load_reviews().items()}
    rows = []
    for seed in range(seeds):
        model = train_masked(texts["train"], texts["validation"], seed, epochs, width)
        words, log_probabilities, _ = guess_words(model, texts["test"])
        counts = torch.as_tensor(count_pieces(model, texts["train"])) + 1
        frequency = -(counts / counts.sum()).log()[words].mean().item()
        rows.append({"seed": seed, "masked": -log_probabilities.mean().item(), "unigram": frequency})
        print(rows[-1], flush=True)
    write_rows(name, rows)
