"""The chapter's eight figures, each a short description; ``hello figures`` writes them to imgs/.

hello figures                   all of them, as PNG and SVG
hello figures chapter01_rnn     one of them
"""

import argparse
import sys
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import torch

from phrasebook import HELD_OUT
from scripts.diagrams import Diagram
from scripts.timeline_figure import load_timeline, plot_timeline
from utils.plots import COLORS, plot_alignment, use_style
from utils.translator import load_translator

IMAGES = Path(__file__).parents[1] / "imgs"
_CROSS = "attention to the encoder"
_SENTENCES = [HELD_OUT[0][language] for language in ("en", "de")]
_ENGLISH, _GERMAN = map(str.split, _SENTENCES)


def draw_timeline():
    """Figure 1-1: the models of ``data/timeline.csv``."""
    return plot_timeline(
        load_timeline(),
        "Within three years a zoo of Transformers; since 2022 mostly decoders",
        bold=("Transformer", "ULMFiT", "GPT", "BERT"),
    )


def draw_rnn():
    """Figure 1-2: a recurrent network, rolled and unrolled."""
    page = Diagram(72, 28, "A loop, written out, is a chain")
    cell = page.box(6, 13, 6, 6, "RNN", "encoder", size=9)
    page.arrow(page.token(6, 5.5, "word"), cell)
    page.arrow(cell, (6, 19.6))
    page.label(6, 20.9, "$h$", size=11)
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
        page.label(x, 20.9, f"$h_{number}$", size=11)
        before = cell
    page.label(52, 1.8, "the same cell with the same weights, once for each word", color="muted")
    return page


def draw_encoder_decoder():
    """Figure 1-3: the pair of recurrent networks on the German example."""
    page = Diagram(73, 28.5, "One vector carries the whole sentence across")
    vector = page.stack(36.5, 13.5, 6, 1.5, 1.1, "highlight", (0, 1.1), fill=0.55)
    page.label(36, 21, "last\nhidden\nstate")
    sides = (
        (0.5, "encoder", [*_ENGLISH, "</s>"], "reads the source, word by word"),
        (38.6, "decoder", ["<s>", *_GERMAN], "gets the vector at every step"),
    )
    for left, part, words, caption in sides:
        page.frame(left, 8.2, left + 34.1, 17.3, part)
        _name(page, left + 0.6, 1.8, part, caption)
        before = vector if part == "decoder" else None
        for number, word in enumerate(words):
            cell = page.box(left + 4.6 + 6.65 * number, 13.5, 4.4, 4.4, "RNN", part)
            if before:
                page.arrow(before, cell, color=part)
            if part == "decoder":
                page.arrow(cell, page.token(cell.x, 21, [*_GERMAN, "</s>"][number]))
                below = cell.x - 1.2
                corner = (vector.x, 9.2)
                stops = (vector.x, vector.bottom - 0.3), corner, (below, 9.2), (below, cell.bottom - 0.3)
                page.arrow(*stops, color="highlight")
            elif number < len(words) - 1:
                page.arrow(cell, (cell.x, 19.4), color="light")
            token = page.token(cell.x, 5.4, word)
            x = cell.x + (0.6 if part == "decoder" else 0)  # beside the vector's arrow
            page.arrow((x, token.top + 0.3), (x, cell.bottom - 0.3))
            before = cell
        if part == "encoder":
            page.arrow(before, vector, color=part)
            page.label(left + 14.6, 20.9, "the earlier states are not handed over", color="muted")
    return page


def draw_attention():
    """Figure 1-4: the decoder predicts its third token; scores and weights are those of the trained model."""
    translator = load_translator("phrasebook-en-de-gru-attention")
    words, scores = _third_look(translator)
    page = Diagram(72, 71, "To write “großartig”, the decoder looks back at “great”")
    page.frame(0.8, 6, 51.6, 14.2, "encoder")
    _name(page, 2.4, 10.1, "encoder")
    page.frame(26.5, 54, 71.2, 62.2, "decoder")
    _name(page, 28, 58.1, "decoder")
    compare = page.box(30.8, 20.9, 38.2, 2.6, "compare the query with each state", "attention", fill=0.08)
    softmax = page.box(30.8, 31.3, 38.2, 2.6, "softmax: positive, and sum to 1", "attention", fill=0.08)
    mean = page.box(30.8, 44, 27, 3, "weighted mean: sum of weight × state", "attention")
    before = None
    for number, (word, score, weight) in enumerate(zip(words, scores, scores.softmax(dim=0), strict=True)):
        cell = page.box(14.2 + 8.3 * number, 10.1, 5, 5, "RNN", "encoder")
        page.arrow(page.token(cell.x, 3, word), cell)
        if before:  # it reads in both directions
            page.arrow((before.right + 0.3, 11.3), (cell.left - 0.3, 11.3), color="encoder")
            page.arrow((cell.left - 0.3, 8.9), (before.right + 0.3, 8.9), color="encoder")
        page.arrow(cell, (cell.x, compare.bottom - 0.3), color="encoder")
        page.axes.plot(cell.x, 16.6, "o", color=COLORS["encoder"], markersize=3.5)  # here it branches
        scored = page.box(cell.x, 26.1, 5, 2.6, f"{score:.1f}".replace("-", "−"), "attention", fill=0)
        page.arrow((cell.x, compare.top + 0.3), scored, color="attention")
        page.arrow(scored, (cell.x, softmax.bottom - 0.3), color="attention")
        weighed = page.box(cell.x, 36.5, 5, 2.6, f"{weight:.2f}", "attention", fill=0.7 * float(weight))
        page.arrow((cell.x, softmax.top + 0.3), weighed, color="attention")
        end = (mean.x + 1.6 * (number - 2), mean.bottom - 0.3)
        page.arrow((cell.x, weighed.top + 0.3), end, color="light", width=0.8, head=False)
        page.arrow((cell.x, weighed.top + 0.3), end, color="attention", weight=float(weight), width=2.4)
        before = cell
    page.arrow((cell.x, 16.6), (3.4, 16.6), (3.4, mean.y), mean, color="encoder", width=0.8)
    page.label(4.6, 46, "the states themselves", ha="left")
    for y, text in ((26.1, "scores"), (36.5, "weights")):
        page.label(10.6, y, text, color="attention", weight="bold", ha="right")
    before = (35, 58.1)
    for number, word in enumerate(["<s>", *_GERMAN[:2]]):
        cell = page.box(39 + 9.5 * number, 58.1, 5, 5, "RNN", "decoder")
        page.arrow(before, cell, color="decoder")
        token = page.token(cell.x + (number == 2), 51, word)
        page.arrow(token, (token.x, cell.bottom - 0.3))
        page.arrow(cell, page.token(cell.x, 65, _GERMAN[number], "highlight" if number == 2 else "light"))
        before = cell
    page.arrow((53.3, 57.8), (53.3, compare.y), (compare.right + 0.3, compare.y), color="attention")
    page.axes.plot([53.3, 53.3], [mean.y - 0.6, mean.y + 0.6], color="white", linewidth=4, zorder=2)  # bridge
    page.arrow((mean.right, mean.y), (56.2, mean.y), (56.2, cell.bottom - 0.3), color="attention")
    page.arrow(cell, page.box(67.5, 58.1, 5, 5, fill=0, dashed=True), color="light")
    page.label(54.2, 27, "the query, made from\nthe decoder's state\nbefore this step", ha="left")
    page.label(57.2, mean.y, "the context", ha="left")
    page.label(54.2, 10.1, "scores and weights of the\ntrained translator", ha="left", color="muted")
    return page


def _third_look(translator):
    """What the encoder reads, and the scores of each word when the third token is predicted."""
    model, tokenizers = translator.model, (translator.source_tokenizer, translator.target_tokenizer)
    source, target = (tokenizer.encode(row) for tokenizer, row in zip(tokenizers, _SENTENCES, strict=True))
    with torch.no_grad():
        memory = model.encode(torch.tensor([source.ids[1:]]))
        state = model.start(memory)
        for token in target.ids[:2]:
            _, state, _ = model.step(torch.tensor([token]), state, memory)
        query = model.attention.query_projection(state["hidden"])  # [1, width]
        scores = model.attention.score(torch.tanh(query.unsqueeze(1) + memory["keys"]))
    return source.tokens[1:], scores.flatten()


def draw_alignment():
    """Figure 1-5: the alignment of the paper's sentence by the trained model, in the paper's look."""
    (translation,) = load_translator("phrasebook-en-fr-gru-attention").translate([HELD_OUT[1]["en"]])
    title = "The three words cross, though the sentence is new to the translator"
    look = {"preset": "paper", "show_end": False, "source_language": "en", "target_language": "fr"}
    return plot_alignment(translation, title=title, **look)


def draw_transformer():
    """Figure 1-6: both sides of the Transformer, with the norm before each part, as in our code."""
    page = Diagram(72, 72.5, "Both sides look at themselves; the decoder looks at the encoder, too")
    sides = (
        ("encoder", 20, -1, [*_ENGLISH, "</s>"], ["self-attention", "feed-forward"]),
        ("decoder", 52, 1, ["<s>", *_GERMAN[:-1]], ["masked self-attention", _CROSS, "feed-forward"]),
    )
    for part, x, side, words, names in sides:
        before = page.box(x, 8.4, 19, 3.2, "embedding + position")
        page.arrow(page.token(x, 3, " ".join(words)), before)
        for number, name in enumerate(names):
            low = 15.4 + 12 * number
            color = "transformer" if name == "feed-forward" else "attention"
            norm = page.box(x, low + 0.9, 19, 1.8, "layer norm", fill=0.45)
            layer = page.box(x, low + 5, 19, 3, name, color)
            total = page.box(x, low + 8.7, 2.2, 2, "+", fill=0)
            page.arrow(before, norm)
            page.arrow(norm, layer)
            page.arrow(layer, total)
            page.arrow((x, low - 1.4), (x + side * 12, low - 1.4), (x + side * 12, total.y), total)
            before = total
            if name == _CROSS:
                cross = layer
                page.label(x + 0.8, low + 2.65, "queries", ha="left")
        edges = sorted((x - side * 11, x + side * 14))
        page.frame(edges[0], 12.4, edges[1], total.top + 1.2, part, layers=3)
        _name(page, edges[0] + 0.8, total.top + 4, part)
        page.label(x + 1.2, total.top + 4, "N layers of the same kind", color="muted", ha="left")
        last = page.box(x, total.top + 6.6, 10, 1.8, "layer norm", fill=0.45)
        page.arrow(total, last)
        if part == "encoder":
            encoded = last
    page.arrow(encoded, (20, 50.5), (36.7, 50.5), (36.7, cross.y), cross, color="encoder")
    words = page.box(52, 62, 19, 3.2, "linear + softmax")
    page.arrow(last, words)
    page.arrow(words, page.token(52, 66.6, " ".join(_GERMAN)))
    page.label(28.4, 52, "keys and values")
    legend = (
        ("attention", 0.16, "", "attention: words look at words"),
        ("transformer", 0.16, "", "feed-forward: each word by itself"),
        ("light", 0, "+", "what came in is added again"),
    )
    for number, (color, fill, sign, text) in enumerate(legend):
        page.box(2.4, 66 - 2.6 * number, 2.2 if sign else 2.6, 2 if sign else 1.6, sign, color, fill)
        page.label(4.8, 66 - 2.6 * number, text, ha="left")
    return page


def draw_transfer_learning():
    """Figure 1-7: supervised learning from scratch beside transfer learning, body and head."""
    page = Diagram(72, 46, "Transfer learning keeps the body and changes the head")
    captions = {
        "from scratch": "each network starts at random",
        "transfer learning": "the second body starts from the first",
    }
    for left, (name, caption) in zip((0.8, 37.2), captions.items(), strict=True):
        moved = name == "transfer learning"
        page.frame(left, 3.6, left + 34, 41)
        page.label(left + 17, 38.6, name, weight="bold", size=9)
        page.label(left + 17, 1.8, caption, color="muted")
        bodies = []
        for x, task, count in ((left + 8.4, "A", 6), (left + 25.6, "B", 2)):
            data = page.stack(x, 8.6 + 0.275 * count, count, 8.6, 2.6, shift=(0.45, 0.55), fill=0.35)
            page.label(x, 5.6, "many examples" if task == "A" else "few examples")
            new = moved and task == "B"
            body = page.box(
                x, 20.6, 10.6, 7, f"body {'A' if moved else task}", "encoder", 0.25 * moved, size=9
            )
            head = page.box(
                x, 29, 10.6, 4, f"head {task}", "highlight" if new else "text", 0.45 * new, size=9
            )
            page.arrow(data, body)
            page.arrow(body, head)
            page.arrow(head, (x, 34))
            page.label(x, 35.2, f"task {task}")
            bodies.append(body)
        if moved:
            page.arrow(*bodies, color="encoder", width=2.4)
            page.label(left + 17, 22.4, "copy")
    return page


def draw_ulmfit():
    """Figure 1-8: ULMFiT's three steps."""
    page = Diagram(72, 47, "ULMFiT trains one body three times, and needs labels only at the end")
    steps = (
        ("1  pretrain", 7, "general text,\nno labels", "the river rises in the", "next word", "hills"),
        ("2  adapt", 4, "film reviews,\nno labels", "a film that I would", "next word", "recommend"),
        ("3  fine-tune", 2, "film reviews,\nwith labels", "a dull and noisy film", "sentiment", "negative"),
    )
    before = None
    for number, (name, count, caption, text, task, answer) in enumerate(steps):
        x = 12.4 + 23.6 * number
        page.frame(x - 11, 1, x + 11, 42)
        page.label(x, 39.6, name, weight="bold", size=9)
        pile = page.stack(x, 7.2 + 0.25 * count, count, 9, 2.2, shift=(0.4, 0.5), fill=0.35)
        page.label(x, 3.6, caption)
        token = page.token(x, 15.4, text)
        new = number == 2
        body = page.box(x, 22, 14, 5.4, "body: LSTM layers", "encoder", 0.25)
        head = page.box(x, 29.4, 14, 3.6, f"head: {task}", "highlight" if new else "text", 0.45 * new)
        page.arrow(pile, token)
        page.arrow(token, body)
        page.arrow(body, head)
        page.arrow(head, page.token(x, 35.4, answer))
        if before:
            page.arrow(before, body, color="encoder", width=2.4)
        before = body
    return page


def _name(page, x, y, part, caption=""):
    """Write the name of a part in its colour, and a caption behind it."""
    page.label(x, y, part, color=part, weight="bold", size=9, ha="left")
    page.label(x + 7.4, y, caption, color="muted", ha="left")


FIGURES = {  # by name; what is seen on each stands in data/figures.csv
    "chapter01_timeline": draw_timeline,
    "chapter01_rnn": draw_rnn,
    "chapter01_enc-dec": draw_encoder_decoder,
    "chapter01_enc-dec-attn": draw_attention,
    "chapter02_attention-alignment": draw_alignment,
    "chapter01_self-attention": draw_transformer,
    "chapter01_transfer-learning": draw_transfer_learning,
    "chapter01_ulmfit": draw_ulmfit,
}


def save_figure(name, folder=IMAGES):
    """Draw a figure and write it as ``NAME.png`` and ``NAME.svg``, the same bytes each time."""
    use_style()
    figure = FIGURES[name]().figure
    with matplotlib.rc_context({"svg.hashsalt": "hello-transformers"}):
        figure.savefig(Path(folder) / f"{name}.png", metadata={"Software": None})
        figure.savefig(Path(folder) / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)


def main(arguments: list[str] | None = None) -> None:
    """The command line of ``hello figures``."""
    parser = argparse.ArgumentParser(prog="hello figures", description="Draw the chapter's figures.")
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
