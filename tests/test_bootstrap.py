import numpy as np
import pytest

from scripts.experiments.bootstrap import bleu_difference, interval
from utils.scores import translation_scores

REFERENCES = ["Un homme fait du vélo .", "Deux chiens courent dans la neige .", "La fille dort ."]


def test_an_interval_is_about_two_standard_errors_wide():
    right = np.arange(420) % 5 > 0  # 80 %
    share, low, high = interval(right)
    assert share == pytest.approx(0.8)
    error = (0.8 * 0.2 / 420) ** 0.5
    assert low == pytest.approx(share - 1.96 * error, abs=0.01)
    assert high == pytest.approx(share + 1.96 * error, abs=0.01)
    assert interval(right) == (share, low, high)
    assert interval(np.ones(10)) == (1.0, 1.0, 1.0)


def test_bootstrap_of_the_difference():
    worse = ["Un homme", "Deux chiens courent", "La fille dort ."]
    found = bleu_difference(REFERENCES, worse, REFERENCES, samples=200)
    scores = [translation_scores(system, REFERENCES)["bleu"] for system in (REFERENCES, worse)]
    assert found["difference"] == pytest.approx(scores[0] - scores[1])
    assert 0 <= found["low"] <= found["difference"] <= found["high"]
    assert found == bleu_difference(REFERENCES, worse, REFERENCES, samples=200)
    mirrored = bleu_difference(worse, REFERENCES, REFERENCES, samples=200)
    assert mirrored["low"] == pytest.approx(-found["high"])
    same = bleu_difference(worse, worse, REFERENCES, samples=50)
    assert same == {"difference": 0, "low": 0, "high": 0}
