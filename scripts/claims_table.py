"""scripts.claims_table"""

import json
from pathlib import Path

from utils.claims import ROOT, _verdict, load_claims

MARKERS = ("<!-- claims: written by `make claims` -->", "<!-- end of claims -->")


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


def main():
    """The command line of ``python -m utils.claims``."""
    readme = ROOT / "README.md"
    text = readme_with_claims(readme.read_text(encoding="utf-8"), claims_table())
    readme.write_text(text, encoding="utf-8")
    print(f"wrote the claims into {readme.name}")


if __name__ == "__main__":
    main()
