"""Is a source word counted as translated when, and only when, all of its words are there?"""

import numpy as np
import pandas as pd
import pytest

from phrasebook import write_phrases
from scripts.experiments import bottleneck, sequence_speed
from utils import loaders
from utils.translator import load_translator

ROW = {"en": "the old cat", "de": "die alte die", "links_en_de": "0-0 1-1 2-2 2-1"}


def test_a_word_is_right_if_all_words_linked_to_it_are_written():
    assert bottleneck.places_right(ROW, "die alte die", "de") == {0: True, 1: True, 2: True}
    assert bottleneck.places_right(ROW, "die die", "de") == {0: True, 1: False, 2: False}


def test_a_written_word_counts_once():
    assert bottleneck.places_right(ROW, "die alte", "de") == {0: True, 1: True, 2: False}
    assert bottleneck.places_right(ROW, "", "de") == {0: False, 1: False, 2: False}


def test_the_true_translation_has_every_word_of_the_phrasebook():
    for row in write_phrases(50, seed=3, min_words=5, max_words=20):
        found = bottleneck.places_right(row, row["fr"], "fr")
        assert set(found) == {int(link.split("-")[0]) for link in row["links_en_fr"].split()}
        assert all(found.values())


def test_a_perfect_translator_gets_all_of_every_third():
    class Perfect:
        languages = ("en", "fr")

        def translate(self, texts):
            return [type("T", (), {"text": known[text]}) for text in texts]

    rows = list(write_phrases(80, seed=5, min_words=6, max_words=9))
    known = {row["en"]: row["fr"] for row in rows}
    assert np.array_equal(bottleneck.translated(Perfect(), rows), [100, 100, 100])
    known = dict.fromkeys(known, "")
    assert np.array_equal(bottleneck.translated(Perfect(), rows), [0, 0, 0])


def test_pairs_that_are_missing_are_asked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match="hello experiment attention-comparison"):
        bottleneck.measure_bottleneck(tmp_path)


def test_the_layers_that_are_timed_agree_and_every_case_has_a_row(tmp_path, monkeypatch):
    import torch

    inputs = torch.randn(2, 7, sequence_speed.WIDTH)
    by_hand, fused = (sequence_speed.make_layer(kind)(inputs) for kind in sequence_speed.KINDS[1:])
    assert torch.allclose(by_hand, fused, atol=1e-5)
    monkeypatch.setattr(loaders, "RESULTS", tmp_path)
    monkeypatch.setattr(sequence_speed, "layer_seconds", lambda *_: 0.001)
    sequence_speed.measure_speed(lengths=(4, 8), batches=(1,), threads=(1,), rounds=1)
    table = pd.read_csv(tmp_path / "sequence-speed.csv")
    assert len(table) == 2 * 3 * 2
    assert set(table["milliseconds"]) == {1.0}


def test_an_untrained_pair_has_the_same_sizes_and_other_weights():
    trained = load_translator("phrasebook-en-de-gru")
    other = bottleneck.untrained(trained)
    assert other.model.config == trained.model.config
    assert all(
        not a.equal(b)
        for a, b in zip(other.model.parameters(), trained.model.parameters(), strict=True)
        if a.ndim > 1
    )
    assert (other.languages, other.source_tokenizer) == (trained.languages, trained.source_tokenizer)
