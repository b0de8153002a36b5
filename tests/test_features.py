import pytest
import torch

from scripts.experiments.pretrained_features import interval, probe_reviews
from utils.loaders import load_reviews
from utils.tokens import encode_texts, train_tokenizer


def test_an_interval_is_about_two_standard_errors_wide():
    right = torch.arange(420) % 5 > 0  # 80 %
    share, low, high = interval(right)
    assert share == pytest.approx(0.8)
    error = (0.8 * 0.2 / 420) ** 0.5
    assert low == pytest.approx(share - 1.96 * error, abs=0.01)
    assert high == pytest.approx(share + 1.96 * error, abs=0.01)
    assert interval(right) == (share, low, high)
    assert interval(torch.ones(10)) == (1.0, 1.0, 1.0)


def test_a_probe_on_counted_words_beats_guessing():
    texts = list(load_reviews()["train"]["text"])
    tokenizer = train_tokenizer(texts, "en", 600, lowercase=True)

    class Counting(torch.nn.Module):
        """One unit for each piece: the mean over a text is how often it occurs."""

        def forward(self, tokens, mask):
            return torch.nn.functional.one_hot(tokens, 600).float()

    right = probe_reviews(Counting(), lambda some: encode_texts(tokenizer, some))
    assert right.shape == (420,)
    assert 0.55 < right.float().mean() < 0.8
