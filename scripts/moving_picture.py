"""The README's moving picture: a translation as it is written, with arcs to the words that are looked at.

python -m scripts.moving_picture        writes imgs/alignment_steps.gif
"""

import argparse
from pathlib import Path

import matplotlib

from utils.plots import COLORS
from utils.plots.weights import prepare
from utils.translator import load_translator
from utils.vocabulary import END

IMAGE = Path(__file__).parents[1] / "imgs" / "alignment_steps.gif"
SENTENCE = "A black cat sleeps on a white chair in the garden ."
PLACES = {"en": 0.78, "fr": 0.2}  # height of the two lines of words


def _spread(words):
    """The middle of each word on the page, so that all words have equal air between them."""
    air, widths = 2.2, [len(word) for word in words]
    total = sum(widths) + air * (len(words) - 1)
    lefts = [sum(widths[:i]) + air * i for i in range(len(words))]
    return [0.03 + 0.94 * (left + width / 2) / total for left, width in zip(lefts, widths, strict=True)]


def draw(sentence: str = SENTENCE, path: Path = IMAGE, frames_a_second: float = 1.25) -> Path:
    """Draw the picture: a frame for each word that is written, the last one for longer.

    Args:
        sentence: what is translated, by the French caption translator with attention.
        path: of the GIF.
        frames_a_second: how fast it moves.

    Returns:
        The path.
    """
    matplotlib.use("agg")
    import matplotlib.pyplot as plt
    from matplotlib.animation import PillowWriter
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Curve

    (translation,) = load_translator("multi30k-en-fr-gru-attention").translate(sentence, beam_size=5)
    weights, sources, targets = prepare(translation)
    written = [index for index, word in enumerate(targets) if word != END]
    read = [index for index, word in enumerate(sources) if word != END]
    words = {"en": [sources[i] for i in read], "fr": [targets[i] for i in written]}
    x = {language: _spread(found) for language, found in words.items()}
    figure, ax = plt.subplots(figsize=(7.2, 2.0), dpi=100)
    figure.subplots_adjust(0, 0, 1, 1)
    writer = PillowWriter(fps=frames_a_second)
    with writer.saving(figure, path, dpi=100):
        for step in [*range(len(written)), *[len(written) - 1] * 2]:
            ax.clear()
            ax.set(xlim=(0, 1), ylim=(0, 1))
            ax.set_axis_off()
            row = [float(weights[written[step], column]) for column in read]
            for place, weight, word in zip(x["en"], row, words["en"], strict=True):
                box = {
                    "facecolor": COLORS["attention"],
                    "alpha": 0.55 * weight,
                    "edgecolor": "none",
                    "pad": 3,
                }
                style = {
                    "ha": "center",
                    "va": "center",
                    "family": "monospace",
                    "size": 11,
                    "parse_math": False,
                }
                ax.text(place, PLACES["en"], word, color=COLORS["text"], bbox=box, **style)
                if weight >= 0.03:
                    points = [(place, 0.67), (place, 0.5), (x["fr"][step], 0.5), (x["fr"][step], 0.31)]
                    curve = Curve(points, [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4])
                    look = {
                        "edgecolor": COLORS["attention"],
                        "linewidth": 1 + 4 * weight,
                        "alpha": max(0.25, weight),
                    }
                    ax.add_patch(PathPatch(curve, facecolor="none", **look))
            for number, (place, word) in enumerate(zip(x["fr"], words["fr"], strict=True)):
                if number <= step:
                    look = {"weight": "bold" if number == step else "normal", "color": COLORS["decoder"]}
                    ax.text(place, PLACES["fr"], word, **style | look)
            ax.text(0.03, 0.93, "The translator reads English …", size=8, color="#6E6E6E")
            ax.text(
                0.03,
                0.04,
                "… and writes French; arcs show where it looks for each word",
                size=8,
                color="#6E6E6E",
            )
            writer.grab_frame()
    plt.close(figure)
    return path


def main(arguments: list[str] | None = None) -> None:
    """The command line of ``python -m scripts.moving_picture``."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.moving_picture", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--sentence", default=SENTENCE, help="what is translated")
    parser.add_argument("--output", type=Path, default=IMAGE, help="a GIF (default imgs/alignment_steps.gif)")
    options = parser.parse_args(arguments)
    print(f"wrote {draw(options.sentence, options.output)}")


if __name__ == "__main__":
    main()
