"""The repository as a whole: what may import what, sizes, requirements, files and notebooks."""

import ast
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import nbformat
import pytest
from importlinter.cli import lint_imports

from scripts.claims_table import claims_of, documents
from utils.claims import load_claims
from utils.pretrained import CHECKPOINTS, verify_folder

ROOT = Path(__file__).parents[1]
OURS = ("utils", "phrasebook", "scripts")
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MEGABYTE = 10**6
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(path):
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def cell_code(cell):
    """The Python of a cell, without IPython's own lines."""
    return "\n".join("" if line.startswith(("%", "!")) else line for line in cell.source.splitlines())


def tracked():
    git = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, encoding="utf-8", check=False
    )
    if git.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in git.stdout.split("\0") if name and (ROOT / name).is_file()]


def modules(*folders):
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def sources():
    """All Python of the repository: from a name to the code, for modules, tests and cells of notebooks."""
    code = {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for path in modules(*OURS, "tests")
    }
    for path in NOTEBOOKS:
        for number, cell in enumerate(code_cells(path), start=1):
            code[f"{path.stem} cell {number}"] = cell_code(cell)
    return code


def imported_modules(code):
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module


# ---- code


def test_the_parts_import_each_other_in_one_direction(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    broken = lint_imports(config_filename="pyproject.toml", no_cache=True)
    assert broken == 0, capsys.readouterr().out.partition("Broken contracts")[2]


@every_notebook
def test_no_notebook_imports_the_workshop(path):
    names = {name for cell in code_cells(path) for name in imported_modules(cell_code(cell))}
    assert not [name for name in names if name.split(".")[0] == "scripts"]


@every_notebook
def test_notebooks_import_ours_before_pytorch(path):
    """For `utils` says how OpenMP's threads wait, and they are told when PyTorch is loaded."""
    names = [name.split(".")[0] for cell in code_cells(path) for name in imported_modules(cell_code(cell))]
    assert "utils" in names
    if "torch" in names:
        assert names.index("utils") < names.index("torch")


@pytest.mark.parametrize(("folder", "limit"), [("utils", 3000), ("phrasebook", 900)])
def test_what_readers_open_stays_small(folder, limit):
    lines = {
        path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in modules(folder)
    }
    assert sum(lines.values()) <= limit, lines


def test_no_name_stands_for_two_modules():
    names = Counter(path.stem for path in modules(*OURS) if not path.stem.startswith("__"))
    packages = {path.parent for folder in OURS for path in (ROOT / folder).rglob("__init__.py")}
    names.update(path.name for path in packages)
    assert [name for name, count in names.items() if count > 1] == []


def opened_without_encoding(code):
    """The lines of a piece of Python that open a text file or a program's output without an encoding."""
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        modes = [*node.args, *([given["mode"]] if "mode" in given else [])]
        modes = [value.value for value in modes if isinstance(value, ast.Constant)]
        modes = [mode for mode in modes if isinstance(mode, str) and re.fullmatch("[rwaxbt+]{1,4}", mode)]
        owner = getattr(getattr(node.func, "value", None), "id", "")
        text = {
            "read_text": not node.args,
            "write_text": len(node.args) < 2,
            "open": owner != "os"
            and not any("b" in mode for mode in modes)
            and (bool(modes) or owner not in ("Image", "gzip", "webbrowser", "safetensors")),
            "NamedTemporaryFile": bool(modes) and not any("b" in mode for mode in modes),
            "run": "text" in given or "universal_newlines" in given,
            "Popen": "text" in given or "universal_newlines" in given,
            "check_output": "text" in given or "universal_newlines" in given,
        }
        if text.get(called) and "encoding" not in given and None not in given:
            yield node.lineno


@pytest.mark.slow
def test_every_text_has_an_encoding():
    found = [f"{name}:{line}" for name, code in sources().items() for line in opened_without_encoding(code)]
    assert found == [], "the system's own encoding is not UTF-8 everywhere: add encoding='utf-8'"


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("Path('a').read_text()", 1),
        ("p.write_text('x')", 1),
        ("open('a')", 1),
        ("p.open('w')", 1),
        ("gzip.open('a', 'rt')", 1),
        ("subprocess.run(['a'], text=True)", 1),
        ("p.read_text(encoding='utf-8')", 0),
        ("p.open('rb')", 0),
        ("open('a', mode='wb')", 0),
        ("gzip.open('a.gz')", 0),
        ("subprocess.run(['a'])", 0),
    ],
)
def test_files_without_an_encoding_are_found(code, lines):
    assert len(list(opened_without_encoding(code))) == lines


# ---- requirements


def requirements():
    """From the name of a package in requirements.txt to its version and the comment behind it."""
    found = {}
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines():
        pin, _, comment = line.partition("#")
        if pin.strip():
            name, version = pin.strip().split("==")
            found[name] = version, comment.strip()
    return found


def normal(name):
    return re.sub("[-_.]+", "-", name).lower()


@pytest.mark.slow
def test_requirements_list_what_is_imported_and_nothing_else():
    packages = importlib.metadata.packages_distributions()
    known = set(sys.stdlib_module_names) | {*OURS, "tests", "conftest"}
    tests_of_browser = {name for name in sources() if name.startswith("tests/browser")}
    tops = {
        name.split(".")[0]
        for place, code in sources().items()
        if place not in tests_of_browser
        for name in imported_modules(code)
    }
    used = {normal(next(iter(packages.get(top, [top])))) for top in tops - known}
    listed = {normal(name) for name in requirements()}
    unexplained = {normal(name) for name, (_, comment) in requirements().items() if not comment}
    assert used - listed == set(), "imported, but not in requirements.txt"
    assert unexplained - used == set(), "not imported, and no comment says what needs it"


def test_requirements_and_their_lock_agree():
    lock = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {normal(line.split("==")[0]): line.split("==")[1].split()[0] for line in lock if "==" in line}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    direct = dict(pin.split("==") for pin in project["optional-dependencies"]["browser"])
    direct |= {name: version for name, (version, _) in requirements().items()}
    assert {name: pins.get(normal(name)) for name in direct} == direct, "write it anew with `make lock`"
    assert f"torch=={direct['torch']}" in (ROOT / "Makefile").read_text(encoding="utf-8")
    models = (ROOT / "requirements-models.txt").read_text(encoding="utf-8").splitlines()
    assert all("==" in line and "--hash=sha256:" in line for line in models if not line.startswith("#"))


def test_what_is_installed_is_what_is_locked():
    for name, (version, _) in requirements().items():
        assert importlib.metadata.version(name).split("+")[0] == version, f"{name}: run `make install`"


# ---- files


@pytest.mark.slow
def test_the_repository_stays_small():
    files = tracked()
    assert sum(path.stat().st_size for path in files) <= 110 * MEGABYTE
    # What a clone transfers. (What lies under `.git` may hold an object twice, or what no commit needs.)
    # Packed as a clone is; a hasty pack is ready sooner, and a tenth larger than what is transferred.
    pack = ["git", "pack-objects", "--revs", "--stdout", "--quiet"]
    packed = subprocess.run(pack, cwd=ROOT, input=b"HEAD\n", capture_output=True, check=True)
    assert len(packed.stdout) <= 130 * MEGABYTE


def test_no_weights_are_stored_as_pickles():
    assert not [path for path in tracked() if path.suffix in (".pt", ".pth", ".bin", ".pkl", ".ckpt")]


@pytest.mark.slow
def test_no_file_names_a_folder_of_one_machine():
    folders = re.compile(
        r"(?<![\w.~-])/(?:work|root|srv|mnt|home/\w+|Users/\w+)/|[A-Z]:\\+Users", re.IGNORECASE
    )
    found = []
    for path in tracked():
        if path.suffix not in (".png", ".gif", ".safetensors") and path != Path(__file__):
            text = path.read_text(encoding="utf-8")
            found += [f"{path.relative_to(ROOT)}: {match.group()}" for match in folders.finditer(text)]
    assert found == []


@pytest.mark.slow
def test_no_checkout_changes_a_byte(tmp_path):
    """Git for Windows converts line ends unless .gitattributes says otherwise; checksums would then fail."""
    names = [path.relative_to(ROOT).as_posix() for path in tracked() if path.suffix not in (".png", ".gif")]
    folders = {}
    for setting in ("true", "false"):
        folders[setting] = tmp_path / setting
        checkout = ["checkout-index", "--force", "-z", "--stdin", f"--prefix={folders[setting]}/"]
        git = ["git", "-c", f"core.autocrlf={setting}", *checkout]
        subprocess.run(git, cwd=ROOT, input="\0".join(names).encode(), check=True)
    for path in (path for path in folders["false"].rglob("*") if path.is_file()):
        as_on_windows = folders["true"] / path.relative_to(folders["false"])
        assert as_on_windows.read_bytes() == path.read_bytes(), path.relative_to(folders["false"])
    for folder in sorted((folders["true"] / "data" / "checkpoints").iterdir()):
        verify_folder(folder)


@pytest.mark.parametrize("folder", sorted(CHECKPOINTS.glob("*/")), ids=lambda folder: folder.name)
def test_checkpoints_are_whole_and_small(folder):
    verify_folder(folder)
    limit = 15 if folder.name.startswith("masked") else 7
    assert sum(path.stat().st_size for path in folder.iterdir()) <= limit * MEGABYTE


def test_the_two_translators_differ_in_nothing_but_attention():
    reports = [
        json.loads((CHECKPOINTS / name / "training.json").read_text(encoding="utf-8"))
        for name in ("multi30k-en-fr-gru", "multi30k-en-fr-gru-attention")
    ]
    without, with_attention = (report["settings"] | {"model": ""} for report in reports)
    assert without == with_attention
    sizes = [report["model"]["parameters"] for report in reports]
    assert 0.95 < sizes[0] / sizes[1] <= 1


# ---- notebooks


@every_notebook
def test_every_cell_was_executed_in_order_without_error(path):
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        assert not any(output.output_type == "error" for output in cell.outputs)
        assert not any(output.get("name") == "stderr" for output in cell.outputs), cell.source


@every_notebook
def test_notebooks_open_unmodified_and_carry_nothing_stray(path):
    notebook = read(path)
    assert notebook.metadata.kernelspec == {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    }
    assert set(notebook.metadata) <= {"kernelspec", "language_info", "widgets"}
    assert notebook.nbformat_minor == 5
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"tags", "jupyter"}, cell.source
        assert set(cell.metadata.get("jupyter", {})) <= {"source_hidden"}, cell.source


@every_notebook
def test_outputs_are_compared(path):
    tags = [cell.metadata.get("tags", []) for cell in code_cells(path)]
    assert 10 * sum("nbval-ignore-output" in some for some in tags) <= len(tags)
    assert not any("nbval-skip" in some for some in tags)


@every_notebook
def test_cells_are_short(path):
    lengths = sorted(len(cell.source.splitlines()) for cell in code_cells(path))
    assert lengths[-1] <= 25
    assert lengths[len(lengths) // 2] <= 8


@every_notebook
def test_notebooks_are_short(path):
    cells = read(path).cells
    assert len(cells) <= 90
    assert sum(len(cell.source.split()) for cell in cells if cell.cell_type == "markdown") <= 4000


def printed(cell):
    """What a cell shows as text."""
    for output in cell.outputs:
        yield output.get("text", "")
        yield output.get("data", {}).get("text/plain", "")


@every_notebook
def test_cells_print_results_and_no_booleans(path):
    found = [
        line
        for cell in code_cells(path)
        for text in printed(cell)
        for line in text.splitlines()
        if re.search(r"(^|[\s:=\[(,])(True|False)([\s,\])]|$)", line)
    ]
    assert found == []


@every_notebook
def test_texts_show_no_pictures_of_other_folders(path):
    """JupyterLab that was started in `notebooks/` does not serve them; `show_figure` stores what it shows."""
    assert [cell.id for cell in read(path).cells if "](../imgs/" in cell.source] == []


@every_notebook
def test_folded_cells_say_what_they_draw_or_check(path):
    for cell in code_cells(path):
        if cell.metadata.get("jupyter", {}).get("source_hidden"):
            assert cell.source.startswith(("# Draws ", "# Checks ")), cell.source


@every_notebook
def test_every_picture_says_what_is_seen(path):
    for cell in code_cells(path):
        for output in cell.outputs:
            data = output.get("data", {})
            assert "image/png" not in data, cell.source  # JupyterLab shows no alt text of those
            for alt in re.findall('<img alt="([^"]*)"', data.get("text/html", "")):
                assert len(alt) >= 60, cell.source


def test_claims_and_notebooks_agree():
    rows = load_claims()
    assert len({row["id"] for row in rows}) == len(rows)
    assert all(row["statement"].endswith(".") for row in rows)
    for path in NOTEBOOKS:
        assigned = {row["id"] for row in rows if row["notebook"] == path.stem}
        found = [claim["id"] for claim in claims_of(read(path))]
        assert len(found) == len(set(found))
        assert set(found) == assigned


def test_documents_say_what_the_notebooks_found():
    for path, text in documents().items():
        assert path.read_text(encoding="utf-8") == text, f"write {path.name} anew with `make claims`"
