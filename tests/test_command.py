import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts import command
from scripts.corpora import CorpusError
from utils.pretrained import CheckpointError

ROOT = Path(__file__).parents[1]


def hello(*words, encoding="utf-8", **variables):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | variables
    return subprocess.run(
        [sys.executable, "-m", "scripts", *words], capture_output=True, encoding=encoding, env=environment
    )


def test_help_comes_at_once_and_has_every_command():
    best = float("inf")
    for _ in range(3):  # the machine may be busy
        started = time.perf_counter()
        process = hello("--help")
        best = min(best, time.perf_counter() - started)
    assert (process.returncode, process.stderr) == (0, "")
    assert all(f"  {name} " in process.stdout for name in command.COMMANDS)
    assert best < 1


def test_help_loads_nothing_large():
    code = (
        "import sys; from scripts.command import run; run(['--help']); print(*sys.modules, file=sys.stderr)"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", cwd=ROOT)
    loaded = process.stderr.split()
    assert "scripts.command" in loaded
    assert not {"torch", "numpy", "transformers", "datasets", "matplotlib"} & set(loaded)


@pytest.mark.parametrize("name", sorted(command.COMMANDS))
def test_every_command_has_a_help_that_names_it(name, capsys):
    with pytest.raises(SystemExit) as end:
        command.main([name, "--help"])
    assert end.value.code in (0, None)
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: hello {name}")
    assert "python -m" not in shown


@pytest.mark.parametrize(("words", "message"), [([], "a command is needed"), (["sing"], "no command 'sing'")])
def test_what_is_no_command_ends_with_two(words, message, capsys):
    assert command.run(words) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert "translate" in printed.err
    assert printed.out == ""


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (CheckpointError("there is none"), "error: there is none\n"),
        (CorpusError("not here"), "error: not here\n"),
        (ValueError("too many"), "error: too many\n"),
        (FileNotFoundError(2, "No such file", "x.csv"), "error: [Errno 2] No such file: 'x.csv'\n"),
        (FloatingPointError("it diverged"), "error: it diverged\n"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_fails_says_so_in_one_sentence(monkeypatch, capsys, error, sentence):
    fail_with(monkeypatch, error)
    assert command.run(["figures"]) == 1
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", sentence)


def test_an_interruption_is_no_traceback(monkeypatch, capsys):
    fail_with(monkeypatch, KeyboardInterrupt())
    assert command.run(["figures"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_mistake_of_ours_keeps_its_traceback(monkeypatch):
    fail_with(monkeypatch, TypeError("a bug"))
    with pytest.raises(TypeError, match="a bug"):
        command.run(["figures"])


def fail_with(monkeypatch, error):
    def main(arguments):
        raise error

    monkeypatch.setattr(command.importlib, "import_module", lambda name: type("module", (), {"main": main}))


def test_the_words_after_the_command_are_handed_on(monkeypatch):
    met = []
    module = type("module", (), {"main": lambda arguments: met.append(arguments)})
    monkeypatch.setattr(command.importlib, "import_module", lambda name: met.append(name) or module)
    assert command.run(["figures", "a", "--b"]) == 0
    assert met == ["scripts.figures", ["a", "--b"]]


@pytest.fixture(scope="module")
def shown():
    """What ``hello translate --show`` writes into a pipe that takes only the letters of Western Europe."""
    words = ["translate", "--to", "fr", "--show", "A man is riding a bicycle ."]
    return hello(*words, encoding="cp1252", PYTHONIOENCODING="cp1252")


@pytest.mark.slow
def test_a_narrow_encoding_replaces_what_it_cannot_show(shown):
    assert shown.returncode == 0, shown.stderr
    first, *alignment = shown.stdout.splitlines()
    assert first == "Un homme fait du vélo."
    assert all("  ?  " in line for line in alignment)  # the arrow


def test_files_and_pipes_get_utf_8(monkeypatch):
    class Stream:
        def reconfigure(self, **options):
            self.options = options

        def isatty(self):
            return self.terminal

    found = []
    for terminal, variable in ((False, None), (True, None), (False, "cp1252")):
        stream = Stream()
        stream.terminal = terminal
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.delenv("PYTHONUTF8", raising=False)
        monkeypatch.delenv("PYTHONIOENCODING", raising=False)
        if variable:
            monkeypatch.setenv("PYTHONIOENCODING", variable)
        command._set_encoding()
        found.append(stream.options)
    assert [options["encoding"] for options in found] == ["utf-8", None, None]
    assert {options["errors"] for options in found} == {"replace"}


@pytest.mark.slow
def test_modules_are_commands_too(tmp_path):
    process = subprocess.run(
        [sys.executable, "-m", "scripts.translate", "--output", str(tmp_path / "noext"), "A dog ."],
        capture_output=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
    )
    assert process.returncode == 2
    assert "must end in one of" in process.stderr


def test_the_pages_for_readers_name_commands_that_exist():
    text = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/training.md"))
    words = [
        line.split("hello ", 1)[1].split()[0] for line in text.splitlines() if ".venv/bin/hello " in line
    ]
    assert len(words) > 5
    assert set(words) <= set(command.COMMANDS)
    assert json.dumps(text).count("python -m utils") == 0
