"""Everything of ours is UTF-8, whatever the system's own encoding is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# A Windows locale has 256 characters and Unix's C locale has 128; the second can be had everywhere.
NARROW = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

EVERYTHING = """
import locale
import sys
from pathlib import Path
import nbformat
from phrasebook import phrasebook_words
from scripts.claims_table import documents
from scripts.pages import write_site
from scripts.run_notebooks import execute
from scripts.timeline_figure import load_timeline
from utils.claims import load_claims
from utils.loaders import load_captions, load_reviews
from utils.translator import Translator, load_translator

assert locale.getencoding().lower() not in ("utf-8", "utf8"), "the test tests nothing"
folder = Path(sys.argv[1])
phrasebook_words(), load_captions(), load_reviews(), load_timeline(), load_claims(), documents()
translator = load_translator("multi30k-en-fr-gru-attention")
translator.save_pretrained(folder / "translator")
again = load_translator(folder / "translator")
sentence = "A café in Zürich ."
assert again.translate([sentence])[0].text == translator.translate([sentence])[0].text
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print('← é ß', open.__name__)")])
nbformat.write(notebook, folder / "00_narrow.ipynb")
report = execute(folder / "00_narrow.ipynb", folder / "build")
assert report["error"] is None, report
assert "← é ß" in (folder / "build" / "00_narrow.html").read_text(encoding="utf-8")
"""


def python(*arguments, **environment):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


@pytest.mark.slow
def test_all_that_reads_and_writes_runs_where_the_locale_is_not_utf_8(tmp_path):
    script = tmp_path / "everything.py"
    script.write_text(EVERYTHING, encoding="utf-8")
    run = python("-X", "warn_default_encoding", str(script), str(tmp_path), PYTHONPATH=str(ROOT), **NARROW)
    assert run.returncode == 0, run.stderr
    ours = [line for line in run.stderr.splitlines() if "EncodingWarning" in line and str(ROOT) in line]
    assert [line for line in ours if ".venv" not in line] == []


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_narrow_terminal_gets_replaced_characters(encoding):
    command = ("-m", "scripts", "translate", "--to", "fr", "--show", "A man is riding a bicycle .")
    run = python(*command, PYTHONIOENCODING=encoding)
    assert run.returncode == 0, run.stderr
    assert "homme" in run.stdout
