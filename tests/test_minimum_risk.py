import json

import pytest
import torch

from scripts.minimum_risk import (
    SHARPNESS,
    fit_to_risk,
    mean_log_probabilities,
    risk_batches,
    write_candidates,
)
from scripts.settings import Places, TranslatorTraining
from scripts.train import fit
from utils.loaders import load_captions
from utils.tokens import END_ID, PADDING_ID, pad
from utils.translator import load_translator

SENTENCES = list(load_captions()["en"])[:9]


def test_candidates_differ_and_the_likelier_come_first(attentive):
    written = write_candidates(attentive, SENTENCES, 4)
    for sentence, rows in zip(SENTENCES, written, strict=True):
        assert len({tuple(row) for row in rows}) == 4
        assert all(END_ID not in row[:-1] for row in rows)
        source = pad([attentive.source_tokenizer.encode(sentence).ids[1:]] * 4)
        target = pad([[2, *row] for row in rows])
        logits, _ = attentive.model.decode(target[:, :-1], attentive.model.encode(source))
        scores = mean_log_probabilities(logits, target[:, 1:])
        assert scores.tolist() == sorted(scores.tolist(), reverse=True)


def expected_quality(translator, pairs, written):
    """What the translator may expect of a draw among the candidates, in BLEU from 0 to 1."""
    gains = []
    for source, target, _, quality in risk_batches(translator, pairs, written, 4, 0):
        memory = translator.model.encode(source.repeat_interleave(quality.size(1), dim=0))
        with torch.no_grad():
            logits, _ = translator.model.decode(target[:, :-1], memory)
        scores = mean_log_probabilities(logits, target[:, 1:]).view_as(quality)
        gains.append(((SHARPNESS * scores).softmax(dim=1) * quality).sum(dim=1))
    return torch.cat(gains).mean().item()


@pytest.mark.slow
def test_better_candidates_become_likelier_and_only_biases_and_norms_learn():
    translator = load_translator("multi30k-en-de-transformer")
    pairs = [list(load_captions()[language])[:24] for language in ("en", "de")]
    written = write_candidates(translator, pairs[0], 4)
    quality = expected_quality(translator, pairs, written)
    before = {name: weight.clone() for name, weight in translator.model.state_dict().items()}
    options = {"epochs": 1, "batch_size": 4, "learning_rate": 0.003, "candidates": 4}
    (record,) = fit_to_risk(translator, pairs, pairs, **options)
    assert all(0 < record[name] < 100 for name in ("validation_bleu", "validation_bleu_beam"))
    assert expected_quality(translator, pairs, written) > quality + 0.01
    changed = [
        name for name, old in before.items() if not torch.equal(old, translator.model.state_dict()[name])
    ]
    assert changed
    assert all(name.endswith("bias") or "norm" in name for name in changed)


def test_more_candidates_than_words_are_refused(attentive):
    pairs = [SENTENCES, SENTENCES]
    with pytest.raises(ValueError, match="candidates must be an integer from 1 to 300, not 301"):
        fit_to_risk(attentive, pairs, pairs, candidates=301, epochs=1, batch_size=4, learning_rate=0.1)


@pytest.mark.slow
def test_the_command_goes_on_from_a_checkpoint_and_says_so(tmp_path):
    sizes = {"model": "transformer", "width": 8, "heads": 2, "layers": 2, "feed_forward_size": 8}
    small = {"corpus": "captions", "vocabulary_size": 300, "limit": 12, "epochs": 1} | sizes
    where = Places(output=str(tmp_path / "out"), state=str(tmp_path / "state"), significant_bits=5)
    start = fit(TranslatorTraining(**small), where)
    teachers = [{"command": "hello train translator --seed 9", "validation_bleu": 1.0}]
    report = json.loads((start / "training.json").read_text(encoding="utf-8")) | {"teachers": teachers}
    (start / "training.json").write_text(json.dumps(report), encoding="utf-8")
    settings = TranslatorTraining(**small, start=str(start), risk=2)
    folder = fit(settings, Places(output=str(tmp_path / "next"), state=str(tmp_path / "next-state")))
    report = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    assert f"--start {start} --risk 2" in report["command"]
    assert report["started_from"][0]["command"].startswith("hello train translator --epochs 1")
    assert report["significant_bits"] == 5
    assert report["teachers"] == teachers
    (record,) = report["history"]
    assert report["validation_bleu"] == round(record["validation_bleu"], 2)
    assert report["validation_bleu_beam"] == round(record["validation_bleu_beam"], 2)


def test_every_pair_is_in_one_batch_with_its_own_candidates(attentive):
    pairs = SENTENCES, list(load_captions()["fr"])[: len(SENTENCES)]
    written = write_candidates(attentive, SENTENCES, 2)
    ids, seen = [one.ids[1:] for one in attentive.source_tokenizer.encode_batch(SENTENCES)], []
    for source, target, reference, quality in risk_batches(attentive, pairs, written, 4, [0, 1]):
        assert len(target) == 2 * len(source) == 2 * len(reference) == quality.numel()
        for i, row in enumerate(source.tolist()):
            number = ids.index([token for token in row if token != PADDING_ID])
            seen.append(number)
            rows = [
                [token for token in t if token != PADDING_ID][1:] for t in target[2 * i : 2 * i + 2].tolist()
            ]
            assert rows == written[number]
    assert sorted(seen) == list(range(len(SENTENCES)))
