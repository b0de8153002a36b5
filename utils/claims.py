"""The ledger of claims: every testable statement of the chapter, and what was measured about it.

``python -m utils.claims`` writes the README's table of claims from the outputs stored in the notebooks.
"""

import csv
import html
import json
from pathlib import Path

from IPython.display import display

ROOT = Path(__file__).parents[1]
CLAIMS = ROOT / "data" / "claims.csv"
MARKERS = ("<!-- claims: written by `make claims` -->", "<!-- end of claims -->")
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


def claims_of(notebook):
    """The claims that an executed notebook settled, from the metadata of its outputs.

    Args:
        notebook: as nbformat or a JSON parser reads it.

    Returns:
        A list of dictionaries with id, holds, evidence and source.
    """
    outputs = (output for cell in notebook["cells"] for output in cell.get("outputs", []))
    return [output["metadata"]["claim"] for output in outputs if "claim" in output.get("metadata", {})]


def claims_table(folder=ROOT / "notebooks"):
    """All claims and what the notebooks in a folder stored about them, as a table in Markdown."""
    found = {}
    for path in sorted(Path(folder).glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        found |= {entry["id"]: entry for entry in claims_of(notebook)}
    rows = load_claims()
    held = sum(entry["holds"] for entry in found.values())
    lines = [
        f"Of {len(rows)} statements, {held} hold, {len(found) - held} do not hold at this scale, and "
        f"{len(rows) - len(found)} are not yet settled.",
        "",
        "| claim | statement | verdict | evidence | from | notebook |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        entry = found.get(row["id"])
        verdict = _verdict(entry["holds"]) if entry else "not yet settled"
        cells = [row["id"], row["statement"], verdict]
        cells += [entry["evidence"], entry["source"]] if entry else ["", ""]
        cells.append(f"[{row['notebook'][:2]}](notebooks/{row['notebook']}.ipynb)" if entry else "")
        lines.append("| " + " | ".join(_markdown(cell) for cell in cells) + " |")
    return "\n".join(lines)


def readme_with_claims(text, table):
    """A README with a new table between its two markers.

    Raises:
        ValueError: the text has not exactly one marker of each kind, in order.
    """
    parts = text.split(MARKERS[0])
    if len(parts) != 2 or parts[1].count(MARKERS[1]) != 1 or MARKERS[1] in parts[0]:
        raise ValueError(f"the README needs one line {MARKERS[0]} and after it one line {MARKERS[1]}")
    after = parts[1].split(MARKERS[1])[1]
    return f"{parts[0]}{MARKERS[0]}\n\n{table}\n\n{MARKERS[1]}{after}"


def _markdown(text):
    return text.replace("|", "\\|").replace("\n", " ")


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


def main():
    """The command line of ``python -m utils.claims``."""
    readme = ROOT / "README.md"
    text = readme_with_claims(readme.read_text(encoding="utf-8"), claims_table())
    readme.write_text(text, encoding="utf-8")
    print(f"wrote the claims into {readme.name}")


if __name__ == "__main__":
    main()
