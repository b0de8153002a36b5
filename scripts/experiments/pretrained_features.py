"""What the two objectives of pretraining give on the reviews: the tables of notebook 04.

hello experiment features-gpt-bert | fill-reviews
"""

import torch
from transformers.utils import logging

from scripts.experiments.bootstrap import interval
from scripts.experiments.transfer_sweeps import fit_probe
from scripts.masked_model import count_pieces
from scripts.tables import write_rows, write_settings
from utils.loaders import load_reviews
from utils.pretrained import load_minilm, load_smollm2
from utils.short_trainings import train_objective
from utils.tokens import encode_texts
from utils.transfer import TransformersBody, text_features


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


def fill_reviews(name="fill-reviews", seeds=5, epochs=48, **options):
    """Train the masked objective on the reviews from scratch; twenty minutes.

    Each row has the loss on the same hidden words of the test reviews, in nats: that of the model, and that
    of how often each piece occurs in the training reviews. Options are those of ``train_objective``.
    """
    texts = {split: list(rows["text"]) for split, rows in load_reviews().items()}
    learned, rows = (texts["train"], texts["validation"]), []
    for seed in range(seeds):
        model = train_objective("masked", seed, texts=learned, epochs=epochs, **options).model
        words, log_probabilities, _ = model.guess_words(texts["test"])
        counts = torch.as_tensor(count_pieces(model, texts["train"])) + 1
        frequency = -(counts / counts.sum()).log()[words].mean().item()
        rows.append({"seed": seed, "masked": -log_probabilities.mean().item(), "unigram": frequency})
        print(rows[-1], flush=True)
    write_rows(name, rows)
