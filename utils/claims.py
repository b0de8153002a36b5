"""The ledger of claims: the chapter's testable statements, and what was measured about them."""

import csv
import html

from utils.notebook import ROOT, present

CLAIMS = ROOT / "data" / "claims.csv"
SOURCES = ("live", "checkpoint", "shipped results")
VERDICTS = {True: "holds", False: "does not hold at this scale", None: "is undecided"}

_MARKS = {True: "✓", False: "✗", None: "?"}
_found = {}  # what this process has settled so far, by id


def load_claims() -> list[dict[str, str]]:
    """The rows of ``data/claims.csv``, dictionaries with id, notebook and statement."""
    with open(CLAIMS, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def claim(
    claim_id: str, holds: bool | None, evidence: str, expected: bool | None = True, source: str = "live"
) -> None:
    """Settle a claim: one line with its verdict and statement, and the evidence folded under it.

    Args:
        claim_id: an id in ``data/claims.csv``, such as "A3"; KeyError if it is not there.
        holds: whether the statement holds. None if the evidence leaves it undecided.
        evidence: the figures, in a sentence.
        expected: what ``holds`` is known to be at this scale; AssertionError if it is something else.
        source: "live" (computed in this notebook), "checkpoint" (a model that was trained before), or
            "shipped results" (``data/results``).
    """
    statements = {row["id"]: row["statement"] for row in load_claims()}
    if claim_id not in statements:
        raise KeyError(f"there is no claim {claim_id!r} in {CLAIMS.name}; it has {sorted(statements)}")
    if source not in SOURCES:
        raise ValueError(f"source must be one of {SOURCES}, not {source!r}")
    if not evidence.strip():
        raise ValueError(f"claim {claim_id} needs evidence: the figures that settle it")
    holds = None if holds is None else bool(holds)
    if holds != expected:
        raise AssertionError(
            f"claim {claim_id} {VERDICTS[holds]}; expected was that it {VERDICTS[expected]}: {evidence}"
        )
    entry = {"id": claim_id, "holds": holds, "evidence": evidence, "source": source}
    _found[claim_id] = entry | {"statement": statements[claim_id]}
    line, markup = _line(_found[claim_id])
    data = {"text/plain": line, "text/html": markup}
    present(f"{line} ({evidence}; {source})", (data, {"claim": entry}))


def findings() -> None:
    """Show all claims that this notebook has settled, a line each, with their evidence folded under it."""
    lines = [_line(entry) for entry in _found.values()] or [("no claim has been settled yet",) * 2]
    text, markup = "\n".join(line for line, _ in lines), "".join(markup for _, markup in lines)
    present(text, ({"text/plain": text, "text/html": markup}, {}))


def _line(entry: dict) -> tuple[str, str]:
    verdict, statement = VERDICTS[entry["holds"]], entry["statement"]
    evidence = html.escape(f"{entry['evidence']} ({entry['source']})")
    # The figures differ a little between processors; nbval.cfg leaves this span out of comparisons.
    return f"{entry['id']} {verdict}: {statement}", (
        f"<details><summary><b>{_MARKS[entry['holds']]} {entry['id']} {verdict}:</b> "
        f"{html.escape(statement)}</summary><span class='evidence'>{evidence}</span></details>"
    )
