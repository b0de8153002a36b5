import itertools
import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from torch.nn import functional as F

from utils import training
from utils.training import ResumeError, learning_rate_at, train, translation_loss
from utils.translator import load_translator


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


def test_training_learns_and_keeps_the_best_epoch():
    task = line_task()
    history = run(task, epochs=12)
    assert history[-1]["loss"] < 0.3 * history[0]["loss"]
    best = max(record["score"] for record in history)
    assert task[3](task[0])["score"] == pytest.approx(best)
    assert not task[0].training


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
        run((*killed[:3], validate_then_die), state_folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]
    resumed = line_task()
    history = run(resumed, state_folder=tmp_path)
    assert [record["loss"] for record in history] == [record["loss"] for record in expected]
    for one, two in zip(whole[0].parameters(), resumed[0].parameters(), strict=True):
        assert torch.equal(one, two)


def test_a_finished_training_is_not_repeated(tmp_path):
    run(line_task(), state_folder=tmp_path)
    task = line_task()
    history = run((task[0], lambda epoch: pytest.fail("trained again"), *task[2:]), state_folder=tmp_path)
    assert len(history) == 6


def test_a_state_with_other_settings_is_refused(tmp_path):
    run(line_task(), state_folder=tmp_path, settings={"width": 8})
    with pytest.raises(ResumeError, match=r"'width': \(8, 9\).*--restart"):
        run(line_task(), state_folder=tmp_path, settings={"width": 9})


def test_a_failed_save_leaves_the_old_state(tmp_path, monkeypatch):
    run(line_task(), epochs=2, state_folder=tmp_path)
    before = (tmp_path / "state.safetensors").read_bytes()

    def half_written(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(training, "save_file", half_written)
    with pytest.raises(OSError, match="disk full"):
        run(line_task(), epochs=3, state_folder=tmp_path)
    assert (tmp_path / "state.safetensors").read_bytes() == before


def test_training_stops_early():
    task = line_task()
    scores = iter([1.0, 3.0, 2.0, 2.5, 2.9, 9.0])
    history = run((*task[:3], lambda model: {"score": next(scores)}), patience=3)
    assert [record["score"] for record in history] == [1.0, 3.0, 2.0, 2.5, 2.9]


def test_a_loss_that_is_no_number_stops_with_advice():
    model, batches, _, validate = line_task()

    def diverged(model, batch):
        return model(batch[0]).sum() * float("nan"), 1

    with pytest.raises(FloatingPointError, match="lower learning rate"):
        run((model, batches, diverged, validate))


def test_gradients_are_clipped():
    model, batches, _, validate = line_task()
    norms = []

    def huge(model, batch):
        return 1e4 * model(batch[0]).sum(), 1

    class Recorder(torch.optim.AdamW):
        def step(self, closure=None):
            gradients = [p.grad.flatten() for group in self.param_groups for p in group["params"]]
            norms.append(torch.cat(gradients).norm().item())
            return super().step(closure)

    original, torch.optim.AdamW = torch.optim.AdamW, Recorder
    try:
        run((model, batches, huge, validate), epochs=1, gradient_norm=0.5)
    finally:
        torch.optim.AdamW = original
    assert norms
    assert max(norms) <= 0.5 + 1e-4


def test_the_learning_rate_rises_and_falls():
    rates = [learning_rate_at(step, 100, 1.0) for step in range(100)]
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


def command(*extra):
    return ["-m", "utils.train", "translator", "--corpus", "captions", "--vocabulary-size", "300", *extra]


def launch(arguments, folder, **variables):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CI": "true"} | variables
    process = subprocess.run(arguments, capture_output=True, text=True, env=environment, timeout=300)
    assert process.returncode == 0, process.stderr
    return json.loads((folder / "training.json").read_text())


SMALL = ["--embedding-size", "16", "--hidden-size", "32", "--batch-size", "16", "--epochs", "2"]


@pytest.mark.parametrize("model", ["gru", "gru-attention"])
def test_the_command_line_trains_a_translator_that_loads(tmp_path, model):
    folder = tmp_path / "out"
    where = ["--output", str(folder), "--state", str(tmp_path / "state")]
    report = launch([sys.executable, *command("--model", model, *SMALL, *where)], folder)
    assert len(report["history"]) == 2
    assert report["settings"]["model"] == model
    assert report["tokens_per_second"] > 0
    translator = load_translator(folder)
    assert (translator.model.attention is None) == (model == "gru")
    assert len(translator.translate(["A dog runs ."])) == 1
    again = launch([sys.executable, *command("--model", model, *SMALL, *where)], folder)
    assert again["history"] == report["history"]  # nothing was left to do


def test_a_process_that_is_killed_loses_one_epoch_at_most(tmp_path):
    folder, state = tmp_path / "out", tmp_path / "state" / "state.safetensors"
    small = [*SMALL[:-1], "8", "--patience", "99", "--output", str(folder), "--state", str(state.parent)]
    process = subprocess.Popen(
        [sys.executable, *command(*small)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    first = process.stdout.readline()  # one line of figures for each finished epoch
    process.kill()
    process.communicate()
    assert json.loads(first)["epoch"] == 1
    assert not folder.exists()
    with safe_open(state, framework="pt") as file:
        before = json.loads(file.metadata()["history"])
    report = launch([sys.executable, *command(*small)], folder)
    assert report["history"][: len(before)] == before
    assert len(report["history"]) == 8


def test_two_processes_train_one_model(tmp_path):
    folder, state = tmp_path / "out", tmp_path / "state"
    where = ["--output", str(folder), "--state", str(state)]
    # --multi_gpu starts PyTorch's launcher; ACCELERATE_USE_CPU keeps its processes on the CPU.
    processes = ["--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"]
    accelerate = [sys.executable, "-m", "accelerate.commands.launch", *processes, "--dynamo_backend", "no"]
    report = launch([*accelerate, *command(*SMALL, *where)], folder, ACCELERATE_USE_CPU="true")
    assert len(report["history"]) == 2
    with safe_open(state / "state.safetensors", framework="pt") as file:
        steps = {int(file.get_tensor(key)) for key in file.keys() if key.endswith(".step")}  # noqa: SIM118
    assert steps == {2 * (6 // 2)}  # 90 pairs are 6 batches: each process took half of them
    assert load_translator(folder).translate(["A dog runs ."])[0].text is not None


def test_the_running_average_is_what_is_validated_and_kept(tmp_path):
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

    start = task[0][0].weight.detach().clone()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", remember)
        run((*task[:3], validate), epochs=2, averaging=0.9)
    expected = start
    for number, weight in enumerate(steps, start=1):
        keep = min(0.9, number / (number + 9))
        expected = keep * expected + (1 - keep) * weight
        if number % 4 == 0:
            assert torch.allclose(seen[number // 4 - 1], expected, atol=1e-6)
    assert torch.allclose(task[0][0].weight, expected, atol=1e-6)
    assert not torch.allclose(expected, steps[-1], atol=1e-4)


def test_a_training_with_an_average_resumes(tmp_path):
    whole, killed = line_task(), line_task()
    expected = run(whole, averaging=0.9)

    def die(model):
        if len(list(tmp_path.iterdir())) and json.loads(state_history(tmp_path))[-1]["epoch"] == 2:
            raise KeyboardInterrupt
        return killed[3](model)

    with pytest.raises(KeyboardInterrupt):
        run((*killed[:3], die), averaging=0.9, state_folder=tmp_path)
    fresh = line_task()
    history = run(fresh, averaging=0.9, state_folder=tmp_path)
    assert [record["score"] for record in history] == [record["score"] for record in expected]
    assert torch.equal(fresh[0][0].weight, whole[0][0].weight)


def state_history(folder):
    with safe_open(folder / "state.safetensors", framework="pt") as file:
        return file.metadata()["history"]


def test_pairs_are_seen_once_each_when_that_is_asked_for(tokenizers):
    translator = training.new_translator(
        "transformer", {"en": tokenizers["en"], "fr": tokenizers["fr"]}, width=8, heads=2, layers=2
    )
    words = ["a", "b", "c", "d", "e", "f", "g", "h"]
    pairs = [[f"{word} {word} ." for word in words]] * 2
    met = []
    with pytest.MonkeyPatch.context() as patch:
        original = training.translation_loss
        patch.setattr(
            training, "translation_loss", lambda m, b, s: met.append(b[0].tolist()) or original(m, b, s)
        )
        training.fit_translator(
            translator, pairs, pairs, epochs=2, each_once=True, batch_size=2, learning_rate=1e-3
        )
    rows = [tuple(row) for batch in met for row in batch]
    assert len(rows) == len(set(rows)) == 8


def test_unknown_models_and_sizes_are_named(tokenizers):
    pair = {"en": tokenizers["en"], "fr": tokenizers["fr"]}
    with pytest.raises(ValueError, match="no model 'lstm'; choose one of gru"):
        training.new_translator("lstm", pair)
    with pytest.raises(ValueError, match="has no size 'heads'"):
        training.new_translator("gru", pair, heads=2)
