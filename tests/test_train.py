import dataclasses
import itertools
import json
import os
import re
import subprocess
import sys
import zlib

import pytest
import torch
from accelerate.utils import broadcast_object_list
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from torch.nn import functional as F

from scripts import training_state
from scripts.masked_model import load_masked
from scripts.settings import TRAININGS, LanguageModelTraining, MaskedModelTraining, Places, TranslatorTraining
from scripts.train import (
    fit,
    go_on_from,
    language_model_texts,
    parse,
    prepare_translator,
    round_weights,
    shared_tokenizers,
    spliced_captions,
    translation_pairs,
    translations_by,
)
from scripts.training_state import ResumeError, TrainingState
from utils import training
from utils.loaders import load_captions
from utils.texts import load_language_model
from utils.training import train, translation_loss, warm_up_cosine
from utils.translator import Translator, load_translator


def line_task():
    """Fit y = 3x − 1: a model, its batches, its loss and its validation."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Dropout(0.1), torch.nn.Linear(8, 1)
    )
    x = torch.linspace(-1, 1, 64).unsqueeze(1)
    y = 3 * x - 1

    def batches(epoch):
        order = torch.randperm(64, generator=torch.Generator().manual_seed(epoch))
        return [(x[part], y[part]) for part in order.split(16)]

    def loss_function(model, batch):
        return F.mse_loss(model(batch[0]), batch[1]), len(batch[0])

    def validate(model):
        return {"score": -F.mse_loss(model(x), y).item()}

    return model, batches, loss_function, validate


def run(task, epochs=6, **options):
    return train(*task, monitor="score", epochs=epochs, learning_rate=0.05, **options)


@pytest.mark.slow
def test_training_learns_and_keeps_the_best_epoch():
    task = line_task()
    history = run(task, epochs=12)
    assert history[-1]["loss"] < 0.3 * history[0]["loss"]
    best = max(record["score"] for record in history)
    assert task[3](task[0])["score"] == pytest.approx(best)
    assert not task[0].training


@pytest.mark.slow
def test_a_killed_training_continues_as_if_it_had_not_been(tmp_path):
    whole = line_task()
    expected = run(whole)
    killed = line_task()
    calls = 0

    def validate_then_die(model):
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return killed[3](model)

    with pytest.raises(KeyboardInterrupt):
        run((*killed[:3], validate_then_die), state=TrainingState(tmp_path, {}))
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]
    resumed = line_task()
    history = run(resumed, state=TrainingState(tmp_path, {}))
    assert [record["loss"] for record in history] == [record["loss"] for record in expected]
    for one, two in zip(whole[0].parameters(), resumed[0].parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.slow
def test_a_finished_training_is_not_repeated(tmp_path):
    run(line_task(), state=TrainingState(tmp_path, {}))
    task = line_task()
    history = run(
        (task[0], lambda epoch: pytest.fail("trained again"), *task[2:]), state=TrainingState(tmp_path, {})
    )
    assert len(history) == 6


@pytest.mark.slow
def test_a_state_with_other_settings_is_refused(tmp_path):
    run(line_task(), state=TrainingState(tmp_path, {"width": 8}))
    with pytest.raises(ResumeError, match=r"'width': \(8, 9\).*--restart"):
        run(line_task(), state=TrainingState(tmp_path, {"width": 9}))


@pytest.mark.slow
def test_a_failed_save_leaves_the_old_state(tmp_path, monkeypatch):
    run(line_task(), epochs=2, state=TrainingState(tmp_path, {}))
    before = (tmp_path / "state.safetensors").read_bytes()

    def half_written(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(training_state, "save_file", half_written)
    with pytest.raises(OSError, match="disk full"):
        run(line_task(), epochs=3, state=TrainingState(tmp_path, {}))
    assert (tmp_path / "state.safetensors").read_bytes() == before


@pytest.mark.slow
def test_training_stops_early():
    task = line_task()
    scores = iter([1.0, 3.0, 2.0, 2.5, 2.9, 9.0])
    history = run((*task[:3], lambda model: {"score": next(scores)}), patience=3)
    assert [record["score"] for record in history] == [1.0, 3.0, 2.0, 2.5, 2.9]


def test_a_loss_that_is_no_number_stops_with_advice():
    model, batches, _, validate = line_task()

    def diverged(model, batch):
        return model(batch[0]).sum() * float("nan"), 1

    with pytest.raises(FloatingPointError, match="no number in epoch 1, step 1: lower the learning rate"):
        run((model, batches, diverged, validate))


@pytest.mark.slow
def test_gradients_are_clipped(monkeypatch):
    model, batches, _, validate = line_task()
    norms, step = [], torch.optim.AdamW.step

    def remember(self, *arguments, **options):
        gradients = [p.grad.flatten() for group in self.param_groups for p in group["params"]]
        norms.append(torch.cat(gradients).norm().item())
        return step(self, *arguments, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", remember)
    task = (model, batches, lambda model, batch: (1e4 * model(batch[0]).sum(), 1), validate)
    run(task, epochs=1)
    assert len(norms) == 4
    assert max(norms) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.slow
def test_norms_and_biases_are_not_decayed():
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.GRU(4, 4))
    before = {name: weight.clone() for name, weight in network.named_parameters()}

    def loss_function(model, batch):  # has no gradient, so that decay alone changes anything
        return sum(weight.sum() for weight in model.parameters()) * 0.0, 1

    task = (network, lambda epoch: [(torch.zeros(1),)] * 4, loss_function, lambda model: {"score": 1.0})
    run(task, epochs=1)
    changed = {name for name, weight in network.named_parameters() if not torch.equal(weight, before[name])}
    assert changed == {"0.weight", "2.weight_ih_l0", "2.weight_hh_l0"}


@pytest.mark.slow
def test_precision_can_change_within_a_process():
    for precision in ("no", "bf16", "no"):
        history = run(line_task(), epochs=1, mixed_precision=precision)
        assert len(history) == 1


@pytest.mark.parametrize("epochs", [0, -1])
def test_a_training_without_epochs_is_refused(epochs):
    with pytest.raises(ValueError, match=f"epochs must be at least 1, not {epochs}"):
        run(line_task(), epochs=epochs)


def test_an_epoch_without_batches_is_refused():
    model, _, loss_function, validate = line_task()
    with pytest.raises(ValueError, match="at least 1 batches, not 0"):
        run((model, lambda epoch: [], loss_function, validate))


@pytest.mark.slow
def test_a_state_without_settings_is_told_from_one_with_them(tmp_path):
    run(line_task(), epochs=2, state=TrainingState(tmp_path, None))
    with pytest.raises(ResumeError, match=r"'width': \(None, 9\)"):
        run(line_task(), state=TrainingState(tmp_path, {"width": 9}))
    assert len(run(line_task(), epochs=3, state=TrainingState(tmp_path, None))) == 3


def test_a_damaged_state_is_named(tmp_path):
    (tmp_path / "state.safetensors").write_bytes(b"not a state")
    with pytest.raises(ResumeError, match=r"state\.safetensors is damaged .*--restart"):
        run(line_task(), state=TrainingState(tmp_path, {}))


@pytest.mark.slow
def test_a_process_without_the_file_resumes_with_what_the_first_one_sent(tmp_path, monkeypatch):
    sent = []
    expected = run(line_task(), epochs=2, state=TrainingState(tmp_path / "first", {}))

    def listen(objects):
        sent.append(broadcast_object_list(objects)[0])
        return sent[:1]

    monkeypatch.setattr(training_state, "broadcast_object_list", listen)
    first = TrainingState(tmp_path / "first", {}).restore(*prepared())
    other = TrainingState(tmp_path / "elsewhere", {}).restore(*prepared())  # has no file of its own
    assert first[0] == other[0]
    assert [record["loss"] for record in other[0]] == [record["loss"] for record in expected]
    assert all(torch.equal(first[1][name], other[1][name]) for name in first[1])


def prepared():
    model = line_task()[0]
    return model, training._adamw([(model.parameters(), 1.0, 0)], 0.05), None


def test_the_learning_rate_rises_and_falls():
    rates = [warm_up_cosine(step, 100, 1.0) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates.index(max(rates)) in (9, 10)
    assert max(rates) == 1.0
    assert rates[-1] < 0.001
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))


def test_translation_loss_ignores_padding_and_shifts_by_one(translator):
    source, target = torch.tensor([[5, 6, 3], [7, 3, 0]]), torch.tensor([[2, 8, 9, 3], [2, 9, 3, 0]])
    loss, count = translation_loss(translator.model, (source, target), label_smoothing=0.0)
    assert count == 5
    log_probabilities = translator.model(source, target[:, :-1]).log_softmax(dim=-1)
    by_hand = -sum(
        log_probabilities[row, column, target[row, column + 1]]
        for row, column in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    )
    assert loss.item() == pytest.approx(by_hand.item() / 5, abs=1e-4)


SMALL = {"corpus": "captions", "vocabulary_size": 300, "batch_size": 16, "epochs": 2}
TINY = SMALL | {"embedding_size": 8, "hidden_size": 8}


def places(folder):
    return Places(output=str(folder / "out"), state=str(folder / "state"))


def report_in(folder):
    return json.loads((folder / "training.json").read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "sizes",
    [
        {"model": "gru", "embedding_size": 8, "hidden_size": 8, "one_way": True},
        {"model": "gru-attention", "embedding_size": 8, "hidden_size": 8},
        {"model": "transformer", "width": 8, "heads": 2, "layers": 2, "feed_forward_size": 8},
    ],
    ids=lambda sizes: sizes["model"],
)
def test_a_translator_is_trained_saved_and_loads(tmp_path, sizes, capsys):
    settings = TranslatorTraining(**SMALL | sizes)
    folder = fit(settings, places(tmp_path))
    report = report_in(folder)
    assert len(report["history"]) == 2
    assert report["settings"] == settings.applied()
    assert report["tokens_per_second"] > 0
    translator = load_translator(folder)
    assert report["model"]["parameters"] == sum(p.numel() for p in translator.model.parameters())
    assert report["model"].items() >= settings.sizes().items()
    assert len(translator.translate(["A dog runs ."])) == 1
    assert (
        report_in(fit(settings, places(tmp_path)))["history"] == report["history"]
    )  # nothing was left to do
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["epoch"] for line in lines[:2]] == [1, 2]
    assert lines[2].startswith(f"saved {folder}")


TEXTS = {
    "en": ["A man's dog runs.", "The dogs don't run."] * 4,
    "fr": ["L'homme court.", "Aujourd'hui l'homme dort."] * 4,
}


def test_a_shared_vocabulary_gives_a_piece_the_same_number_in_both_languages():
    shared = shared_tokenizers(TEXTS, 60)
    assert shared["en"].get_vocab() == shared["fr"].get_vocab()
    assert shared["en"].get_vocab_size() <= 60
    for language, texts in TEXTS.items():
        for text in texts:
            encoding = shared[language].encode(text)
            assert encoding.tokens[0] == "<s>"
            assert encoding.tokens[-1] == "</s>"
            assert shared[language].decode(encoding.ids) == text


def test_a_shared_vocabulary_cuts_words_as_each_language_does():
    shared = shared_tokenizers({k: texts * 50 for k, texts in TEXTS.items()}, 400)
    assert {"'s", "'t"} <= set(shared["en"].encode("A man's dog don't run.").tokens)
    assert "▁L'" in shared["fr"].encode("L'homme").tokens
    assert "▁Aujourd'hui" in shared["fr"].encode("Aujourd'hui").tokens


@pytest.mark.slow
@pytest.mark.parametrize("model", ["gru", "gru-attention", "transformer"])
def test_a_translator_with_a_shared_vocabulary_has_one_embedding(tmp_path, model):
    sizes = {"width": 8, "heads": 2, "layers": 2, "feed_forward_size": 8}
    sizes = sizes if model == "transformer" else {"embedding_size": 8, "hidden_size": 8}
    settings = TranslatorTraining(**SMALL | sizes, model=model, shared_vocabulary=True)
    translator = load_translator(fit(settings, places(tmp_path)))
    assert translator.source_tokenizer.get_vocab() == translator.target_tokenizer.get_vocab()
    embeddings = [n for n, _ in translator.model.named_parameters() if "embedding" in n]
    assert embeddings == ["target_embedding.weight"]
    assert len(translator.translate(["A dog runs ."])) == 1
    assert "--shared-vocabulary" in report_in(tmp_path / "out")["command"]


@pytest.mark.slow
def test_a_student_learns_what_its_teachers_write_and_goes_on_from_one_of_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = TranslatorTraining(**TINY)
    teacher = fit(settings, places(tmp_path))
    seen = {}

    def fit_translator(translator, pairs, *_, **options):
        seen.update(pairs=pairs, weights=translator.model.state_dict())

    monkeypatch.setattr(training, "fit_translator", fit_translator)
    student = TranslatorTraining(**TINY | {"start": str(teacher), "teachers": [str(teacher)]})
    assert f"--start {teacher} --teachers {teacher}" in student.command()
    _, _, learn, _ = prepare_translator(student)
    learn()
    captions, references = translation_pairs(settings)[0]
    written = [one.text for one in load_translator(teacher).translate(captions, 5)]
    assert seen["pairs"] == [captions * 2, references + written]
    before = load_translator(teacher).model.state_dict()
    assert all(torch.equal(before[name], weights) for name, weights in seen["weights"].items())

    _, _, learn, _ = prepare_translator(dataclasses.replace(student, spliced=30))
    learn()
    new = spliced_captions(captions, 30)
    written_30 = [one.text for one in load_translator(teacher).translate(new, 5)]
    assert seen["pairs"] == [captions + new, references + written_30]

    def never(*_):
        raise AssertionError("it was written before")

    monkeypatch.setattr(Translator, "translate", never)  # a training that goes on finds them
    assert translations_by([str(teacher)], captions, ("en", "fr")) == written
    with pytest.raises(ValueError, match="translates en to fr"):
        translations_by([str(teacher)], captions, ("en", "de"))
    for other, what in (({"hidden_size": 12}, "size mismatch"), ({"vocabulary_size": 40}, "other pieces")):
        _, different, _, _ = prepare_translator(TranslatorTraining(**TINY | other))
        with pytest.raises(ValueError, match=f"(?s)--start .*{what}"):
            go_on_from(different, str(teacher))


def test_spliced_captions_are_new_and_made_of_halves():
    captions = [*map(str, load_captions()["en"])]
    new = spliced_captions(captions, 50)
    assert len(set(new)) == 50
    assert not set(new) & set(captions)
    for text in new:
        verb = re.search(r" (is|are) ", text)[0]
        beginning, end = text.split(verb, 1)
        assert any(caption.startswith(beginning + verb) for caption in captions)
        assert any(caption.endswith(verb + end) for caption in captions)
    assert spliced_captions(captions, 20) == new[:20]
    with pytest.raises(ValueError, match="--spliced 2: these captions gave 0 new ones"):
        spliced_captions(["A man is here.", "A dog runs."], 2)


@pytest.mark.slow
def test_of_what_teachers_write_the_one_that_all_find_likeliest_is_learned(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    teachers = []
    for seed in range(3):
        settings = TranslatorTraining(**TINY | {"seed": seed, "learning_rate": 0.02, "limit": 40})
        teachers.append(str(fit(settings, places(tmp_path / str(seed)))))
    captions = translation_pairs(settings)[0][0][:6]
    chosen = translations_by(teachers, captions, ("en", "fr"))
    translators = [load_translator(teacher) for teacher in teachers]
    written = [[one.text for one in translator.translate(captions, 5)] for translator in translators]
    assert len(set(map(tuple, written))) == 3
    for caption, taken, candidates in zip(captions, chosen, zip(*written, strict=True), strict=True):
        n = len(candidates)
        mean = sum(
            torch.tensor([one.score for one in translator.align([caption] * n, candidates)])
            for translator in translators
        )
        assert mean[candidates.index(taken)] == pytest.approx(mean.max().item(), abs=1e-5)


@given(st.floats(-100, 100, width=32), st.integers(1, 11))
def test_rounding_errs_by_half_of_the_last_bit(weight, bits):
    network = torch.nn.Linear(1, 1, bias=False)
    network.weight.data.fill_(weight)
    round_weights(network, bits)
    rounded = network.weight.item()
    assert abs(rounded - weight) <= 2.0**-bits * abs(weight)
    if abs(rounded) >= 2**-14:  # what half precision writes without loss
        assert torch.tensor(rounded).half().item() == rounded


@pytest.mark.slow
def test_rounded_weights_are_saved_as_such_and_pack_smaller(tmp_path):
    settings, packed = TranslatorTraining(**TINY | {"hidden_size": 64, "epochs": 1}), {}
    for bits in (None, 5):
        where = Places(output=str(tmp_path / str(bits)), state=str(tmp_path / "state"), significant_bits=bits)
        folder = fit(settings, where)
        assert report_in(folder).get("significant_bits") == bits
        load_translator(folder)
        packed[bits] = len(zlib.compress((folder / "model.safetensors").read_bytes(), 9))
    assert packed[5] < 0.65 * packed[None]


@pytest.mark.slow
def test_a_process_that_is_killed_loses_one_epoch_at_most(tmp_path):
    settings = TranslatorTraining(**TINY | {"epochs": 8, "patience": 99})
    words = settings.command().split()[2:]
    words += ["--output", str(tmp_path / "out"), "--state", str(tmp_path / "state")]
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts.train", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    first = process.stdout.readline()  # one line of figures for each finished epoch
    process.kill()
    process.communicate()
    assert json.loads(first)["epoch"] == 1
    assert not (tmp_path / "out").exists()
    with safe_open(tmp_path / "state" / "state.safetensors", framework="pt") as file:
        before = json.loads(file.metadata()["history"])
    report = report_in(fit(settings, places(tmp_path)))
    assert report["history"][: len(before)] == before
    assert len(report["history"]) == 8


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path):
    words = TranslatorTraining(**TINY).command().split()[2:]
    words += ["--output", str(tmp_path / "out"), "--state", str(tmp_path / "state")]
    # --multi_gpu starts PyTorch's launcher; ACCELERATE_USE_CPU keeps its processes on the CPU.
    processes = ["--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"]
    accelerate = [sys.executable, "-m", "accelerate.commands.launch", *processes, "--dynamo_backend", "no"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CI": "true", "ACCELERATE_USE_CPU": "true"}
    command = [*accelerate, "--main_process_port", "0", "-m", "scripts.train", *words]
    process = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment, timeout=300)
    assert process.returncode == 0, process.stderr
    assert len(report_in(tmp_path / "out")["history"]) == 2
    with safe_open(tmp_path / "state" / "state.safetensors", framework="pt") as file:
        steps = {int(file.get_tensor(key)) for key in file.keys() if key.endswith(".step")}  # noqa: SIM118
    assert steps == {2 * (6 // 2)}  # 90 pairs are 6 batches: each process took half of them
    assert load_translator(tmp_path / "out").translate(["A dog runs ."])[0].target_tokens


@pytest.mark.slow
def test_the_running_average_is_what_is_validated_and_kept(monkeypatch):
    task = line_task()
    steps, seen = [], []
    step_of = torch.optim.AdamW.step

    def remember(self, *arguments, **options):
        result = step_of(self, *arguments, **options)
        steps.append(task[0][0].weight.detach().clone())
        return result

    def validate(model):
        seen.append(model[0].weight.detach().clone())
        return {"score": float(len(seen))}

    monkeypatch.setattr(torch.optim.AdamW, "step", remember)
    run((*task[:3], validate), epochs=2, averaging=0.9)
    expected = steps[0]  # the average begins with what the first step leaves
    for number, weight in enumerate(steps, start=1):
        expected = expected if number == 1 else 0.9 * expected + 0.1 * weight
        if number % 4 == 0:
            assert torch.allclose(seen[number // 4 - 1], expected, atol=1e-6)
    assert torch.allclose(task[0][0].weight, expected, atol=1e-6)
    assert not torch.allclose(expected, steps[-1], atol=1e-4)


@pytest.mark.slow
def test_a_training_with_an_average_resumes_bit_for_bit(tmp_path):
    whole, fresh = line_task(), line_task()
    expected = run(whole, averaging=0.9)
    killed, calls = line_task(), itertools.count(1)

    def die(model):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return killed[3](model)

    with pytest.raises(KeyboardInterrupt):
        run((*killed[:3], die), averaging=0.9, state=TrainingState(tmp_path, {}))
    history = run(fresh, averaging=0.9, state=TrainingState(tmp_path, {}))
    assert [record["score"] for record in history] == [record["score"] for record in expected]
    for one, two in zip(whole[0].parameters(), fresh[0].parameters(), strict=True):
        assert torch.equal(one, two)


def small_translator(tokenizers):
    pair = {"en": tokenizers["en"], "fr": tokenizers["fr"]}
    return training.new_translator("transformer", pair, width=8, heads=2, layers=2)


@pytest.mark.slow
def test_pairs_are_seen_once_each_when_that_is_asked_for(tokenizers, monkeypatch):
    pairs, met = [[f"{word} {word} ." for word in "abcdefgh"]] * 2, []
    original = training.translation_loss
    monkeypatch.setattr(
        training, "translation_loss", lambda m, b, s: met.append(b[0].tolist()) or original(m, b, s)
    )
    options = {"epochs": 2, "each_once": True, "batch_size": 2, "learning_rate": 1e-3}
    training.fit_translator(small_translator(tokenizers), pairs, pairs, **options)
    rows = [tuple(row) for batch in met for row in batch]
    assert len(rows) == len(set(rows)) == 8


def test_fewer_pairs_than_epochs_are_refused(tokenizers):
    pairs = [["a ."] * 3] * 2
    with pytest.raises(ValueError, match="3 pairs are too few for 4 epochs"):
        training.fit_translator(
            small_translator(tokenizers), pairs, pairs, epochs=4, each_once=True, learning_rate=1e-3
        )


def test_unknown_models_and_sizes_are_named(tokenizers):
    pair = {"en": tokenizers["en"], "fr": tokenizers["fr"]}
    with pytest.raises(ValueError, match="no model 'lstm'; choose one of gru"):
        training.new_translator("lstm", pair)
    with pytest.raises(TypeError, match="'heads'"):
        training.new_translator("gru", pair, heads=2)


@pytest.mark.parametrize("theme", [None, "agreements"])
def test_no_sentence_of_the_phrasebook_is_trained_on_and_validates(theme):
    settings = TranslatorTraining(corpus="phrasebook", count=600, max_words=8, theme=theme)
    (english, french), (others, _) = translation_pairs(settings)
    assert len(english) == len(french) == 600
    assert others
    assert not set(english) & set(others)


@pytest.mark.slow
def test_a_language_model_is_trained_and_goes_on_from_a_checkpoint(tmp_path):
    small = {"corpus": "reviews", "limit": 40, "batch_size": 8, "window": 16}
    first = LanguageModelTraining(
        **small, epochs=2, vocabulary_size=300, embedding_size=8, hidden_sizes=[12, 8]
    )
    folder = fit(first, places(tmp_path / "first"))
    report = report_in(folder)
    assert (len(report["history"]), report["model"]["hidden_sizes"]) == (2, [12, 8])
    second = fit(LanguageModelTraining(**small, epochs=1, start=str(folder)), places(tmp_path / "second"))
    (later,) = report_in(second)["history"]
    assert later["loss"] < report["history"][0]["loss"]
    model = load_language_model(second)
    perplexity = model.perplexity(language_model_texts("reviews")["validation"][:40])
    assert perplexity == pytest.approx(later["validation_perplexity"], rel=2e-2)  # saved in half precision


@pytest.mark.slow
def test_a_masked_model_is_trained_from_random_weights(tmp_path):
    sizes = {"width": 8, "heads": 2, "layers": 1, "feed_forward_size": 8, "vocabulary_size": 300}
    settings = MaskedModelTraining(
        corpus="reviews", limit=20, epochs=1, epoch_size=32, start="random", window=16, **sizes
    )
    folder = fit(settings, places(tmp_path))
    assert report_in(folder)["history"][0]["validation_log_probability"] < 0
    assert report_in(folder)["model"]["width"] == 8
    assert len(load_masked(folder).fill("a [MASK] film", 2)[0]) == 2


@pytest.mark.parametrize(
    ("kind", "words", "message"),
    [
        ("translator", "--epochs 0", "--epochs must be at least 1, not 0"),
        ("translator", "--limit 0", "--limit must be at least 1, not 0"),
        ("translator", "--significant-bits 12", "--significant-bits must be from 1 to 11, not 12"),
        (
            "translator",
            "--shared-vocabulary --corpus phrasebook",
            "--shared-vocabulary applies with --corpus",
        ),
        ("translator", "--batch-size -1", "--batch-size must be at least 1, not -1"),
        ("translator", "--dropout 1", "--dropout is a share from 0 to below 1, not 1.0"),
        ("translator", "--learning-rate 0", "--learning-rate must be above 0"),
        ("translator", "--source fr", "must be two languages, and both are fr"),
        (
            "translator",
            "--heads 8",
            "--heads applies with --model transformer only, and this is gru-attention",
        ),
        ("translator", "--count 5", "--count applies with --corpus phrasebook only, and this is multi30k"),
        ("translator", "--epoch 5", "there is no option --epoch"),
        ("translator", "--risk 8", "--risk 8 needs at least 2 translations to choose from, a translator to"),
        ("translator", "--risk 1 --start x", "--risk 1 needs at least 2 translations"),
        ("translator", "--spliced 5", "--spliced 5 needs --teachers that translate from English"),
        ("translator", "--spliced 0 --teachers x", "--spliced must be at least 1, not 0"),
        ("translator", "--epochs many", "invalid int value: 'many'"),
        ("language-model", "--start x --hidden-sizes 8", "--hidden-sizes applies without --start only"),
        ("language-model", "--hidden-sizes 0", "--hidden-sizes must be at least 1, not 0"),
        ("masked-model", "--width 8", "--width applies with --start random only, and this is minilm"),
        ("masked-model", "--corpus wikipedia", "invalid choice"),
    ],
)
def test_a_command_line_that_is_wrong_says_how(kind, words, message, capsys):
    with pytest.raises(SystemExit) as end:
        parse(kind, words.split())
    assert end.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("kind", sorted(TRAININGS))
def test_the_command_that_a_card_gives_has_the_same_settings(kind):
    changed = {"translator": {"model": "gru", "corpus": "phrasebook", "one_way": True, "theme": "agreements"}}
    settings = TRAININGS[kind](epochs=3, seed=7, limit=5, **changed.get(kind, {}))
    again, where = parse(kind, settings.command().split()[3:])
    assert (again, where) == (settings, Places())
    assert settings.command().startswith(f"hello train {kind} ")
