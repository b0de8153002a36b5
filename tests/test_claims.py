"""The ledger of claims, and the table that is made of it."""

import nbformat
import numpy
import pytest
import torch

from scripts import claims_table as workshop
from scripts.claims_table import MARKERS, claims_table, documents, readme_with_claims, stored_claims, summary
from utils import claims
from utils.claims import claim, findings, load_claims


@pytest.fixture
def shown(monkeypatch):
    outputs = []
    monkeypatch.setattr(claims, "present", lambda line, *found: outputs.extend(found))
    monkeypatch.setattr(claims, "_found", {})
    return outputs


def test_a_claim_is_a_line_with_its_evidence_folded_under_it(shown):
    claim("A1", True, "sums within 1e-6 & <more>", source="checkpoint")
    (data, metadata), = shown  # fmt: skip
    assert data["text/plain"].startswith("A1 holds: The attention weights at every step")
    assert "1e-6" not in data["text/plain"]  # the text that is compared has no figures
    head, evidence = data["text/html"].split("</summary>")
    assert head.startswith("<details><summary><b>✓ A1 holds:</b> The attention weights")
    assert evidence == (
        "<span class='evidence'>sums within 1e-6 &amp; &lt;more&gt; (checkpoint)</span></details>"
    )
    entry = {"id": "A1", "holds": True, "evidence": "sums within 1e-6 & <more>", "source": "checkpoint"}
    assert metadata == {"claim": entry}


@pytest.mark.parametrize(
    ("holds", "start", "mark"),
    [
        (True, "E6 holds: ", "✓"),
        (False, "E6 does not hold at this scale: ", "✗"),
        (None, "E6 is undecided: ", "?"),
    ],
)
def test_there_are_three_verdicts(shown, holds, start, mark):
    claim("E6", holds, "early 0.4, late 0.3", expected=holds)
    data, metadata = shown[0]
    assert data["text/plain"].startswith(start)
    assert f"<b>{mark} E6" in data["text/html"]
    assert metadata["claim"]["holds"] is holds


@pytest.mark.parametrize("yes", [numpy.bool_(True), torch.tensor(True), 1])
def test_what_was_measured_may_be_of_any_kind(shown, yes):
    claim("A1", yes, "measured")
    assert shown[0][1]["claim"]["holds"] is True


@pytest.mark.parametrize(
    ("holds", "expected", "message"),
    [
        (False, True, "A3 does not hold at this scale; expected was that it holds: 0.5 against 0.4"),
        (True, False, "A3 holds; expected was that it does not hold at this scale: 0.5"),
        (None, True, "A3 is undecided; expected was that it holds: 0.5"),
        (True, None, "A3 holds; expected was that it is undecided: 0.5"),
        (None, False, "A3 is undecided; expected was that it does not hold"),
        (False, None, "A3 does not hold at this scale; expected was that it is undecided"),
    ],
)
def test_a_claim_that_turns_out_otherwise_raises(shown, holds, expected, message):
    with pytest.raises(AssertionError, match=message):
        claim("A3", holds, "0.5 against 0.4", expected=expected)
    assert not shown
    findings()
    assert shown[0][0]["text/plain"] == "no claim has been settled yet"


def test_bad_claims_are_named(shown):
    with pytest.raises(KeyError, match="no claim 'Z9'"):
        claim("Z9", True, "x")
    with pytest.raises(ValueError, match="source must be one of"):
        claim("A1", True, "x", source="memory")
    with pytest.raises(ValueError, match="A1 needs evidence"):
        claim("A1", True, " ")
    assert not shown


def test_findings_list_what_was_settled_and_a_claim_that_was_settled_again_once(shown):
    claim("A1", True, "one")
    claim("A3", None, "two", expected=None)
    claim("A1", True, "one, measured again")
    findings()
    data, metadata = shown[-1]
    assert [line.partition(":")[0] for line in data["text/plain"].splitlines()] == [
        "A1 holds",
        "A3 is undecided",
    ]
    assert data["text/html"].count("<span class='evidence'>") == 2
    assert "one, measured again" in data["text/html"]
    assert metadata == {}  # so that no claim is stored twice


@pytest.fixture
def repository(tmp_path):
    """A folder with two notebooks that settle three claims, and a README."""

    def output(claim_id, holds, evidence):
        entry = {"id": claim_id, "holds": holds, "evidence": evidence, "source": "checkpoint"}
        return nbformat.v4.new_output("display_data", metadata={"claim": entry})

    (tmp_path / "notebooks").mkdir()
    for name, outputs in (
        ("01_one", [output("E1", True, "P(a|b) = 0.5")]),
        ("02_two", [output("A8", False, "92 % and 94 %"), output("A1", True, "sums\nto 1")]),
    ):
        cells = [nbformat.v4.new_markdown_cell("x"), nbformat.v4.new_code_cell("y", outputs=outputs)]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "notebooks" / f"{name}.ipynb")
    (tmp_path / "README.md").write_text(f"# Über\n{MARKERS[0]}\nold\n{MARKERS[1]}\nend\n", encoding="utf-8")
    return tmp_path


def test_the_table_of_all_claims_comes_from_stored_outputs(repository):
    found = stored_claims(repository / "notebooks")
    assert sorted(found) == ["A1", "A8", "E1"]
    rows = {line.split(" | ")[0].strip("| "): line for line in claims_table(found).splitlines()[2:]}
    assert list(rows) == [row["id"] for row in load_claims()]
    assert rows["E1"].endswith(
        r" | holds | P(a\|b) = 0.5 | checkpoint | [01](notebooks/01_encoder_decoder.ipynb) |"
    )
    assert " | does not hold at this scale | 92 % and 94 % | checkpoint | [02]" in rows["A8"]
    assert " | sums to 1 | " in rows["A1"]
    assert rows["T0"].endswith(" | not yet settled |  |  |  |")


def test_the_summary_counts_every_verdict():
    ids = [row["id"] for row in load_claims()]
    total = len(ids)
    verdicts = dict.fromkeys(ids, True) | {ids[0]: False, ids[1]: None, ids[2]: None}
    found = {claim_id: {"holds": holds} for claim_id, holds in verdicts.items()}
    assert summary(found) == (
        f"Of {total} statements, {total - 3} hold, 1 does not hold at this scale and 2 are undecided."
    )
    del found[ids[3]]
    assert summary(found).endswith("2 are undecided and 1 are not yet settled.")


def test_claims_have_a_file_of_their_own_and_are_counted_in_the_readme(repository, monkeypatch, capsys):
    monkeypatch.setattr(workshop, "documents", lambda: documents(repository))
    workshop.main([])
    readme = (repository / "README.md").read_text(encoding="utf-8")
    total = len(load_claims())
    sentence = (
        f"Of {total} statements, 2 hold, 1 does not hold at this scale and {total - 3} are not yet settled."
    )
    assert readme.startswith(f"# Über\n{MARKERS[0]}\n{sentence} [CLAIMS.md](CLAIMS.md)")
    assert readme.endswith(f"\n{MARKERS[1]}\nend\n")
    text = (repository / "CLAIMS.md").read_text(encoding="utf-8")
    assert text.startswith(f"# The claims\n\n{workshop.TITLE.split(chr(10), 2)[2]}\n{sentence}\n\n| claim |")
    assert documents(repository)[repository / "README.md"] == readme  # a second time changes nothing
    assert capsys.readouterr().out.splitlines() == [
        "wrote the claims into CLAIMS.md",
        "wrote the claims into README.md",
    ]


@pytest.mark.parametrize(
    "bad", ["no markers", MARKERS[0], MARKERS[1] + MARKERS[0], f"{MARKERS[0]} {MARKERS[1]} " * 2]
)
def test_a_readme_without_its_markers_is_refused(bad):
    with pytest.raises(ValueError, match="the README needs one line"):
        readme_with_claims(bad, "new")
