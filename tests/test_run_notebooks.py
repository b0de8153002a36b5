"""The runner of notebooks: what it reports, and that nothing keeps it from reporting."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from scripts import run_notebooks
from scripts.run_notebooks import main, table

ROOT = Path(__file__).parents[1]
GOOD = """
import numpy
from utils import claim
claim("A1", True, "a figure, é")
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A repository to write notebooks into: ``folder(name=source)`` does."""
    monkeypatch.setattr(run_notebooks, "ROOT", tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "notebooks").mkdir()

    def write(**sources):
        for name, source in sources.items():
            notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
            nbformat.write(notebook, tmp_path / "notebooks" / f"{name}.ipynb")
        return tmp_path

    return write


def report(path):
    return json.loads((path / "build" / "report.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_running_notebooks_writes_report_copies_and_pages(folder, capsys):
    path = folder(good=GOOD)
    before = (path / "notebooks" / "good.ipynb").read_bytes()
    main(["--output", str(path / "build")])
    (entry,) = report(path)["notebooks"]
    assert entry["claims"] == [{"id": "A1", "holds": True, "evidence": "a figure, é", "source": "live"}]
    assert entry["error"] is None
    assert entry["peak_memory_mb"] > 10
    assert 0 < entry["seconds"] <= report(path)["total_seconds"]
    assert "a figure, é" in (path / "build" / "good.html").read_text(encoding="utf-8")
    assert "A1✓" in capsys.readouterr().out
    assert (path / "notebooks" / "good.ipynb").read_bytes() == before
    main(["--output", str(path / "build"), "--update"])
    assert "a figure" in (path / "notebooks" / "good.ipynb").read_text(encoding="utf-8")


@pytest.mark.slow
def test_whatever_happens_to_one_the_others_run_and_the_report_is_written(folder, capsys):
    die, wait = "import os; os._exit(3)", "import time; time.sleep(60)"
    path = folder(a_error="1 / 0", b_dead=die, c_slow=wait, d_good="print(7)")
    with pytest.raises(SystemExit) as left:
        main(["--output", str(path / "build"), "--timeout", "3", "--update"])
    assert left.value.code == 1
    errors = {entry["name"]: entry["error"] for entry in report(path)["notebooks"]}
    assert "ZeroDivisionError" in errors["a_error"]
    assert "Kernel died" in errors["b_dead"]
    assert "timed out" in errors["c_slow"]
    assert errors["d_good"] is None
    out, err = capsys.readouterr()
    assert out.count("failed") == 3
    assert "c_slow failed:" in err
    assert "ZeroDivisionError" in (path / "build" / "a_error.ipynb").read_text(encoding="utf-8")
    for name in errors:
        assert (path / "build" / f"{name}.html").exists()
    assert "ZeroDivisionError" not in (path / "notebooks" / "a_error.ipynb").read_text(encoding="utf-8")


def test_an_interrupted_run_still_leaves_its_report(folder, monkeypatch):
    path = folder(a="1", b="2")

    def interrupted(notebook, *_):
        if notebook.stem == "b":
            raise KeyboardInterrupt
        return {"name": "a", "seconds": 0.1, "peak_memory_mb": 1, "claims": [], "error": None}

    monkeypatch.setattr(run_notebooks, "execute", interrupted)
    with pytest.raises(KeyboardInterrupt):
        main(["--output", str(path / "build")])
    assert [entry["name"] for entry in report(path)["notebooks"]] == ["a"]


def test_an_unknown_notebook_is_named(folder):
    folder(a="1")
    with pytest.raises(SystemExit, match="no notebook '99_none'; there are a"):
        main(["99_none"])


def test_the_table_shows_every_verdict():
    claims = [{"id": name, "holds": holds} for name, holds in (("A1", True), ("A2", False), ("A3", None))]
    entry = {"name": "00_hello", "seconds": 9.96, "peak_memory_mb": 300, "claims": claims, "error": None}
    lines = table({"notebooks": [entry], "total_seconds": 10.5}).splitlines()
    assert lines[1].split() == ["00_hello", "10.0", "300", "MB", "A1✓", "A2✗", "A3?"]
    assert lines[2].split() == ["all", "10.5"]


@pytest.mark.slow
def test_a_terminal_without_ticks_gets_other_characters(tmp_path):
    code = (
        "import sys; from scripts import run_notebooks as r; "
        "r.execute = lambda path, *_: {'name': path.stem, 'seconds': 1, 'peak_memory_mb': 1, "
        "'claims': [{'id': 'A1', 'holds': True}], 'error': 'é ✗'}; "
        "r.main(['00_hello_transformers', '--output', sys.argv[1]])"
    )
    environment = os.environ | {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, str(tmp_path)]
    run = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert run.returncode == 1  # as the notebook failed
    assert "A1?" in run.stdout.decode("cp1252")
    assert run.stderr.decode("cp1252").splitlines()[-1] == "é ?"
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["notebooks"][0]["error"] == "é ✗"
