import pytest

from utils import claims, run
from utils.claims import claim, settled


@pytest.fixture
def shown(monkeypatch):
    outputs = []
    monkeypatch.setattr(claims, "display", lambda data, raw, metadata: outputs.append((data, metadata)))
    monkeypatch.setattr(claims, "_settled", {})
    return outputs


def test_a_claim_shows_statement_verdict_and_evidence(shown):
    claim("A1", True, "sums within 1e-6 & <more>", source="checkpoint")
    (data, metadata), = shown  # fmt: skip
    assert data["text/plain"].startswith("A1 holds: The attention weights at every step")
    assert "1e-6" not in data["text/plain"]  # the text that is compared has no figures
    assert (
        "<span class='evidence'>sums within 1e-6 &amp; &lt;more&gt; (checkpoint)</span>" in data["text/html"]
    )
    assert metadata["claim"]["holds"] is True


def test_a_claim_that_fails_as_expected_is_shown_honestly(shown):
    claim("E6", False, "early 0.4, late 0.3", expected=False)
    assert shown[0][0]["text/plain"].startswith("E6 does not hold at this scale")


def test_a_claim_that_turns_out_otherwise_raises(shown):
    with pytest.raises(AssertionError, match=r"A3 was expected to hold, but it fails: 0\.5 against 0\.4"):
        claim("A3", False, "0.5 against 0.4")
    with pytest.raises(AssertionError, match="A3 was expected to fail, but it holds"):
        claim("A3", True, "0.1 against 0.4", expected=False)
    assert not shown


def test_bad_claims_are_named(shown):
    with pytest.raises(KeyError, match="no claim 'Z9'"):
        claim("Z9", True, "x")
    with pytest.raises(ValueError, match="source must be one of"):
        claim("A1", True, "x", source="memory")
    with pytest.raises(ValueError, match="A1 needs evidence"):
        claim("A1", True, " ")


def test_the_table_lists_what_was_settled(shown):
    claim("A1", True, "one")
    claim("A3", True, "two")
    settled()
    data, _ = shown[-1]
    assert data["text/plain"] == "A1 holds\nA3 holds"
    assert data["text/html"].count("<span class='evidence'>") == 2


NOTEBOOK = """
import numpy
from utils.claims import claim
claim("A1", {holds}, "a figure")
"""


def write_notebook(path, *sources):
    import nbformat

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    nbformat.write(notebook, path)


def test_running_notebooks_writes_report_copies_and_pages(tmp_path, monkeypatch, capsys):
    import json

    (tmp_path / "notebooks").mkdir()
    write_notebook(tmp_path / "notebooks" / "00_good.ipynb", NOTEBOOK.format(holds=True))
    monkeypatch.setattr(run, "ROOT", tmp_path)
    run.main(["--output", str(tmp_path / "build")])
    report = json.loads((tmp_path / "build" / "report.json").read_text())
    (entry,) = report["notebooks"]
    assert entry["claims"] == [{"id": "A1", "holds": True, "evidence": "a figure"}]
    assert entry["peak_memory_mb"] > 10
    assert 0 < entry["seconds"] <= report["total_seconds"]
    assert "a figure" in (tmp_path / "build" / "00_good.html").read_text()
    assert "A1✓" in capsys.readouterr().out


def test_a_failing_notebook_fails_the_run_and_is_still_written(tmp_path, monkeypatch, capsys):
    (tmp_path / "notebooks").mkdir()
    write_notebook(tmp_path / "notebooks" / "00_bad.ipynb", "1 / 0")
    monkeypatch.setattr(run, "ROOT", tmp_path)
    with pytest.raises(SystemExit):
        run.main(["--output", str(tmp_path / "build")])
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert "ZeroDivisionError" in (tmp_path / "build" / "00_bad.ipynb").read_text()
    with pytest.raises(SystemExit, match="no notebook '99_none'"):
        run.main(["99_none"])
