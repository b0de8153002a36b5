import json
import re
import shutil

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from scripts.experiments import __main__ as experiments
from scripts.experiments import cards, long_race
from scripts.experiments.cards import MASKED_MODEL, read_report
from scripts.lengths import LENGTH_RANGES
from scripts.settings import MaskedModelTraining, Places, TranslatorTraining
from scripts.tables import write_rows, write_settings
from scripts.train import fit, parse, sizes_of
from utils import loaders, pretrained
from utils.loaders import load_captions, load_results, load_settings
from utils.pretrained import CheckpointError
from utils.texts import load_language_model, load_masked_language_model
from utils.translator import load_translator

SHIPPED = sorted(path.name for path in pretrained.CHECKPOINTS.iterdir() if path.is_dir())


def load(folder):
    """Whatever model a folder holds."""
    if folder.name == MASKED_MODEL:
        return load_masked_language_model(folder)
    return (load_language_model if folder.name.startswith("language-model") else load_translator)(folder)


def card_of(folder):
    return (folder / "README.md").read_text(encoding="utf-8")


def line(card, name):
    """The right-hand side of a row of a card's first table."""
    (found,) = re.findall(rf"^\| {name} \| (.*) \|$", card, re.M)
    return found


def thousands(number):
    return f"{number:,}"


@pytest.fixture(scope="module", params=SHIPPED)
def checkpoint(request):
    """The folder of a shipped checkpoint, its model, its card and its report."""
    folder = pretrained.CHECKPOINTS / request.param
    return folder, load(folder), card_of(folder), read_report(folder.name)


@pytest.mark.slow
def test_a_report_says_what_the_weights_are(checkpoint):
    folder, loaded, _, report = checkpoint
    network = loaded.model
    sizes = json.loads(json.dumps(sizes_of(network)))  # a switch that came later, and is off, may be missing
    assert report["model"] == {key: value for key, value in sizes.items() if value or key in report["model"]}
    assert report["model"]["parameters"] == sum(parameter.numel() for parameter in network.parameters())
    for name, tokenizer in vars(loaded).items():
        if name.endswith("tokenizer"):
            size = name.replace("tokenizer", "vocabulary_size")
            assert report["model"][size] == (
                len(tokenizer) if folder.name == MASKED_MODEL else tokenizer.get_vocab_size()
            )
    shapes = {tuple(weight.shape) for weight in network.parameters()}
    for size, width in (("vocabulary_size", "embedding_size"), ("vocabulary_size", "width")):
        if report["model"].keys() >= {size, width}:
            assert (report["model"][size], report["model"][width]) in shapes


def test_a_report_lists_what_applied_and_nothing_else(checkpoint):
    _, _, _, report = checkpoint
    kind, *words = report["command"].split()[2:]
    settings, places = parse(kind, words)
    assert places == Places()
    assert settings.applied() == report["settings"]
    assert all(settings.applies(name) for name in report["settings"])
    for name in report["settings"].keys() & report["model"].keys():
        assert report["settings"][name] == report["model"][name], name
    assert len(report["history"]) <= settings.epochs
    assert 1 <= report["best_epoch"] <= len(report["history"])


def test_a_card_says_what_the_weights_are(checkpoint):
    folder, loaded, card, report = checkpoint
    sizes, weights = sizes_of(loaded.model), folder / "model.safetensors"
    parameters = line(card, "parameters")
    assert parameters.startswith(thousands(sizes["parameters"]))
    assert f"({weights.stat().st_size / 1e6:.1f} MB)" in parameters
    stored = sum(tensor.numel() for tensor in load_file(weights).values())
    assert thousands(stored) in parameters
    assert {tensor.dtype for tensor in load_file(weights).values()} == {torch.float16}
    assert line(card, "command") == f"`{report['command']}`"
    assert line(card, "seed").startswith(f"{report['settings']['seed']},")
    model = line(card, "encoder" if "| encoder |" in card else "model")
    for name in ("hidden_size", "width", "heads", "layers", "feed_forward_size"):
        if name in sizes:
            assert re.search(rf"\b{sizes[name]}\b", model), name
    for size in sizes.get("hidden_sizes", []):
        assert re.search(rf"\b{size}\b", model)
    tokens = line(card, "embeddings" if "| embeddings |" in card else "tokens")
    for name in ("vocabulary_size", "source_vocabulary_size", "target_vocabulary_size"):
        if name in sizes:
            assert thousands(sizes[name]) in tokens


@pytest.mark.slow
def test_cards_are_as_the_code_writes_them(checkpoint, tmp_path, monkeypatch):
    folder, _, card, _ = checkpoint
    shutil.copytree(folder, tmp_path / folder.name, ignore=shutil.ignore_patterns("README.md"))
    monkeypatch.setattr(pretrained, "CHECKPOINTS", tmp_path)
    cards.write_card(folder.name)
    assert card_of(tmp_path / folder.name) == card


def test_the_masked_models_card_is_that_of_minilm():
    sizes = read_report(MASKED_MODEL)["model"]
    found = [sizes[name] for name in ("width", "heads", "layers", "vocabulary_size")]
    assert found == [384, 12, 6, 30_522]


def test_published_scores_are_those_that_were_measured():
    """BLEU with beam 5 on test2016, of the five translators of captions."""
    both = load_settings("multi30k-en-fr")["scores"]
    found = {
        "multi30k-en-fr-gru": both["without attention"],
        "multi30k-en-fr-gru-attention": both["with attention"],
        **{name: load_settings(name)["scores"] for name in cards.CAPTION_TRANSLATORS},
    }
    rounded = {name: round(scores["bleu"], 1) for name, scores in found.items()}
    assert rounded == {
        "multi30k-en-fr-gru": 45.2,
        "multi30k-en-fr-gru-attention": 59.4,
        "multi30k-en-de-gru-attention": 37.5,
        "multi30k-en-de-transformer": 41.2,
        "multi30k-en-fr-transformer": 60.1,
    }
    for name, score in rounded.items():
        assert f" {score} " in card_of(pretrained.CHECKPOINTS / name)


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """Results and checkpoints go to a folder of the test's own."""
    monkeypatch.setattr(loaders, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(pretrained, "CHECKPOINTS", tmp_path)
    return tmp_path


def trained(folder, **settings):
    places = Places(output=str(folder), state=str(folder.parent / f"{folder.name}-state"))
    return fit(TranslatorTraining(**{"embedding_size": 8, "hidden_size": 8, "epochs": 1} | settings), places)


@pytest.mark.slow
def test_a_phrasebook_translator_is_measured_by_length(elsewhere, monkeypatch):
    name = "phrasebook-en-de-gru"
    options = {"corpus": "phrasebook", "count": 300, "one_way": True, "dropout": 0.0, "model": "gru"}
    folder = trained(elsewhere / name, target="de", **options)
    measure, write = cards.exact_by_length, cards.write_phrases
    monkeypatch.setattr(cards, "write_phrases", lambda count, *a: write(count // 100, *a))
    monkeypatch.setattr(cards, "exact_by_length", lambda *a, **o: measure(*a, **o | {"sentences": 20}))
    cards.describe_phrasebook(name)
    table = load_results(name)
    assert list(zip(table["low"], table["high"], strict=True)) == [*LENGTH_RANGES, (25, 30)]
    assert set(table["exact"]) == {0}
    assert table["met"][0] > table["met"][1] == 0  # only the shortest repeat
    card = card_of(folder)
    assert "license: mit" in card
    assert "--dropout 0.0" in card
    assert "--one-way" in card
    assert "--one-way True" not in card
    assert "--width" not in card
    assert "no attention" in card
    assert card.count("wrong: *") == 2  # nothing is learnt from 300 sentences
    assert "| 25 to 30 (longer than in training) | 0% |" in card


@pytest.fixture
def captions(monkeypatch):
    """Instead of Multi30k the captions of this project."""
    rows = load_captions().select(range(12))
    monkeypatch.setattr(cards, "load_multi30k", lambda *_: {"test": rows})
    return rows


@pytest.mark.slow
def test_the_long_race_scores_what_validation_chose(elsewhere, tmp_path, monkeypatch):
    test = load_captions().select(range(12))
    monkeypatch.setattr(long_race, "load_multi30k", lambda *_: {"test": test})
    with pytest.raises(
        CheckpointError, match="is missing; train it with `hello train translator --model gru"
    ):
        long_race.compare_long(tmp_path)
    sizes = {"GRU with attention": {"embedding_size": 8, "hidden_size": 8}}
    sizes["Transformer"] = {"model": "transformer", "width": 8, "heads": 2}
    for name, candidates in long_race.RUNNERS.items():
        for seed, folder in enumerate(candidates):
            options = {"corpus": "captions", "vocabulary_size": 300, "limit": 20, "epochs": 2, "seed": seed}
            places = Places(output=str(tmp_path / folder), state=str(tmp_path / f"{folder}-state"))
            fit(TranslatorTraining(**options | sizes[name]), places)
    better = "multi30k-en-fr-gru-attention-0.006"
    path = tmp_path / better / "training.json"
    report = json.loads(path.read_text(encoding="utf-8"))
    report["validation_bleu"] = report["history"][1]["validation_bleu"] = 99.0
    path.write_text(json.dumps(report), encoding="utf-8")
    long_race.compare_long(tmp_path, beam_size=2)
    found = load_settings(long_race.NAME)
    gru = found["scores"]["GRU with attention"]
    assert (gru["best_pass"], gru["validation_bleu"][better]) == (2, 99.0)
    texts = [one.text for one in load_translator(tmp_path / better).translate(list(test["en"]), 2)]
    expected = cards.translation_scores(texts, list(test["fr"]))["bleu"]
    assert gru["bleu"] == pytest.approx(expected, abs=0.01)
    gap = found["scores"]["Transformer"]["bleu"] - expected
    assert found["difference"]["difference"] == pytest.approx(gap, abs=0.02)


def test_the_models_of_the_long_race_were_trained_by_the_commands_that_are_named():
    scores = load_settings(long_race.NAME)["scores"]
    for name, candidates in long_race.RUNNERS.items():
        chosen = max(scores[name]["validation_bleu"], key=scores[name]["validation_bleu"].get)
        named, _ = parse("translator", candidates[chosen].split())
        trained_by, _ = parse("translator", scores[name]["training"].split()[3:])
        assert named == trained_by
    counts = [one["parameters"] for one in scores.values()]
    assert max(counts) < 1.01 * min(counts)


@pytest.mark.slow
def test_translators_with_and_without_attention_are_compared(elsewhere, captions, capsys):
    for checkpoint, model in (
        ("multi30k-en-fr-gru", "gru"),
        ("multi30k-en-fr-gru-attention", "gru-attention"),
    ):
        trained(elsewhere / checkpoint, model=model, corpus="captions", vocabulary_size=300, limit=20)
    cards.compare_attention(beam_size=2)
    table, settings = load_results("multi30k-en-fr"), load_settings("multi30k-en-fr")
    whole = table[table["high"] - table["low"] == 99]
    assert list(whole["system"]) == ["without attention", "with attention"]
    assert set(whole["sentences"]) == {12}
    parts = table.drop(whole.index)
    assert set(parts.groupby("system")["sentences"].sum()) == {12}
    scores, difference = settings["scores"], settings["difference"]
    assert difference["low"] <= difference["difference"] <= difference["high"]
    assert difference["difference"] == pytest.approx(
        scores["with attention"]["bleu"] - scores["without attention"]["bleu"], abs=0.011
    )
    with_attention = load_translator(elsewhere / "multi30k-en-fr-gru-attention")
    texts = [t.text for t in with_attention.translate(list(captions["en"]), 2)]
    expected = cards.translation_scores(texts, list(captions["fr"]))
    assert scores["with attention"]["chrf"] == pytest.approx(expected["chrf"], abs=0.01)
    for checkpoint, words in (
        ("multi30k-en-fr-gru", "no attention"),
        ("multi30k-en-fr-gru-attention", "additive"),
    ):
        assert words in card_of(elsewhere / checkpoint)
    assert "difference" in json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.slow
def test_a_translator_of_captions_is_measured(elsewhere, captions, monkeypatch):
    monkeypatch.chdir(elsewhere)
    name, sizes = "multi30k-en-de-transformer", {"width": 8, "heads": 2, "layers": 2, "feed_forward_size": 8}
    settings = {"target": "de", "corpus": "captions", "vocabulary_size": 300, "limit": 20, "epochs": 1}
    places = Places(output=str(elsewhere / name), state=str(elsewhere / "state"))
    fit(TranslatorTraining(model="transformer", **settings, **sizes), places)
    cards.describe_captions(name)
    scores = load_settings(name)["scores"]
    translator = load_translator(elsewhere / name)
    texts = [t.text for t in translator.translate(list(captions["en"]), 5)]
    assert scores["bleu_words"] == pytest.approx(cards.word_bleu(texts, list(captions["de"]), "de"), abs=0.01)
    assert scores["parameters"] == sum(p.numel() for p in translator.model.parameters())
    card = card_of(elsewhere / name)
    assert "Transformer, 2 layers on either side, 8 wide, 2 heads, feed-forward 8" in card
    assert "Techniques: four trainings" in card
    assert "| seed | 0, the only one that was run |" in card
    assert r"(`nrefs:1\|case:lc\|eff:no\|tok:13a\|" in card  # a bare bar would end the cell
    runs = elsewhere / "runs"
    second = Places(output=str(runs / f"{name}-seed-1"), state=str(elsewhere / "state-1"))
    learned = {"seed": 1, "start": str(elsewhere / name), "teachers": [str(elsewhere / name)]}
    fit(TranslatorTraining(model="transformer", **settings, **sizes, **learned), second)
    cards.describe_captions(name)
    (other,) = load_settings(name)["other_seeds"]
    assert other == cards.score_captions(runs / f"{name}-seed-1") | {
        "greedy_seconds": other["greedy_seconds"]
    }
    shutil.rmtree(elsewhere / name)
    # now a student is measured, and no other seed lies there
    (runs / f"{name}-seed-1").rename(elsewhere / name)
    cards.describe_captions(name)
    assert load_settings(name)["other_seeds"] == [other]
    card = card_of(elsewhere / name)
    assert "Of 2 trainings, with seeds 1, 1 (of the last training; those before it are the same), " in card
    assert card.count("hello train translator") == 3  # of the student, of its start, and of its teacher


@pytest.fixture
def small_texts(monkeypatch):
    """A few short texts instead of each corpus."""
    texts = ["The old film was good.", "A cat sat on the old mat, and the cat was good.", "It was late."] * 8

    def load_texts(corpus):
        return {"train": texts, "validation": texts[:4], "test": texts[:6]}

    monkeypatch.setattr(cards, "language_model_texts", load_texts)
    monkeypatch.setattr("scripts.train.language_model_texts", load_texts)
    return texts


@pytest.mark.slow
def test_a_masked_model_is_measured(elsewhere, small_texts):
    sizes = {"width": 8, "heads": 2, "layers": 1, "feed_forward_size": 8, "vocabulary_size": 120}
    places = Places(output=str(elsewhere / MASKED_MODEL), state=str(elsewhere / "state"))
    fit(MaskedModelTraining(start="random", epochs=1, window=32, epoch_size=8, **sizes), places)
    cards.describe_masked_language_model()
    table, settings = load_results(MASKED_MODEL), load_settings(MASKED_MODEL)
    assert (table["words"] > 0).all()
    shares = table[["first", "first_five", "frequent_five", "single_first_five"]]
    assert ((shares >= 0) & (shares <= 1)).all(axis=None)
    assert (table["first"] <= table["first_five"]).all()
    assert len(settings["words"]) == 2
    assert len(settings["frequent"]) == 5
    assert settings["met"] == 0
    assert "1 layers with 2 heads, 8 wide" in card_of(elsewhere / MASKED_MODEL)


def test_tables_are_written_for_every_machine(elsewhere):
    write_rows("small", [{"name": "é, à", "share": 0.1}, {"name": "b", "share": 1.0}])
    write_settings("small", {"text": "→"})
    assert (elsewhere / "results" / "small.csv").read_bytes() == 'name,share\n"é, à",0.1\nb,1.0\n'.encode()
    assert load_settings("small") == {"text": "→"}
    write_rows("small", pd.DataFrame({"a": [1]}))
    assert load_results("small")["a"].tolist() == [1]


def test_every_experiment_has_a_name_that_the_command_takes(monkeypatch, capsys):
    called = []
    for name in experiments.EXPERIMENTS:
        monkeypatch.setitem(experiments.EXPERIMENTS, name, lambda name=name: called.append(name))
        experiments.main([name])
    assert called == list(experiments.EXPERIMENTS)
    with pytest.raises(SystemExit) as end:
        experiments.main(["marathon"])
    assert end.value.code == 2
    assert "phrasebook-pair" in capsys.readouterr().err


def test_results_that_are_missing_name_what_computes_them(elsewhere):
    with pytest.raises(FileNotFoundError, match=r"hello experiment phrasebook-pair"):
        load_results("phrasebook-pair-history")
