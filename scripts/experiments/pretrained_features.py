"""What the two objectives of pretraining give on the reviews, from scratch and with pretrained models."""

import torch
from transformers.utils import logging

from scripts.tables import write_configuration, write_rows
from utils.loaders import load_reviews
from utils.pretrained import load_smollm2
from utils.short_trainings import fit_objective
from utils.tokens import encode_texts
from utils.transfer import fit_probe, load_minilm, text_features

NAME = "features-gpt-bert"


def interval(right, resamples=2000, seed=0):
    """A share and its 95 % interval, by drawing as many answers again (Efron 1979).

    Args:
        right: True for each right answer [answers].
        resamples: how often they are drawn.
        seed: of the draws.

    Returns:
        The share, and the ends of the interval.
    """
    right = torch.as_tensor(right).float()
    drawn = torch.randint(len(right), (resamples, len(right)), generator=torch.Generator().manual_seed(seed))
    low, high = right[drawn].mean(dim=1).quantile(torch.tensor([0.025, 0.975])).tolist()
    return right.mean().item(), low, high


class _LastStates(torch.nn.Module):
    """The last hidden states of a decoder of `transformers`, called as a body is."""

    def __init__(self, model):
        super().__init__()
        self.model, self.width = model.model, model.config.hidden_size

    def forward(self, tokens, mask):
        return self.model(input_ids=tokens, attention_mask=mask.long()).last_hidden_state


def probe_reviews(body, encode):
    """How well a linear head on frozen features tells good reviews from bad ones.

    Args:
        body: see ``text_features``.
        encode: ``encode(texts)`` gives the token ids of each text.

    Returns:
        For each review of the test split whether the head was right, a tensor.
    """
    reviews = load_reviews()
    features = {
        split: text_features(body, encode(list(reviews[split]["text"])), batch_size=16)
        for split in ("train", "validation", "test")
    }
    labels = {split: list(reviews[split]["label"]) for split in features}
    probe = fit_probe(features["train"], labels["train"], (features["validation"], labels["validation"]))
    return torch.as_tensor(probe.predict(features["test"])) == torch.tensor(labels["test"])


def compare_features():
    """Probe MiniLM and SmolLM2, and write ``data/results/features-gpt-bert.csv``: minutes."""
    logging.disable_progress_bar()
    body, tokenizer = load_minilm()
    decoder, their_tokenizer = load_smollm2()
    models = {
        "MiniLM (encoder)": (body, lambda texts: encode_texts(tokenizer, texts)),
        "SmolLM2 (decoder)": (_LastStates(decoder), lambda texts: their_tokenizer(texts).input_ids),
    }
    rows = []
    for name, (model, encode) in models.items():
        accuracy, low, high = interval(probe_reviews(model, encode))
        row = {"model": name, "accuracy": accuracy, "low": low, "high": high}
        rows.append(row | {"parameters": sum(p.numel() for p in model.parameters())})
        print(rows[-1], flush=True)
    write_rows(NAME, rows)
    write_configuration(
        NAME, {"command": f"python -m utils.experiments {NAME}", "probe": "train", "test": "test"}
    )


def fill_reviews(seeds=5):
    """Train the masked objective on the reviews from scratch, and write ``data/results/fill-reviews.csv``.

    Each row has the loss on the same hidden words of the test reviews, in nats: that of the model, and that
    of how often each piece occurs in the training reviews.

    Args:
        seeds: how many trainings.
    """
    texts = {split: list(rows["text"]) for split, rows in load_reviews().items()}
    rows = []
    for seed in range(seeds):
        model = fit_objective("masked", texts["train"], texts["validation"], seed, epochs=48).model
        words, log_probabilities, _ = model.guess_words(texts["test"])
        counts = model.count_pieces(texts["train"]) + 1
        frequency = -(counts / counts.sum()).log()[words].mean().item()
        rows.append({"seed": seed, "masked": -log_probabilities.mean().item(), "unigram": frequency})
        print(rows[-1], flush=True)
    write_rows("fill-reviews", rows)
