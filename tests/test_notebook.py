"""What notebooks begin with: set-up without a network, and pictures that say what is seen."""

import base64
import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import pytest
from nbclient import NotebookClient

import utils
from utils import notebook
from utils.notebook import load_alt_texts, set_up, show, show_figure

ROOT = Path(__file__).parents[1]


def run(code, **environment):
    """Standard output of a Python process without the settings that tests make."""
    ours = ("HF_", "TRANSFORMERS_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    kept |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | environment
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, check=True, cwd=ROOT, env=kept)
    return result.stdout.decode("utf-8", "replace")


@pytest.mark.slow
def test_set_up_keeps_libraries_off_the_network_that_were_imported_before():
    code = """
import datasets, huggingface_hub
assert not huggingface_hub.is_offline_mode()
from utils import set_up
set_up()
print(huggingface_hub.constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE)
try:
    huggingface_hub.hf_hub_download("nobody/nothing", "file", etag_timeout=0.1)
except Exception as error:
    print(type(error).__name__)
"""
    assert run(code).split("\n")[1:3] == ["True True", "LocalEntryNotFoundError"]


def test_whoever_asks_for_the_network_keeps_it():
    code = (
        "import huggingface_hub; from utils import notebook; notebook._stay_offline(); "
        "print(huggingface_hub.is_offline_mode())"
    )
    assert run(code, HF_HUB_OFFLINE="0").split() == ["False"]
    assert run(code).split() == ["True"]


def test_utils_sets_the_environment_before_anything_else_is_loaded():
    code = """
import sys, os, utils
heavy = {"torch", "numpy", "matplotlib", "transformers", "huggingface_hub", "datasets", "IPython"}
print(sorted(heavy & set(sys.modules)))
print(*(os.environ[name] for name in ("OMP_WAIT_POLICY", "HF_HUB_OFFLINE", "TRANSFORMERS_VERBOSITY")))
"""
    assert run(code, OMP_WAIT_POLICY="PASSIVE").splitlines() == ["[]", "PASSIVE 1 error"]


def test_utils_has_what_every_notebook_uses_and_no_more():
    for name in utils.__all__:
        assert callable(getattr(utils, name))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = utils.nothing


def test_set_up_names_damaged_checkpoints(capsys):
    from utils.pretrained import CheckpointError

    set_up(seed=3)
    assert capsys.readouterr().out == "ready: seed 3\n"
    with pytest.raises(CheckpointError, match="no-such-model"):
        set_up(checkpoints=["no-such-model"])


@pytest.mark.slow
def test_outside_jupyter_pictures_and_claims_are_lines_of_text():
    code = """
import matplotlib.pyplot as plt
from utils import claim, findings, show, show_figure
show(plt.figure(), "A white page, é, and ✓.")
show_figure("chapter01_rnn")
claim("A1", True, "sums within 1e-6")
findings()
print(plt.get_fignums())
"""
    for encoding, sign in (("utf-8", "é, and ✓"), ("ascii", "?, and ?")):
        lines = run(code, PYTHONIOENCODING=encoding, MPLBACKEND="agg").splitlines()
        assert lines[0] == f"[picture: A white page, {sign}.]"
        assert lines[1].startswith("[picture: Left, a recurrent network")
        assert lines[2].startswith("A1 holds: The attention weights")
        assert lines[2].endswith("(sums within 1e-6; live)")
        assert lines[3].startswith("A1 holds: The attention weights")
        assert lines[4:] == ["[]"]


@pytest.fixture
def shown(monkeypatch):
    outputs = []
    monkeypatch.setattr(notebook, "present", lambda line, *found: outputs.extend(found))
    return outputs


def parts(markup):
    """The alt text, the width and the bytes of a picture in markup."""
    alt, width, source = re.fullmatch(
        r'<img alt="(.*?)" width="(\d+)" src="data:image/png;base64,(.*?)">', markup
    ).groups()
    return html.unescape(alt), int(width), base64.b64decode(source)


def test_a_picture_brings_its_alt_text_to_every_reader(shown):
    show(plt.figure(figsize=(2, 1)), 'Less < more, & "quotes".')
    ((picture, _),) = shown
    alt, width, data = parts(picture["text/html"])
    assert (alt, width) == ('Less < more, & "quotes".', 192)
    assert data.startswith(b"\x89PNG")
    assert picture["text/plain"] == "<Figure of 2.0 by 1.0 inches>"
    assert not plt.get_fignums()
    for empty in ("", "  "):
        with pytest.raises(ValueError, match="needs an alt text"):
            show(plt.figure(), empty)


def test_axes_are_shown_with_their_figure(shown):
    _, ax = plt.subplots()
    show(ax, "Empty axes.")
    assert parts(shown[0][0]["text/html"])[2].startswith(b"\x89PNG")


def test_figures_of_the_chapter_are_shown_as_they_are_stored(shown):
    for name, text in load_alt_texts().items():
        shown.clear()
        show_figure(name)
        alt, width, data = parts(shown[0][0]["text/html"])
        assert data == (ROOT / "imgs" / f"{name}.png").read_bytes()
        assert alt == text
        assert 600 <= width <= 720
    with pytest.raises(ValueError, match="no figure 'chapter01_cat'; there are chapter01_timeline"):
        show_figure("chapter01_cat")


@pytest.mark.slow
def test_in_a_kernel_pictures_and_claims_are_displayed(tmp_path):
    """What a notebook stores: a picture with its text, and a claim with its metadata."""
    code = """
from utils import claim, set_up, show_figure
set_up()
show_figure("chapter01_rnn")
claim("A1", None, "too few seeds", expected=None)
print(any(name.startswith("scripts") for name in __import__("sys").modules))
"""
    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(page, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    first, picture, claim, last = page.cells[0].outputs
    assert first.text == "ready: seed 0\n"
    assert parts(picture.data["text/html"])[0] == load_alt_texts()["chapter01_rnn"]
    assert json.dumps(claim.metadata["claim"]["holds"]) == "null"
    assert claim.data["text/plain"].startswith("A1 is undecided: ")
    assert last.text == "False\n"
