"""The base of all explorers, the explorer of an alignment, and the box to type in."""

import html
import json
import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy

from utils.plots.weights import as_array, prepare
from utils.vocabulary import END, LANGUAGE_NAMES, WORD_SIGN

HINT = "Run this cell to play with it; until then, point at a word for its numbers."
LIMIT = 40_000  # bytes of an explorer in a notebook


class Explorer:
    """The markup of a view of ``explorers.js``, and the text ``alt`` for those who do not see it.

    The data are numbers and texts for the script. The lines, (name, words) or (name, words, what each says
    when pointed at), remain without a script.
    """

    def __init__(self, kind: str, alt: str, data: Mapping[str, Any], *lines: Sequence):
        if not alt.strip():
            raise ValueError("an explorer needs an alt text: what is seen, and what follows from it")
        exact = json.dumps({"kind": kind, **data})
        rounded = json.loads(exact, parse_float=lambda digits: round(float(digits), 3))
        numbers = json.dumps(rounded, ensure_ascii=False, separators=(",", ":"))
        text = ""
        for name, words, *tips in lines:
            said = zip_longest(words, *tips or [[]], fillvalue="")
            spans = (f"<span title='{_escape(tip)}'>{_escape(word)}</span>" for word, tip in said)
            text += f"<p><b>{_escape(name)}</b> {' '.join(spans)}</p>"
        self.alt, (style, script) = alt, code(kind)
        self.markup = (
            f"<style>{style}</style><div class='explorer' role='group' aria-label='{_escape(alt)}' "
            f"data-explorer='{_escape(numbers)}'>{text}"
            f"<output aria-live='polite'></output><small>{HINT}</small></div><script>{script}</script>"
        )
        if (size := len(json.dumps(self.markup))) > LIMIT:
            raise ValueError(f"this explorer has {size:,} bytes, more than {LIMIT:,}: take a shorter text")

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": self.alt, "text/html": self.markup}


def _escape(text: str) -> str:
    """For text between tags, and for attributes in single quotes; double quotes stay, as there are many."""
    return html.escape(text, quote=False).replace("'", "&#39;")


@cache
def code(kind: str) -> tuple[str, str]:
    """The style, and of the script what is common, the view of one kind, and the end; without comments."""
    files = (Path(__file__).with_name(f"explorers.{end}") for end in ("css", "js"))
    style, text = (file.read_text(encoding="utf-8") for file in files)
    common, *parts = re.split(r"^//: (\w+)\n", re.sub(r"^\s+(// .*\n)?", "", text, flags=re.M), flags=re.M)
    views = dict(zip(parts[::2], parts[1::2], strict=True))
    return style, common + views[kind] + views["end"]


def pack(values: Any, size: int = 2) -> str:
    """Numbers to three digits as text: 2 characters each from 0 to 1, 3 characters from -23 to 23."""
    shift = 0 if size == 2 else 23
    codes = numpy.rint(1000 * (as_array(values).ravel().clip(-shift, shift or 1) + shift)).astype(int)
    return "".join(numpy.base_repr(code, 36).lower().zfill(size) for code in codes.tolist())


def spoken(pairs: Iterable) -> str:
    """Pairs (word, probability) as text."""
    return ", ".join(f"{word} {p:.0%}" for word, p in pairs)


def tips_of(names: Sequence[str], matrix: Any, least: float = 0.05) -> list[str]:
    """For each row of weights the names of the three largest, as text."""
    rows = (sorted(zip(row, names, strict=True), reverse=True)[:3] for row in as_array(matrix).tolist())
    return [spoken((name, weight) for weight, name in row if weight >= least) for row in rows]


def bare(tokens: Iterable[str]) -> list[str]:
    """Tokens without the sign of a word's beginning; a sign alone stays."""
    return [token.strip(WORD_SIGN) or WORD_SIGN for token in tokens]


def explore_alignment(
    weights: Any, source_tokens: Any = None, target_tokens: Any = None, *, alt: str,
    languages: Sequence[str] = ("source", "target"), merge: bool = True, show_end: bool = True,
    compare: tuple[str, Any] | None = None,
) -> Explorer:  # fmt: skip
    """The words of a translation: point at one, or step through them, and see what it looks at.

    Args:
        weights, source_tokens, target_tokens, merge, show_end: as for ``plot_alignment``.
        languages: names or codes of both.
        compare: somebody else's name and weights for the same words [target, source], 0 where not known.
    """
    matrix, sources, targets = prepare(weights, source_tokens, target_tokens, merge, show_end)
    best = matrix.argmax(axis=1).tolist()
    crossing = [i for i in range(len(best) - 1) if best[i] > best[i + 1] and sources[best[i]] != END]
    sure = matrix.max(axis=1)
    start = max(crossing, key=lambda i: sure[i] + sure[i + 1], default=len(best) // 2)
    data = {"weights": pack(matrix), "start": start}
    if compare:
        data |= {"name": compare[0], "compare": pack(compare[1])}
        if numpy.shape(compare[1]) != matrix.shape:
            raise ValueError(f"weights to compare with must have the shape {list(matrix.shape)}")
    read, written = (LANGUAGE_NAMES.get(language, language) for language in languages)
    return Explorer("alignment", alt, data, (read, sources), (written, targets, tips_of(sources, matrix)))


def ask(render: Callable[[str], Any], text: str, label: str) -> None:
    """Show ``render(text)``, an explorer, and a box with a label in which to type another text.

    With ``CI`` set nobody types, so there is no box, and stored outputs stay as they are. What is wrong with
    a text (a ``TypeError``, ``ValueError`` or warning of ``render``) is said, and the next text may do.
    """
    from IPython.display import display

    if os.environ.get("CI"):
        display(render(text))
        return
    import ipywidgets

    box = ipywidgets.Text(text, description=label, continuous_update=False, layout={"width": "98%"})
    box.style.description_width = "initial"
    note = ipywidgets.Label()
    display(box, note)
    shown: Any = display(render(text), display_id=True)

    def update(change):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                shown.update(render(change["new"]))
            except (TypeError, ValueError) as error:
                shown.update({"text/plain": str(error)}, raw=True)
        note.value = " ".join(str(warning.message) for warning in caught)

    box.observe(update, names="value")
