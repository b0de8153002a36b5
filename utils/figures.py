"""The chapter's eight figures, each a short description; ``python -m utils.figures`` writes them to imgs/.

python -m utils.figures                   all of them, as PNG and SVG
python -m utils.figures chapter01_rnn     one of them
"""

import argparse
import sys
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt

from utils.data.phrasebook import HELD_OUT
from utils.data.timeline import load_timeline
from utils.notebook import show
from utils.plots import Diagram, plot_alignment, plot_timeline, use_style
from utils.translator import load_translator

IMAGES = Path(__file__).parents[1] / "imgs"
_ENGLISH, _GERMAN = (HELD_OUT[0][language].split() for language in ("en", "de"))


def draw_timeline():
    """Figure 1-1: the models of ``data/timeline.csv``."""
    return plot_timeline(
        load_timeline(),
        "Within three years of the Transformer there is a zoo",
        bold=("Transformer", "ULMFiT", "GPT", "BERT"),
    )


def draw_rnn():
    """Figure 1-2: a recurrent network, rolled and unrolled."""
    page = Diagram(72, 28, "A loop, written out, is a chain")
    cell = page.box(6, 13, 6, 6, "RNN", "encoder", size=9)
    page.arrow(page.token(6, 5.5, "word"), cell)
    page.arrow(cell, (6, 19.6))
    page.label(6, 20.4, "$h$", size=11, va="baseline")
    page.arrow((9.3, 14.7), (12.6, 14.7), (12.6, 11.3), (9.3, 11.3), color="encoder")
    page.label(13.6, 13, "the state,\nback to itself", ha="left")
    page.label(27.2, 13, "=", size=18)
    page.label(31.2, 13, "$h_0$", size=11)
    before = (32.6, 13)
    for number, word in enumerate(_ENGLISH, start=1):
        x = 29.8 + 8.9 * number
        cell = page.box(x, 13, 6, 6, "RNN", "encoder", size=9)
        page.arrow(before, cell, color="encoder")
        page.arrow(page.token(x, 5.5, word), cell)
        page.arrow(cell, (x, 19.6))
        page.label(x, 20.4, f"$h_{number}$", size=11, va="baseline")
        before = cell
    page.label(52, 1.8, "the same cell with the same weights, once for each word", color="muted")
    return page.figure


def draw_encoder_decoder():
    """Figure 1-3: the pair of recurrent networks on the German example."""
    page = Diagram(72, 30, "One vector carries the whole sentence across")
    vector = page.stack(36, 13.5, 6, 1.5, 1.1, "highlight", (0, 1.1), fill=0.55)
    page.label(36, 20.3, "last\nhidden\nstate")
    sides = (
        (0.8, "encoder", _ENGLISH, "reads the source, word by word"),
        (40.4, "decoder", ["<s>", *_GERMAN[:-1]], "reads each word that it has written"),
    )
    for left, part, words, caption in sides:
        page.frame(left, 9.5, left + 30.8, 17.5, part)
        name = page.label(left + 1, 2, part, color=part, weight="bold", size=9, ha="left")
        page.label(left + 8.2, 2, caption, color="muted", ha="left")
        before = vector if part == "decoder" else None
        for number, word in enumerate(words):
            cell = page.box(left + 4.2 + 7.45 * number, 13.5, 5, 5, "RNN", part)
            page.arrow(page.token(cell.x, 6.2, word), cell)
            if before:
                page.arrow(before, cell, color=part)
            if part == "decoder":
                page.arrow(cell, page.token(cell.x, 21, _GERMAN[number]))
            before = cell
        if part == "encoder":
            page.arrow(before, vector, color=part)
    return page.figure


def draw_attention():
    """Figure 1-4: the decoder predicts its third token; the weights are those of the trained model."""
    (translation,) = load_translator("phrasebook-en-de-gru-attention").translate([HELD_OUT[0]["en"]])
    weights = translation.attention_weights[2].tolist()
    page = Diagram(72, 54, "To write “großartig”, the decoder looks back at “great”")
    page.frame(0.8, 6, 51.6, 14.2, "encoder")
    page.label(2.4, 10.1, "encoder", color="encoder", weight="bold", size=9, ha="left")
    page.frame(26.5, 35.6, 71.2, 43.8, "decoder")
    page.label(28, 39.7, "decoder", color="decoder", weight="bold", size=9, ha="left")
    look = page.box(30.8, 26.6, 15, 4.6, "weighted mean", "attention", size=9)
    before = None
    for number, (word, weight) in enumerate(zip(translation.source_tokens, weights, strict=True)):
        cell = page.box(14.2 + 8.3 * number, 10.1, 5, 5, "RNN", "encoder")
        page.arrow(page.token(cell.x, 3, word), cell)
        if before:
            page.arrow(before, cell, color="encoder", both=True)  # it reads in both directions
        page.arrow(cell, look, color="light", width=0.8, head=False)
        page.arrow(cell, look, color="attention", weight=weight, width=2.4)
        side = -2.4 if cell.x < look.x else 2.4
        page.label(cell.x + side, 15.8, f"{weight:.2f}")
        before = cell
    before = (34.6, 39.7)
    for number, word in enumerate(["<s>", *_GERMAN[:2]]):
        cell = page.box(39 + 9.5 * number, 39.7, 5, 5, "RNN", "decoder")
        page.arrow(before, cell, color="decoder")
        token = page.token(cell.x + (number == 2), 32.6, word)
        page.arrow(token, (token.x, cell.bottom - 0.3))
        page.arrow(cell, page.token(cell.x, 46.6, _GERMAN[number], "highlight" if number == 2 else "light"))
        before = cell
    page.arrow((53.2, 39.4), (53.2, 27.6), (look.right + 0.3, 27.6), color="attention")
    page.arrow((look.right, 25.4), (56.2, 25.4), (56.2, cell.bottom - 0.3), color="attention")
    page.arrow(cell, page.box(67.5, 39.7, 5, 5, "", fill=0, dashed=True), color="light")
    page.label(46, 28.8, "the state so far asks")
    page.label(46, 24, "the context answers")
    return page.figure


def draw_alignment():
    """Figure 1-5: the alignment of the paper's sentence by the trained model, in the paper's look."""
    (translation,) = load_translator("phrasebook-en-fr-gru-attention").translate([HELD_OUT[1]["en"]])
    title = "The three words cross, though the sentence is new to the translator"
    look = {"preset": "paper", "show_end": False, "source_language": "en", "target_language": "fr"}
    return plot_alignment(translation, title=title, **look).figure


def draw_transformer():
    """Figure 1-6: the encoder and the decoder of the original Transformer."""
    page = Diagram(72, 67, "Both sides look at themselves; the decoder looks at the encoder, too")
    ground, rise = 14, 11.2  # bottom of the layers, and from one sub-layer to the next
    sides = (
        ("encoder", 20, -1, ["self-attention", "feed-forward"]),
        ("decoder", 52, 1, ["masked self-attention", "attention to the encoder", "feed-forward"]),
    )
    for part, x, side, names in sides:
        edges = sorted((x - side * 11, x + side * 14))
        top = ground + rise * len(names) - 1
        page.frame(edges[0], ground, edges[1], top, part, layers=3)
        page.label(x, top + 3.2 if part == "encoder" else 1.4, "", color=part)
        embedding = page.box(x, 8.6, 19, 4, "embedding + position", size=9)
        page.arrow(page.token(x, 3.4, "Transformers are great !"), embedding)
        before = embedding
        for number, name in enumerate(names):
            low = ground + rise * number + 3
            color = "transformer" if name == "feed-forward" else "attention"
            layer = page.box(x, low + 2, 19, 4, name, color, size=9)
            norm = page.box(x, low + 6.3, 19, 2.2, "add and normalise", fill=0)
            page.arrow(before, layer)
            page.arrow(layer, norm)
            page.arrow((x, low - 1.6), (x + side * 12, low - 1.6), (x + side * 12, norm.y), norm)
            before = norm
    return page.figure


def draw_transfer_learning():
    """Figure 1-7: supervised learning from scratch beside transfer learning, body and head."""
    page = Diagram(72, 45, "Transfer learning keeps the body and changes the head")
    panels = ((0.8, "from scratch"), (37.2, "transfer learning"))
    for left, name in panels:
        page.frame(left, 1, left + 34, 39.5)
        page.label(left + 17, 37.2, name, weight="bold", size=9)
        for x, task, count in ((left + 9, "A", 6), (left + 25, "B", 2)):
            moved = name != "from scratch" and task == "B"
            trained = name != "from scratch"
            data = page.stack(x, 6.4, count, 9, 2.6, shift=(0.45, 0.55), fill=0.35)
            body = page.box(x, 18.6, 11, 8, "body", "encoder", 0.16 if trained else 0, size=9)
            head = page.box(x, 28, 11, 4.4, "head", "highlight" if moved else "text", 0.5 if moved else 0, size=9)
            page.arrow(data, body)
            page.arrow(body, head)
            page.arrow(head, (x, 33))
            page.label(x, 34, f"task {task}")
    return page.figure


def draw_ulmfit():
    """Figure 1-8: ULMFiT's three steps."""
    page = Diagram(72, 45, "ULMFiT: one body, three trainings")
    return page.figure


FIGURES = {
    "chapter01_timeline": (draw_timeline, "x"),
    "chapter01_rnn": (draw_rnn, "x"),
    "chapter01_enc-dec": (draw_encoder_decoder, "x"),
    "chapter01_enc-dec-attn": (draw_attention, "x"),
    "chapter02_attention-alignment": (draw_alignment, "x"),
    "chapter01_self-attention": (draw_transformer, "x"),
    "chapter01_transfer-learning": (draw_transfer_learning, "x"),
    "chapter01_ulmfit": (draw_ulmfit, "x"),
}


def save_figure(name, folder=IMAGES):
    """Draw a figure and write it as ``NAME.png`` and ``NAME.svg``, the same bytes each time."""
    use_style()
    figure = FIGURES[name][0]()
    with matplotlib.rc_context({"svg.hashsalt": "hello-transformers"}):
        figure.savefig(Path(folder) / f"{name}.png", metadata={"Software": None})
        figure.savefig(Path(folder) / f"{name}.svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)


def main(arguments=None):
    """The command line of ``python -m utils.figures``."""
    parser = argparse.ArgumentParser(prog="python -m utils.figures", description="Draw the chapter's figures.")
    parser.add_argument("names", nargs="*", help=f"which ones (default: all): {', '.join(FIGURES)}")
    parser.add_argument("--output", type=Path, default=IMAGES, help="folder (default: imgs)")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in FIGURES]
    if unknown:
        sys.exit(f"error: there is no figure {unknown[0]!r}; there are {', '.join(FIGURES)}")
    matplotlib.use("agg")
    options.output.mkdir(parents=True, exist_ok=True)
    for name in options.names or FIGURES:
        save_figure(name, options.output)
        print(f"wrote {name}.png and {name}.svg")


if __name__ == "__main__":
    main()
