import json

import pytest
from sacrebleu.metrics import BLEU

from scripts import command, corpora
from scripts.evaluate import bleu_by_length, main, word_bleu
from utils.loaders import load_captions
from utils.scores import exact_share, translation_scores

REFERENCES = ["Un homme fait du vélo .", "Deux chiens courent dans la neige .", "La fille dort ."]


def test_perfect_and_empty_translations():
    perfect = {"bleu": pytest.approx(100), "chrf": pytest.approx(100)}
    assert translation_scores(REFERENCES, REFERENCES) == perfect
    assert translation_scores(["x"] * 3, REFERENCES)["bleu"] < 1
    assert exact_share([*REFERENCES[:2], "x"], REFERENCES) == pytest.approx(2 / 3)


def test_bleu_of_a_worked_example():
    # 8 tokens against 8: 7 of 8 words, 5 of 7 pairs, 3 of 6 triples, 2 of 5 runs of four; no penalty
    hypothesis = ["the cat sat on the red mat ."]
    reference = ["the cat sat on the big mat ."]
    expected = 100 * (7 / 8 * 5 / 7 * 3 / 6 * 2 / 5) ** 0.25
    assert translation_scores(hypothesis, reference)["bleu"] == pytest.approx(expected, abs=0.01)


def test_bleu_ignores_case():
    assert translation_scores(["UN HOMME fait du vélo ."], REFERENCES[:1])["bleu"] == pytest.approx(100)


def test_scores_need_as_many_references():
    for hypotheses, references in ((REFERENCES[:2], REFERENCES), ([], [])):
        for score in (translation_scores, exact_share, lambda one, other: word_bleu(one, other, "fr")):
            with pytest.raises(ValueError, match="as many hypotheses as references"):
                score(hypotheses, references)


def test_tokenised_bleu_is_over_words_and_punctuation():
    # "l'homme" is two words and "!" is one: 6 of 7 words, 4 of 6 pairs, 3 of 5 triples, 2 of 4 runs
    hypothesis, reference = ["L'homme voit un chat rouge!"], ["L' homme voit un chat noir !"]
    by_hand = 100 * (6 / 7 * 4 / 6 * 3 / 5 * 2 / 4) ** 0.25
    assert word_bleu(hypothesis, reference, "fr") == pytest.approx(by_hand, abs=0.01)
    assert word_bleu(["L'HOMME dort bien."], ["l' homme dort bien ."], "fr") == pytest.approx(100)
    # English keeps the apostrophe with what follows it
    assert word_bleu(["The girl's dog ran."], ["the girl 's dog ran ."], "en") == pytest.approx(100)
    assert word_bleu(REFERENCES[:1], ["Un homme dort ."], "fr") == pytest.approx(
        BLEU(tokenize="none", force=True)
        .corpus_score(["un homme fait du vélo ."], [["un homme dort ."]])
        .score
    )


def test_bleu_by_length_splits_the_sentences():
    hypotheses = [REFERENCES[0], "x", REFERENCES[2]]
    table = bleu_by_length(hypotheses, REFERENCES, [4, 9, 10], [0, 5, 10, 20, 99])
    assert table[["low", "high", "sentences"]].values.tolist() == [[0, 5, 1], [5, 10, 1], [10, 20, 1]]
    assert table["bleu"].tolist() == pytest.approx([100, 0, 100], abs=1)


def test_the_command_scores_a_split_in_one_line_of_json(attentive, tmp_path, monkeypatch, capsys):
    attentive.save_pretrained(tmp_path / "model")
    rows = load_captions().select(range(5))
    monkeypatch.setattr(corpora, "load_multi30k", lambda *_: {"test": rows})
    main([str(tmp_path / "model"), "--split", "test", "--beam-size", "2"])
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1
    result = json.loads(printed)
    texts = [t.text for t in attentive.translate(list(rows["en"]), 2)]
    expected = translation_scores(texts, list(rows["fr"]))
    assert result["bleu"] == pytest.approx(expected["bleu"], abs=0.3)  # saved in half precision
    assert (result["split"], result["beam_size"]) == ("test", 2)


def test_what_cannot_be_scored_is_said_in_one_sentence(attentive, tmp_path, monkeypatch, capsys):
    assert command.run(["evaluate", "nowhere"]) == 1
    attentive.save_pretrained(tmp_path / "model")
    monkeypatch.setenv(corpora.DATA_VARIABLE, str(tmp_path))
    assert command.run(["evaluate", str(tmp_path / "model")]) == 1
    missing, corpus = capsys.readouterr().err.splitlines()
    assert missing.startswith("error: there is no checkpoint")
    assert corpus.startswith("error: a corpus is not available")
