import json

import pytest
import torch

from phrasebook import write_phrases
from scripts.evaluate import bleu_by_length
from utils import scores as evaluate
from utils.scores import bleu_difference, exact_by_length, probe_positions, translation_scores, word_attention
from utils.translator import load_translator

REFERENCES = ["Un homme fait du vélo .", "Deux chiens courent dans la neige .", "La fille dort ."]


def test_perfect_and_empty_translations():
    assert translation_scores(REFERENCES, REFERENCES) == {
        "bleu": pytest.approx(100),
        "chrf": pytest.approx(100),
    }
    assert translation_scores(["x"] * 3, REFERENCES)["bleu"] < 1


def test_bleu_of_a_worked_example():
    # 8 tokens against 8: 7 of 8 words, 5 of 7 pairs, 4 of 6 triples, 3 of 5 runs of four; no penalty
    hypothesis = ["the cat sat on the red mat ."]
    reference = ["the cat sat on the big mat ."]
    expected = 100 * (7 / 8 * 5 / 7 * 3 / 6 * 2 / 5) ** 0.25
    assert translation_scores(hypothesis, reference)["bleu"] == pytest.approx(expected, abs=0.01)


def test_bleu_ignores_case():
    assert translation_scores(["UN HOMME fait du vélo ."], REFERENCES[:1])["bleu"] == pytest.approx(100)


def test_scores_need_as_many_references():
    for hypotheses in (REFERENCES[:2], []):
        with pytest.raises(ValueError, match="as many hypotheses as references"):
            translation_scores(hypotheses, REFERENCES if hypotheses else [])


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


def test_bleu_by_length_splits_the_sentences():
    rows = bleu_by_length(REFERENCES, REFERENCES, [4, 9, 10], [0, 5, 10, 20, 99])
    assert [(row["low"], row["high"], row["sentences"]) for row in rows] == [
        (0, 5, 1),
        (5, 10, 1),
        (10, 20, 1),
    ]


def test_word_attention_is_over_the_given_words(attentive):
    sources, targets = (
        ["The girl 's dog runs .", "A bird sings ."],
        ["Le chien de la fille court .", "L' oiseau ."],
    )
    matrices = word_attention(attentive, sources, targets)
    assert [tuple(m.shape) for m in matrices] == [(7, 6), (3, 4)]
    aligned = attentive.align(sources, targets)[1]
    end = aligned.attention_weights[:, -1]
    # what is missing from each row is what lay on the end token
    assert torch.allclose(matrices[1].sum(dim=1).max(), (1 - end).max(), atol=0.2)
    assert (matrices[0].sum(dim=1) <= 1 + 1e-5).all()


def test_a_translator_without_attention_cannot_be_asked(tokenizers):
    from conftest import make_translator

    with pytest.raises(ValueError, match="no attention"):
        word_attention(make_translator(tokenizers, attention=False), ["A bird ."], ["Un oiseau ."])


def test_the_command_line_prints_one_line_of_json(attentive, tmp_path, monkeypatch, capsys):
    from utils.loaders import load_captions

    attentive.save_pretrained(tmp_path / "model")
    rows = load_captions().select(range(5))
    monkeypatch.setattr(evaluate, "load_multi30k", lambda *_: {"test": rows})
    evaluate.main([str(tmp_path / "model"), "--split", "test", "--beam-size", "2"])
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    result = json.loads(printed)
    assert set(result) >= {"bleu", "chrf", "seconds"}
    assert 0 <= result["bleu"] <= 100


def test_probes_find_what_a_state_holds_and_nothing_else():
    generator = torch.Generator().manual_seed(0)
    words = ["cat", "dog", "sun"]
    choices = torch.randint(3, (800, 2), generator=generator)
    sentences = [[words[first], words[second], "."] for first, second in choices.tolist()]
    states = torch.nn.functional.one_hot(choices[:, 1], 3) + 0.1 * torch.randn(800, 3, generator=generator)
    first, second = probe_positions(states, sentences, set(words))  # nothing for the full stop
    assert (first["position"], second["position"]) == (1, 2)
    assert abs(first["gain"]) < 0.15
    assert second["accuracy"] > 0.95
    assert second["gain"] == pytest.approx(second["accuracy"] - second["majority"])
    with pytest.raises(ValueError, match="one length"):
        probe_positions(states, [*sentences[:-1], ["cat"]], set(words))


def test_exactness_by_length_counts_new_sentences():
    translator = load_translator("phrasebook-en-de-gru")
    (row,) = exact_by_length(translator, [(2, 6)], sentences=40)
    assert row["sentences"] == 40
    assert row["exact"] > 0.8
    assert row["bleu"] > 90
    (backwards,) = exact_by_length(
        translator, [(2, 6)], sentences=40, prepare=lambda text: " ".join(reversed(text.split()))
    )
    assert backwards["exact"] < 0.2
    seen = {row["en"] for row in write_phrases(160, 10**7, None, 2, 6)}
    with pytest.raises(ValueError, match="only 0 new sentences of 2 to 6 words"):
        exact_by_length(translator, [(2, 6)], sentences=40, seen=seen)
