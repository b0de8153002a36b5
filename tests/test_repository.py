"""The repository as a whole: its notebooks, its sizes, and that its parts agree."""

import ast
import json
import subprocess
from pathlib import Path

import nbformat
import pytest

from scripts.claims_table import claims_of, claims_table, readme_with_claims
from utils.claims import load_claims
from utils.pretrained import CHECKPOINTS, verify_folder

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MEGABYTE = 10**6
# What the second half of a notebook will settle; a claim leaves this list when its evidence is there.
PENDING = set()


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(path):
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_was_executed_in_order_without_error(path):
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        assert not any(output.output_type == "error" for output in cell.outputs)
        assert not any(output.get("name") == "stderr" for output in cell.outputs), cell.source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_are_short_and_their_outputs_compared(path):
    cells = code_cells(path)
    lengths = sorted(cell.source.count("\n") + 1 for cell in cells)
    assert lengths[-1] <= 25
    assert lengths[len(lengths) // 2] <= 12
    ignored = [cell for cell in cells if "nbval-ignore-output" in cell.metadata.get("tags", [])]
    assert 10 * len(ignored) <= len(cells)
    assert not any("nbval-skip" in cell.metadata.get("tags", []) for cell in cells)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_picture_says_what_is_seen(path):
    for cell in code_cells(path):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                assert len(output.metadata["image/png"]["alt"]) >= 60, cell.source


def test_claims_and_notebooks_agree():
    rows = load_claims()
    assert len({row["id"] for row in rows}) == len(rows)
    assert all(row["statement"].endswith(".") for row in rows)
    for path in NOTEBOOKS:
        assigned = {row["id"] for row in rows if row["notebook"] == path.stem}
        found = [claim["id"] for claim in claims_of(read(path))]
        assert len(found) == len(set(found))
        assert set(found) == assigned - PENDING


def test_the_table_in_the_readme_is_what_the_notebooks_say():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text == readme_with_claims(text, claims_table()), "write it anew with `make claims`"


@pytest.mark.parametrize("name", ["multi30k-en-fr-gru", "multi30k-en-fr-gru-attention"])
def test_checkpoints_are_whole_small_and_described(name):
    folder = verify_folder(CHECKPOINTS / name)
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 7 * MEGABYTE
    card = (folder / "README.md").read_text(encoding="utf-8")
    scores = json.loads((ROOT / "data/results/multi30k-en-fr.json").read_text())["scores"]
    for system in scores.values():
        assert f"{system['bleu']:.1f}" in card
    settings = json.loads((folder / "training.json").read_text())["settings"]
    assert f"--seed {settings['seed']}" in card


@pytest.mark.parametrize(
    "name", ["phrasebook-en-de-gru", "phrasebook-en-de-gru-attention", "phrasebook-en-fr-gru-attention"]
)
def test_phrasebook_checkpoints_are_whole_small_and_described(name):
    folder = verify_folder(CHECKPOINTS / name)
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 2 * MEGABYTE
    report = json.loads((folder / "training.json").read_text())
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"{report['parameters']:,}" in card
    assert f"--count {report['settings']['count']}" in card


def test_the_two_translators_differ_in_nothing_but_attention():
    reports = [
        json.loads((CHECKPOINTS / name / "training.json").read_text())
        for name in ("multi30k-en-fr-gru", "multi30k-en-fr-gru-attention")
    ]
    without, with_attention = (report["settings"] | {"model": ""} for report in reports)
    assert without == with_attention
    assert 0.95 < reports[0]["parameters"] / reports[1]["parameters"] <= 1


def tracked():
    run = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if run.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in run.stdout.split("\0") if name and (ROOT / name).is_file()]


def code_lines(path):
    """Lines of code: blank lines, comments and docstrings do not count."""
    source = path.read_text(encoding="utf-8")
    documented = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node)
        for line in range(node.body[0].lineno, node.body[0].end_lineno + 1)
    }
    lines = enumerate(source.splitlines(), start=1)
    return sum(bool(t.strip()) and not t.strip().startswith("#") and i not in documented for i, t in lines)


def test_the_repository_stays_small():
    files = tracked()
    assert sum(path.stat().st_size for path in files) <= 80 * MEGABYTE
    # The phrasebook's grammar is language written down as code, and counts as a table.
    grammar = ROOT / "utils" / "data" / "phrasebook.py"
    code = [path for path in files if path.suffix == ".py" and (ROOT / "utils") in path.parents]
    # The chapter's figures are drawings written down as code, and have a measure of their own.
    pictures = [ROOT / "utils" / name for name in ("figures.py", "plots/diagrams.py", "plots/timeline.py")]
    # What computes the shipped results is for those who doubt them; a reader of the notebooks needs none.
    experiments = ROOT / "utils" / "experiments"
    lines = {path: code_lines(path) for path in code if path != grammar}
    assert sum(lines.pop(path) for path in pictures) < 500
    # Five models with their training, from scratch, are more than the 3,000 lines that were planned.
    assert sum(count for path, count in lines.items() if experiments not in path.parents) < 3600
    assert sum(count for path, count in lines.items() if experiments in path.parents) < 800
    # What a clone transfers. (What lies under `.git` may hold an object twice, or what no commit needs.)
    packed = subprocess.run(
        ["git", "pack-objects", "--revs", "--stdout", "--quiet"],
        cwd=ROOT,
        input=b"HEAD\n",
        capture_output=True,
        check=True,
    )
    assert len(packed.stdout) <= 80 * MEGABYTE


def test_no_weights_are_stored_as_pickles():
    assert not [path for path in tracked() if path.suffix in (".pt", ".pth", ".bin", ".pkl", ".ckpt")]


def test_requirements_are_pinned():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    packages = [line for line in lines if line and not line.startswith(("#", "-e"))]
    assert all("==" in line for line in packages)
    models = (ROOT / "requirements-models.txt").read_text().splitlines()
    assert all("==" in line and "--hash=sha256:" in line for line in models if not line.startswith("#"))
