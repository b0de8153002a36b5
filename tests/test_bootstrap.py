import pytest

from scripts.experiments.bootstrap import bleu_difference
from utils.scores import translation_scores

REFERENCES = ["Un homme fait du vélo .", "Deux chiens courent dans la neige .", "La fille dort ."]


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
