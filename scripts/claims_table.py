"""The table of all claims in ``CLAIMS.md``, and its summary in the README, from what the notebooks stored.

hello claims
"""

import argparse
from collections import Counter
from pathlib import Path

import nbformat

from utils.claims import VERDICTS, load_claims

ROOT = Path(__file__).parents[1]
MARKERS = ("<!-- claims: written by `make claims` -->", "<!-- end of claims -->")
TITLE = """# The claims

Every statement of the chapter that can be tested, and what the notebooks measured. `make claims` writes this
table from their stored outputs.
"""


def claims_of(notebook) -> list[dict]:
    """The claims that an executed notebook settled, from the metadata of its outputs.

    Args:
        notebook: as nbformat reads it.

    Returns:
        Dictionaries with id, holds (None: undecided), evidence and source.
    """
    outputs = (output for cell in notebook["cells"] for output in cell.get("outputs", []))
    return [output["metadata"]["claim"] for output in outputs if "claim" in output.get("metadata", {})]


def stored_claims(folder: Path) -> dict[str, dict]:
    """What the notebooks in a folder have settled, by id of the claim."""
    notebooks = (nbformat.read(path, as_version=4) for path in sorted(folder.glob("*.ipynb")))
    return {entry["id"]: entry for notebook in notebooks for entry in claims_of(notebook)}


def summary(found: dict[str, dict]) -> str:
    """How many claims hold, do not hold, are undecided, and are not settled, in a sentence."""
    total, counts = len(load_claims()), Counter(entry["holds"] for entry in found.values())
    parts = [
        f"{counts[True]} hold",
        f"{counts[False]} do{'es' if counts[False] == 1 else ''} not hold at this scale",
    ]
    parts += [f"{counts[None]} {'is' if counts[None] == 1 else 'are'} undecided"] * (counts[None] > 0)
    parts += [f"{total - len(found)} are not yet settled"] * (len(found) < total)
    return f"Of {total} statements, {', '.join(parts[:-1])} and {parts[-1]}."


def claims_table(found: dict[str, dict]) -> str:
    """All claims and what was found about them, as a table in Markdown."""
    lines = ["| claim | statement | verdict | evidence | from | notebook |", "|---|---|---|---|---|---|"]
    for row in load_claims():
        cells = [row["id"], row["statement"], "not yet settled", "", "", ""]
        if row["id"] in found:
            entry = found[row["id"]]
            link = f"[{row['notebook'][:2]}](notebooks/{row['notebook']}.ipynb)"
            cells[2:] = [VERDICTS[entry["holds"]], entry["evidence"], entry["source"], link]
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines)


def readme_with_claims(text: str, sentence: str) -> str:
    """A README with a new text between its two markers.

    Raises:
        ValueError: the README has not exactly one marker of each kind, in order.
    """
    before, start, rest = text.partition(MARKERS[0])
    _, end, after = rest.partition(MARKERS[1])
    if not start or not end or any(text.count(marker) != 1 for marker in MARKERS):
        raise ValueError(f"the README needs one line {MARKERS[0]} and after it one line {MARKERS[1]}")
    return f"{before}{start}\n{sentence}\n{end}{after}"


def documents(root: Path = ROOT) -> dict[Path, str]:
    """The files that tell of the claims, and what each should hold."""
    found, readme = stored_claims(root / "notebooks"), root / "README.md"
    sentence = f"{summary(found)} [CLAIMS.md](CLAIMS.md) lists them all, with the evidence."
    return {
        root / "CLAIMS.md": f"{TITLE}\n{summary(found)}\n\n{claims_table(found)}\n",
        readme: readme_with_claims(readme.read_text(encoding="utf-8"), sentence),
    }


def main(arguments: list[str] | None = None) -> None:
    """The command line of ``hello claims``."""
    description = "Write CLAIMS.md, and the summary in the README, from the notebooks' stored outputs."
    argparse.ArgumentParser(prog="hello claims", description=description).parse_args(arguments)
    for path, text in documents().items():
        path.write_text(text, encoding="utf-8", newline="\n")
        print(f"wrote the claims into {path.name}")


if __name__ == "__main__":
    main()
