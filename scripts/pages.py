"""Notebooks as pages of HTML that need no network: formulas, alt texts and links included.

`make run` writes a page beside each executed notebook. `make site` makes a folder of pages that link to each
other, with a start page, from the notebooks as they are stored.
"""

from __future__ import annotations

import argparse
import html
import re
import sys
from pathlib import Path

import nbformat
from latex2mathml.converter import convert
from nbconvert import HTMLExporter

from scripts.site_translator import write_translator

ROOT = Path(__file__).parents[1]
REPOSITORY_LINKS = re.compile(r'(<a href=")\.\./([^"]*)')
# Code, which keeps its dollars; a formula on lines of its own; a formula in a line.
_PARTS = re.compile(r"(```.*?```|`[^`\n]*`)|\$\$(.+?)\$\$|\$(?!\s)([^$\n]+?)(?<!\s)\$", re.DOTALL)


def _hold_formulas(source: str, formulas: list[str]) -> str:
    """Replace each formula of a Markdown text by a mark that Markdown leaves alone."""

    def hold(match: re.Match[str]) -> str:
        code, block, line = match.groups()
        if code is not None:
            return code
        formulas.append(convert(block or line, display="block" if block else "inline"))
        return f"FORMULA{len(formulas) - 1}HELD"

    return _PARTS.sub(hold, source)


def page(notebook: nbformat.NotebookNode, name: str, navigation: str = "") -> str:
    """A notebook as one page of HTML.

    Args:
        notebook: with its outputs; it is not changed.
        name: of the page, for its title.
        navigation: HTML that links to other pages.

    Returns:
        The page, in which formulas are MathML and links to notebooks lead to their pages.
    """
    formulas: list[str] = []
    notebook = nbformat.from_dict(notebook)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = _hold_formulas(cell["source"], formulas)
    exporter = HTMLExporter(
        template_name="page_template", extra_template_basedirs=[str(Path(__file__).parent)]
    )
    resources = {"metadata": {"name": name}, "navigation": navigation}
    text, _ = exporter.from_notebook_node(notebook, resources)
    for number, formula in enumerate(formulas):
        text = text.replace(f"FORMULA{number}HELD", formula)
    return re.sub(r'(href="[^":]+)\.ipynb(["#])', r"\1.html\2", text)


def _title(notebook: nbformat.NotebookNode, name: str) -> str:
    headings = (re.search(r"^# (.+)$", cell["source"], re.M) for cell in notebook["cells"])
    return next((found[1] for found in headings if found), name)


def write_site(folder: Path, notebooks: Path = ROOT / "notebooks") -> list[Path]:
    """Write one page for each notebook, one with a translator, and a start page that lists them.

    Args:
        folder: where to; it is made.
        notebooks: the folder of the notebooks, which keep their stored outputs.

    Returns:
        The pages, the start page first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    read = {path.stem: nbformat.read(path, as_version=4) for path in sorted(notebooks.glob("*.ipynb"))}
    titles = {name: _title(notebook, name) for name, notebook in read.items()}
    links = ['<a href="index.html">Start</a>']
    links += [f'<a href="{name}.html">{html.escape(titles[name])}</a>' for name in read]
    links.append('<a href="translator.html">A translator in a page</a>')
    pages = []
    for name, notebook in read.items():
        text = page(notebook, titles[name], " ".join(links))
        # What lies outside the notebooks' folder is in the repository, not in the site.
        text = REPOSITORY_LINKS.sub(_OUTSIDE, text)
        pages.append(folder / f"{name}.html")
        pages[-1].write_text(text, encoding="utf-8")
    items = "".join(f'<li><a href="{name}.html">{html.escape(titles[name])}</a></li>' for name in read)
    start = folder / "index.html"
    start.write_text(_START.format(items=items), encoding="utf-8")
    return [start, *pages, write_translator(folder, " ".join(links))]


_OUTSIDE = r'<a class="repository" title="in the repository: \2" data-path="\2'
_START = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Hello Transformers</title>
<style>body {{ max-width: 44rem; margin: 3rem auto; padding: 0 1rem; font: 16px/1.6 sans-serif; }}</style>
</head>
<body><h1>Hello Transformers</h1>
<p>The first half of the chapter “Hello Transformers” as notebooks that run offline on a laptop, draw every
figure from code and measure every claim. These pages show them with their outputs.</p>
<ol start="0">{items}</ol>
<p>And a <a href="translator.html">translator in a page</a>: type a sentence, and see where it looks.</p>
</body></html>
"""


def main(arguments: list[str] | None = None) -> None:
    """The command line of ``hello site``."""
    description = "Write the notebooks, as they are stored, as pages that link to each other."
    parser = argparse.ArgumentParser(prog="hello site", description=description)
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "site", help="folder (build/site)")
    options = parser.parse_args(arguments)
    pages = write_site(options.output)
    sys.stdout.write(f"wrote {len(pages)} pages; open {pages[0]}\n")


if __name__ == "__main__":
    main()
