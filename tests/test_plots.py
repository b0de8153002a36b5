"""Pictures: the heat map for whatever a reader has, and the charts."""

import inspect
import itertools
import os
import subprocess
import sys
import warnings
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy
import pandas
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from utils import plots
from utils.plots import COLORS, plot_alignment, plot_quality_by_length, use_style
from utils.translator import Translation

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def style(request):
    """Tests run in matplotlib's own look, whatever another test has left, or in ours where they say so."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.use("agg")
        if getattr(request, "param", None) == "our style":
            use_style()
        yield
    plt.close("all")


in_both_styles = pytest.mark.parametrize("style", ["no style", "our style"], indirect=True)


def weights(rows, columns, seed=0):
    return torch.rand(rows, columns, generator=torch.Generator().manual_seed(seed)).softmax(dim=1)


def labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def outside(figure):
    """By how many inches the drawn parts of a figure stick out of it, when it is saved as it is."""
    figure.draw_without_rendering()
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    return max(-box.x0, -box.y0, box.x1 - width, box.y1 - height)


def small_map(matrix=None, **options):
    return plot_alignment(torch.eye(2) if matrix is None else matrix, ["a", "b"], ["x", "y"], **options)


@pytest.mark.slow
@in_both_styles
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 2), (7, 12), (40, 40), (3, 60), (30, 2)])
def test_every_label_is_shown_at_its_cell_and_nothing_overlaps(rows, columns):
    sources, targets = [f"mot{i}é" for i in range(columns)], [f"ziel{i}ß" for i in range(rows)]
    ax = plot_alignment(weights(rows, columns), sources, targets)
    assert labels(ax.xaxis) == sources
    assert labels(ax.yaxis) == targets
    assert ax.get_xticks().tolist() == list(range(columns))
    assert ax.get_yticks().tolist() == list(range(rows))
    assert outside(ax.figure) <= 0
    boxes = [label.get_window_extent() for label in ax.yaxis.get_ticklabels()]
    for upper, lower in itertools.pairwise(boxes):
        assert upper.y0 >= lower.y0 + 0.7 * lower.height
    assert min(label.get_fontsize() for label in ax.xaxis.get_ticklabels()) >= 8
    assert ax.xaxis.label.get_window_extent().y0 >= max(
        label.get_window_extent().y1 for label in ax.xaxis.get_ticklabels()
    )


@pytest.mark.parametrize(
    "options",
    [
        {"title": "A title that is far longer than the small map below it is wide, and must not be cut"},
        {"gold": "0-0 1?1", "source_language": "en", "target_language": "fr"},
        {"show_end": False, "values": True},
    ],
)
@pytest.mark.parametrize("word", ["a", "Donaudampfschifffahrtsgesellschaftskapitän", "W" * 25])
def test_long_words_and_titles_are_inside_without_any_style(word, options, tmp_path):
    ax = plot_alignment(weights(2, 3), [word, "b", "c"], ["x", word], **options)
    assert outside(ax.figure) <= 0
    ax.figure.savefig(tmp_path / "map.png", bbox_inches=None)
    pixels = plt.imread(tmp_path / "map.png")[..., :3]
    edges = [pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]
    assert all((edge == 1).all() for edge in edges)  # nothing runs into the edge of the picture


def test_rows_are_targets_and_the_source_is_on_top():
    matrix = torch.tensor([[1.0, 0, 0], [0, 0.25, 0.75]])
    ax = plot_alignment(matrix, ["a", "b", "c"], ["x", "y"])
    assert numpy.allclose(ax.images[0].get_array(), matrix)
    assert ax.xaxis.get_label_position() == "top"
    assert "source" in ax.get_xlabel()
    assert "target" in ax.get_ylabel()
    assert ax.images[0].get_clim() == (0, 1)


def test_the_maps_colours():
    image = small_map(preset="paper").images[0]  # as in the paper: black is 0, white is 1
    assert image.cmap(image.norm(0.0))[:3] == (0, 0, 0)
    assert image.cmap(image.norm(1.0))[:3] == (1, 1, 1)
    image = small_map().images[0]
    assert image.cmap(image.norm(0.0))[:3] == (1, 1, 1)
    assert image.cmap(0.5)[:3] == pytest.approx(to_rgb(COLORS["attention"]), abs=0.01)
    grey = [sum(image.cmap(value / 20)[:3]) for value in range(21)]
    assert all(later < earlier for earlier, later in itertools.pairwise(grey))  # readable in grey


def translation():
    return Translation(
        text="l'homme",
        source_tokens=["▁the", "▁m", "an", "</s>"],
        target_tokens=["▁l'", "homme", "</s>"],
        score=-1.0,
        attention_weights=torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.1, 0.4, 0.4, 0.1], [0.0, 0.0, 0.1, 0.9]]),
    )


def test_a_translation_is_merged_into_words():
    ax = plot_alignment(translation(), source_language="en", target_language="fr")
    assert labels(ax.xaxis) == ["the", "man", "</s>"]
    assert labels(ax.yaxis) == ["l'", "homme", "</s>"]
    assert numpy.allclose(ax.images[0].get_array(), [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0, 0.1, 0.9]])
    assert "English" in ax.get_xlabel()
    trimmed = plot_alignment(translation(), show_end=False)
    assert labels(trimmed.xaxis) == ["the", "man"]
    assert numpy.allclose(trimmed.images[0].get_array(), [[0.7, 0.2], [0.1, 0.8]])
    pieces = plot_alignment(translation(), merge=False)
    assert labels(pieces.xaxis) == ["▁the", "▁m", "an", "</s>"]


MATRIX = [[0.75, 0.25], [0.5, 0.5]]


@pytest.mark.parametrize(
    "matrix",
    [
        MATRIX,
        tuple(map(tuple, MATRIX)),
        numpy.array(MATRIX, dtype=numpy.float16),
        numpy.array(MATRIX, dtype=numpy.float32).T.copy().T,
        torch.tensor(MATRIX, requires_grad=True),
        torch.tensor(MATRIX, dtype=torch.bfloat16),
        torch.tensor(MATRIX, dtype=torch.float8_e4m3fn),
        [torch.tensor(row, dtype=torch.bfloat16) for row in MATRIX],
        [numpy.array(row) for row in MATRIX],
        pandas.DataFrame(MATRIX),
    ],
    ids=lambda matrix: type(matrix).__name__,
)
def test_a_matrix_may_be_of_any_kind(matrix):
    assert numpy.allclose(small_map(matrix).images[0].get_array(), MATRIX)


@pytest.mark.slow
def test_a_frame_brings_its_labels_and_tokens_may_be_of_any_kind():
    frame = pandas.DataFrame(MATRIX, index=["x", "y"], columns=["a", "b"])
    ax = plot_alignment(frame)
    assert (labels(ax.xaxis), labels(ax.yaxis)) == (["a", "b"], ["x", "y"])
    ax = plot_alignment(frame, ["c", "d"])
    assert (labels(ax.xaxis), labels(ax.yaxis)) == (["c", "d"], ["x", "y"])
    for kind in (list, tuple, torch.tensor, numpy.array, pandas.Series, lambda ids: "3 14"):
        tokens = kind([3, 14])
        ax = plot_alignment(MATRIX, tokens, iter(["x", "y"]))
        assert (labels(ax.xaxis), labels(ax.yaxis)) == (["3", "14"], ["x", "y"])


def test_what_translate_returns_can_be_drawn():
    assert labels(plot_alignment([translation()]).xaxis) == ["the", "man", "</s>"]
    with pytest.raises(ValueError, match="these are 2 translations; draw one of them"):
        plot_alignment([translation(), translation()])
    with pytest.raises(ValueError, match="no attention"):
        plot_alignment([Translation("a", ["a"], ["b"], -1.0, None)])


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "slack"), [("bfloat16", 0.01), ("float16", 0.003), ("float32", 5e-4)])
def test_the_tolerance_is_that_of_the_number_type(dtype, slack):
    """A row of many weights that were rounded does not sum to exactly 1; one that is wrong is refused."""
    kind = getattr(torch, dtype)
    many = torch.softmax(torch.randn(50, 60, generator=torch.Generator().manual_seed(1)), dim=1).to(kind)
    words = [f"w{number}" for number in range(60)]
    plot_alignment(many, words, words[:50])
    off = torch.tensor([[0.5 - slack, 0.5], [0.5, 0.5]], dtype=torch.float64)
    small_map(off.to(kind))
    with pytest.raises(ValueError, match=r"row 0 \('x'\) sums to"):
        small_map(torch.tensor([[0.4, 0.5], [0.5, 0.5]], dtype=kind))
    if dtype != "float32":
        with pytest.raises(ValueError, match="each row must sum to 1"):  # single precision is finer
            small_map(off.float())


@pytest.mark.parametrize(
    "gold",
    [
        "2-0 1-1",
        [(2, 0), (1, 1)],
        {(2, 0), (1, 1)},
        ((2, 0), (1, 1)),
        [[2, 0], [1, 1]],
        numpy.array([[2, 0], [1, 1]]),
        torch.tensor([[2, 0], [1, 1]]),
        {(2, 0): 1, (1, 1): 1}.keys(),
    ],
    ids=lambda gold: type(gold).__name__,
)
def test_gold_links_may_be_text_or_pairs(gold):
    ax = plot_alignment(weights(2, 3), ["a", "b", "c"], ["x", "y"], gold=gold)
    assert {(p.get_x() + 0.45, p.get_y() + 0.45) for p in ax.patches} == {(2, 0), (1, 1)}
    assert all(p.get_linestyle() == "-" for p in ax.patches)


def test_gold_links_are_outlined_where_they_belong():
    ax = plot_alignment(weights(2, 3), ["a", "b", "c"], ["x", "y"], gold="2-0 1?1")
    boxes = {(p.get_x() + 0.45, p.get_y() + 0.45): p.get_linestyle() for p in ax.patches}
    assert boxes == {(2, 0): "-", (1, 1): ":"}
    assert all(p.get_edgecolor()[:3] == to_rgb(COLORS["highlight"]) for p in ax.patches)
    for none in ("", []):
        assert not small_map(gold=none).patches


@pytest.mark.parametrize(
    ("gold", "message"),
    [
        ("3-0", "link 3-0 .* outside"),
        ([(0, 2)], "link 0-2 .* outside"),
        ([(-1, 0)], "link -1-0 .* outside"),
        ("0:0", "'0:0' is not a link"),
        ([0, 1], "gold must be a text"),
        ([(0.5, 0)], "gold must be a text"),
        ([(0, 0, 1)], "gold must be a text"),
    ],
)
def test_bad_links_are_named_and_nothing_is_drawn(gold, message):
    with pytest.raises(ValueError, match=message):
        plot_alignment(weights(2, 3), ["a", "b", "c"], ["x", "y"], gold=gold)
    assert not plt.get_fignums()


def test_it_draws_into_given_axes():
    figure, axes = plt.subplots(1, 2)
    assert small_map(ax=axes[1], values=True, title="t") is axes[1]
    assert [text.get_text() for text in axes[1].texts] == ["1.00", "1.00"]
    assert not axes[0].images
    assert len(figure.axes) == 3


def test_the_same_axes_drawn_again_have_one_map_one_bar_and_no_old_marks():
    figure, ax = plt.subplots()
    small_map(ax=ax, values=True, gold="0-0", title="before")
    figure.draw_without_rendering()
    place = ax.get_position().bounds
    for matrix in (torch.eye(2), torch.eye(2).flip(0)):
        small_map(matrix, ax=ax)
        figure.draw_without_rendering()
    assert len(figure.axes) == 2
    assert len(ax.images) == 1
    assert numpy.allclose(ax.images[0].get_array(), [[0, 1], [1, 0]])
    assert not ax.texts
    assert not ax.patches
    assert ax.get_title() == ax.get_title(loc="left") == ""
    assert ax.get_position().bounds == pytest.approx(place, abs=0.02)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (torch.full((2, 2), 0.5), r"\[target, source\] = \[2, 3\].* they have \[2, 2\]"),
        (torch.full((3, 2), 0.5), r"they have \[3, 2\] \(transposed\?\)"),
        (torch.full((6,), 0.5), r"they have \[6\]"),
        (torch.full((1, 2, 3), 0.5), r"they have \[1, 2, 3\]"),
        (torch.tensor([[0.5, 0.5, 0], [float("nan"), 0, 1]]), r"\[1, 0\] is nan"),
        (torch.tensor([[0.5, 0.5, 0], [0.5, 0.5, 0.5]]), r"row 1 \('y'\) sums to 1\.5000"),
        (torch.tensor([[1.5, -0.5, 0], [0, 0, 1]]), "must not be negative.* -0.5"),
        ([[0.5, 0.5], [1.0]], "must be a matrix of numbers"),
        ([["a", "b", "c"], ["d", "e", "f"]], "must be a matrix of numbers"),
        ("0.5 0.5", "must be a matrix of numbers"),
        (None, r"they have \[\]|must be a matrix of numbers"),
    ],
)
def test_bad_matrices_are_explained(matrix, message):
    with pytest.raises(ValueError, match=message):
        plot_alignment(matrix, ["a", "b", "c"], ["x", "y"])
    assert not plt.get_fignums()


def test_other_bad_input():
    with pytest.raises(ValueError, match="needs source_tokens"):
        plot_alignment(torch.eye(2))
    with pytest.raises(ValueError, match="nothing to draw"):
        plot_alignment(torch.zeros(0, 0), [], [])
    with pytest.raises(ValueError, match="preset must be one of"):
        small_map(preset="pretty")
    with pytest.raises(ValueError, match="no attention"):
        plot_alignment(Translation("a", ["a"], ["b"], -1.0, None))


ROWS = [
    {"low": low, "high": low + 3, "exact": exact} for low, exact in ((2, 0.8), (2, 1.0), (6, 0.1), (6, 0.3))
]


EVERY_PLOT = {
    "alignment": lambda text: (
        plot_alignment(
            torch.eye(2), [text, "b"], [text, "y"], title=text, source_language=text, target_language=text
        ).figure
    ),
    "quality": lambda text: plot_quality_by_length({text: ROWS, "b": ROWS}, title=text, ylabel=text),
}


@pytest.mark.parametrize("name", EVERY_PLOT)
@pytest.mark.parametrize("text", ["$x$", r"50 % of $5 \alpha $\frac{1$ a_b^c"])
def test_labels_are_shown_as_typed_in_every_plot(name, text):
    figure = EVERY_PLOT[name](text)
    shown = [found for found in figure.findobj(Text) if text in found.get_text()]
    assert len(shown) >= 1
    assert not any(found.get_parse_math() for found in shown)
    figure.draw_without_rendering()


@in_both_styles
@pytest.mark.parametrize("name", EVERY_PLOT)
def test_everything_is_inside_in_every_plot(name):
    assert outside(EVERY_PLOT[name]("Überraschungseffekt")) <= 0.01


def test_every_plot_is_among_those_that_are_tested():
    functions = [name for name in plots.__all__ if name.startswith("plot_")]
    source = inspect.getsource(sys.modules[__name__])
    start = source.index("EVERY_PLOT = {")
    tested = source[start : source.index("\n}\n", start)]
    assert [name for name in functions if name not in tested] == []


def test_a_dollar_in_given_axes_with_labels_of_their_own_is_a_dollar():
    _, ax = plt.subplots()
    ax.plot([0, 1])
    plot_alignment(torch.eye(2), ["$x$", "b"], ["$y$", "y"], ax=ax, title="$t$")
    ax.figure.draw_without_rendering()
    texts = [*ax.get_xticklabels(), *ax.get_yticklabels(), ax.xaxis.label, ax.yaxis.label]
    assert not any(text.get_parse_math() for text in texts)


def test_invisible_tokens_can_be_seen():
    ax = plot_alignment(torch.eye(3), ["\n", "\ufeff", "a b"], ["\t", "y", "é"])
    assert labels(ax.xaxis) == ["\\u000a", "\\ufeff", "a b"]
    assert labels(ax.yaxis) == ["\\u0009", "y", "é"]


def loaded_by(code, **environment):
    names = f"{code}; import sys; print(*sys.modules)"
    command = [sys.executable, "-c", names]
    run = subprocess.run(
        command, capture_output=True, encoding="utf-8", check=True, cwd=ROOT, env=os.environ | environment
    )
    return set(run.stdout.split())


@pytest.mark.slow
def test_drawing_imports_no_model_no_corpus_and_no_transformers():
    code = (
        "import utils.plots.explorers; from utils.plots import plot_alignment; "
        "import matplotlib; matplotlib.use('agg'); "
        "plot_alignment([[1, 0], [0, 1]], ['a', 'b'], ['x', 'y'], gold='0-0', source_language='en')"
    )
    modules = loaded_by(code)
    heavy = ("torch", "datasets", "transformers", "huggingface_hub", "tokenizers", "pandas", "seaborn")
    assert not modules & set(heavy)
    ours = {name for name in modules if name.partition(".")[0] in ("utils", "scripts", "phrasebook")}
    assert {name for name in ours if not name.startswith("utils.plots")} <= {
        *("utils", "utils.alignment", "utils.claims", "utils.notebook", "utils.vocabulary")
    }


def curve(ax, color):
    """Heights of the points, and the ends of the bars, of one arm."""
    lines = [line for line in ax.lines if to_rgb(line.get_color()) == pytest.approx(to_rgb(COLORS[color]))]
    points = next(line for line in lines if line.get_marker() not in ("", "None", None))
    bars = [line.get_ydata() for line in lines if line is not points]
    heights = numpy.concatenate([numpy.asarray(bar, dtype=float) for bar in bars])
    return points.get_ydata().tolist(), (numpy.nanmin(heights), numpy.nanmax(heights))


@pytest.mark.slow
@pytest.mark.parametrize("rows", [ROWS, pandas.DataFrame(ROWS)], ids=["rows", "frame"])
def test_quality_by_length_shows_the_mean_and_the_range_of_seeds(rows):
    ax = plot_quality_by_length({"a pair": rows}).axes[0]
    heights, (low, high) = curve(ax, "encoder")
    assert heights == pytest.approx([90, 20])
    assert (low, high) == pytest.approx((10, 100))
    assert labels(ax.xaxis) == ["2 to 5", "6 to 9"]
    assert ax.get_legend() is None
    if isinstance(rows, pandas.DataFrame):
        assert rows["exact"].max() == 1.0  # the reader's table stays as it was
    else:
        with pytest.raises(ValueError, match="same ranges"):
            plot_quality_by_length({"a": rows, "b": rows[:2]})
    with pytest.raises(ValueError, match="from 1 to 3 arms"):
        plot_quality_by_length({})


def test_arms_of_quality_can_be_told_apart():
    worse = [row | {"exact": row["exact"] / 2} for row in ROWS]
    figure = plot_quality_by_length({"good": ROWS, "worse": worse}, title="Two arms")
    ax = figure.axes[0]
    assert curve(ax, "encoder")[0] == pytest.approx([90, 20])
    assert curve(ax, "attention")[0] == pytest.approx([45, 10])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["good", "worse"]
    bleu = [row | {"bleu": 40 + row["low"]} for row in ROWS]
    ax = plot_quality_by_length({"good": bleu}, "bleu", ylabel="BLEU").axes[0]
    assert curve(ax, "encoder")[0] == pytest.approx([42, 46])


@pytest.mark.slow
def test_plots_warn_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for draw in EVERY_PLOT.values():
            draw("word").draw_without_rendering()
