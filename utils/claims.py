"""The ledger of claims: every testable statement of the chapter, and what was measured about it.

``python -m utils.claims`` writes the README's table of claims from the outputs stored in the notebooks.
"""

import csv
import html
from pathlib import Path

from IPython.display import display

ROOT = Path(__file__).parents[1]


CLAIMS = ROOT / "data" / "claims.csv"


SOURCES = ("live", "checkpoint", "shipped results")


_settled = {}  # what this process has settled so far, by id


def load_claims():
    """The rows of ``data/claims.csv``, dictionaries with id, notebook and statement."""
    with open(CLAIMS, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def statements():
    """Return the statements of ``data/claims.csv`` as a dictionary from id to text."""
    return {row["id"]: row["statement"] for row in load_claims()}


def claim(claim_id, holds, evidence, expected=True, source="live"):
    """Settle a claim: show its statement with the verdict and the evidence.

    Args:
        claim_id: an id in ``data/claims.csv``, such as "A3".
        holds: what was measured: whether the statement holds.
        evidence: the figures, in a sentence.
        expected: what ``holds`` is known to be at this scale. False shows a claim that fails here.
        source: where the evidence comes from: "live" (computed in this notebook), "checkpoint" (a
            model that was trained before), or "shipped results" (``data/results``).

    Raises:
        KeyError: an id that is not in the file.
        ValueError: an unknown source, or no evidence.
        AssertionError: ``holds`` is not what was expected.
    """
    known = statements()
    if claim_id not in known:
        raise KeyError(f"there is no claim {claim_id!r} in {CLAIMS.name}; it has {sorted(known)}")
    if source not in SOURCES:
        raise ValueError(f"source must be one of {SOURCES}, not {source!r}")
    if not evidence.strip():
        raise ValueError(f"claim {claim_id} needs evidence: the figures that settle it")
    holds = bool(holds)
    if holds != expected:
        raise AssertionError(
            f"claim {claim_id} was expected to {'hold' if expected else 'fail'}, but it "
            f"{'holds' if holds else 'fails'}: {evidence}"
        )
    entry = {"id": claim_id, "holds": holds, "evidence": evidence, "source": source}
    _settled[claim_id] = entry | {"statement": known[claim_id]}
    text = f"{claim_id} {_verdict(holds)}: {known[claim_id]}"
    _show(text, _paragraph(_settled[claim_id]), {"claim": entry})


def settled():
    """Show all claims that this notebook has settled, with their evidence, in one table."""
    rows = "".join(
        f"<tr><td><b>{entry['id']}</b></td><td style='text-align:left'>{html.escape(entry['statement'])}</td>"
        f"<td>{_verdict(entry['holds'])}</td>"
        f"<td style='text-align:left'>{_evidence(entry)}</td></tr>"
        for entry in _settled.values()
    )
    head = "<tr><th>claim</th><th>statement</th><th>verdict</th><th>evidence</th></tr>"
    text = "\n".join(f"{entry['id']} {_verdict(entry['holds'])}" for entry in _settled.values())
    _show(text, f"<table>{head}{rows}</table>", {})


def _verdict(holds):
    return "holds" if holds else "does not hold at this scale"


def _paragraph(entry):
    mark = "✓" if entry["holds"] else "✗"
    return (
        f"<p><b>{mark} Claim {entry['id']} {_verdict(entry['holds'])}.</b> "
        f"{html.escape(entry['statement'])}<br/>{_evidence(entry)}</p>"
    )


def _evidence(entry):
    # The figures differ a little between processors; nbval.cfg leaves this span out of comparisons.
    return f"<span class='evidence'>{html.escape(entry['evidence'])} ({entry['source']})</span>"


def _show(text, markup, metadata):
    display({"text/plain": text, "text/html": markup}, raw=True, metadata=metadata)
