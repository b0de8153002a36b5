import pytest

from scripts import run_notebooks as run
from scripts.claims_table import MARKERS, claims_table, readme_with_claims
from utils import claims
from utils.claims import claim, load_claims, settled


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
    assert entry["claims"] == [{"id": "A1", "holds": True, "evidence": "a figure", "source": "live"}]
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


def test_the_table_of_all_claims_comes_from_stored_outputs(tmp_path):
    import nbformat

    def output(claim_id, holds, evidence):
        entry = {"id": claim_id, "holds": holds, "evidence": evidence, "source": "checkpoint"}
        return nbformat.v4.new_output("display_data", metadata={"claim": entry})

    for name, outputs in (
        ("01_one", [output("E1", True, "P(a|b) = 0.5")]),
        ("02_two", [output("A8", False, "92% and 94%"), output("A1", True, "sums")]),
    ):
        cells = [nbformat.v4.new_markdown_cell("x"), nbformat.v4.new_code_cell("y", outputs=outputs)]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / f"{name}.ipynb")
    lines = claims_table(tmp_path).splitlines()
    rows = load_claims()
    total = len(rows)
    assert lines[0] == (
        f"Of {total} statements, 2 hold, 1 do not hold at this scale, and {total - 3} are not yet settled."
    )
    table = {line.split(" | ")[0].strip("| "): line for line in lines[4:]}
    assert list(table) == [row["id"] for row in rows]
    assert table["E1"].endswith(
        r" | holds | P(a\|b) = 0.5 | checkpoint | [01](notebooks/01_encoder_decoder.ipynb) |"
    )
    assert " | does not hold at this scale | 92% and 94% | checkpoint | [02]" in table["A8"]
    assert table["T0"].endswith(" | not yet settled |  |  |  |")


def test_the_readme_gets_the_table_between_its_markers():
    text = f"# Title\n{MARKERS[0]}\nold\n{MARKERS[1]}\nend\n"
    new = readme_with_claims(text, "| new |")
    assert new == f"# Title\n{MARKERS[0]}\n\n| new |\n\n{MARKERS[1]}\nend\n"
    assert readme_with_claims(new, "| new |") == new
    for bad in ("no markers", MARKERS[0], MARKERS[1] + MARKERS[0], text + text):
        with pytest.raises(ValueError, match="the README needs one line"):
            readme_with_claims(bad, "| new |")
