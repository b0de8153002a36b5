import itertools

import matplotlib.pyplot as plt
import numpy
import pytest
import torch
from matplotlib.colors import to_rgb

from utils.plots import (
    COLORS,
    plot_alignment,
    plot_decoding_steps,
    plot_hidden_state,
    plot_label_efficiency,
    plot_learning_curve,
    plot_quality_by_length,
    use_style,
)
from utils.translator import Translation


def weights(rows, columns, seed=0):
    return torch.rand(rows, columns, generator=torch.Generator().manual_seed(seed)).softmax(dim=1)


def labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 2), (7, 12), (60, 60), (3, 60)])
def test_every_label_is_shown_at_its_cell_and_nothing_overlaps(rows, columns):
    use_style()
    sources, targets = [f"mot{i}é" for i in range(columns)], [f"ziel{i}ß" for i in range(rows)]
    ax = plot_alignment(weights(rows, columns), sources, targets)
    assert labels(ax.xaxis) == sources
    assert labels(ax.yaxis) == targets
    assert ax.get_xticks().tolist() == list(range(columns))
    assert ax.get_yticks().tolist() == list(range(rows))
    figure = ax.figure
    figure.canvas.draw()
    boxes = [label.get_window_extent() for label in ax.yaxis.get_ticklabels()]
    for upper, lower in itertools.pairwise(boxes):
        assert upper.y0 >= lower.y0 + 0.7 * lower.height
    for box in boxes:
        assert box.x0 >= 0
        assert box.y0 >= 0
    for label in ax.xaxis.get_ticklabels():
        assert label.get_window_extent().y1 <= figure.bbox.height
    assert min(label.get_fontsize() for label in ax.xaxis.get_ticklabels()) >= 8


def test_rows_are_targets_and_the_source_is_on_top():
    matrix = torch.tensor([[1.0, 0, 0], [0, 0.25, 0.75]])
    ax = plot_alignment(matrix, ["a", "b", "c"], ["x", "y"])
    assert numpy.allclose(ax.images[0].get_array(), matrix)
    assert ax.xaxis.get_label_position() == "top"
    assert "source" in ax.get_xlabel()
    assert "target" in ax.get_ylabel()
    assert ax.images[0].get_clim() == (0, 1)


def test_the_paper_preset_is_black_at_zero_and_white_at_one():
    ax = plot_alignment(torch.eye(2), ["a", "b"], ["x", "y"], preset="paper")
    image = ax.images[0]
    assert image.cmap(image.norm(0.0))[:3] == (0, 0, 0)
    assert image.cmap(image.norm(1.0))[:3] == (1, 1, 1)
    plain = plot_alignment(torch.eye(2), ["a", "b"], ["x", "y"]).images[0]
    assert plain.cmap(plain.norm(0.0))[:3] == (1, 1, 1)


def test_a_translation_is_merged_into_words():
    translation = Translation(
        text="l'homme",
        source_tokens=["▁the", "▁m", "an", "</s>"],
        target_tokens=["▁l'", "homme", "</s>"],
        score=-1.0,
        attention_weights=torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.1, 0.4, 0.4, 0.1], [0.0, 0.0, 0.1, 0.9]]),
    )
    ax = plot_alignment(translation, source_language="en", target_language="fr")
    assert labels(ax.xaxis) == ["the", "man", "</s>"]
    assert labels(ax.yaxis) == ["l'", "homme", "</s>"]
    assert numpy.allclose(ax.images[0].get_array(), [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0, 0.1, 0.9]])
    assert "English" in ax.get_xlabel()
    trimmed = plot_alignment(translation, show_end=False)
    assert labels(trimmed.xaxis) == ["the", "man"]
    assert numpy.allclose(trimmed.images[0].get_array(), [[0.7, 0.2], [0.1, 0.8]])
    pieces = plot_alignment(translation, merge=False)
    assert labels(pieces.xaxis) == ["▁the", "▁m", "an", "</s>"]


def test_gold_links_are_outlined_where_they_belong():
    ax = plot_alignment(weights(2, 3), ["a", "b", "c"], ["x", "y"], gold="2-0 1?1")
    boxes = {(p.get_x() + 0.45, p.get_y() + 0.45): p.get_linestyle() for p in ax.patches}
    assert boxes == {(2, 0): "-", (1, 1): ":"}
    assert all(p.get_edgecolor()[:3] == to_rgb(COLORS["highlight"]) for p in ax.patches)
    with pytest.raises(ValueError, match=r"3-0 .* outside"):
        plot_alignment(weights(2, 3), ["a", "b", "c"], ["x", "y"], gold="3-0")


def test_it_draws_into_given_axes():
    _, axes = plt.subplots(1, 2)
    assert plot_alignment(torch.eye(2), ["a", "b"], ["x", "y"], ax=axes[1], values=True, title="t") is axes[1]
    assert [text.get_text() for text in axes[1].texts] == ["1.00", "1.00"]
    assert not axes[0].images


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (torch.full((2, 2), 0.5), r"\[target, source\] = \[2, 3\].* they have \[2, 2\]"),
        (torch.full((3, 2), 0.5), r"they have \[3, 2\] \(transposed\?\)"),
        (torch.full((6,), 0.5), r"they have \[6\]"),
        (torch.tensor([[0.5, 0.5, 0], [float("nan"), 0, 1]]), r"\[1, 0\] is nan"),
        (torch.tensor([[0.5, 0.5, 0], [0.5, 0.5, 0.5]]), r"row 1 \('y'\) sums to 1\.5000"),
        (torch.tensor([[1.5, -0.5, 0], [0, 0, 1]]), "must not be negative.* -0.5"),
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
        plot_alignment(torch.eye(2), ["a", "b"], ["x", "y"], preset="pretty")
    with pytest.raises(ValueError, match="no attention"):
        plot_alignment(Translation("a", ["a"], ["b"], -1.0, None))


def test_plain_lists_and_arrays_are_welcome():
    for matrix in ([[1, 0], [0, 1]], numpy.eye(2)):
        assert plot_alignment(matrix, ["a", "b"], ["x", "y"]).images


def test_drawing_imports_no_model():
    import subprocess
    import sys

    code = (
        "import sys; from utils.plots import plot_alignment; "
        "heavy = ('utils.models', 'utils.translator', 'transformers'); "
        "print([name for name in sys.modules if name.startswith(heavy)])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_a_learning_curve_draws_its_figures():
    figure = plot_learning_curve([4.0, 1.0, 0.5], [0.0, 0.2, 0.8], [10, 20, 30], title="It learns")
    loss, share = (ax.lines[0].get_ydata().tolist() for ax in figure.axes)
    assert loss == [4.0, 1.0, 0.5]
    assert share == [0.0, 20.0, 80.0]
    with pytest.raises(ValueError, match="as many losses as shares and steps"):
        plot_learning_curve([1.0], [], [1])


def test_hidden_states_are_drawn_row_by_row():
    states = torch.linspace(-1, 1, 6).reshape(2, 3)
    ax = plot_hidden_state(states, ["one", "two"], "unit").axes[0]
    assert numpy.allclose(ax.images[0].get_array(), states)
    assert labels(ax.yaxis) == ["one", "two"]
    with pytest.raises(ValueError, match=r"3 labels need states of shape \[3, units\], not \[2, 3\]"):
        plot_hidden_state(states, ["one", "two", "three"], "unit")


def test_decoding_steps_show_every_candidate_with_its_probability():
    steps = [[("Transformer", 0.9), ("Autos", 0.001)], [("sind", 0.6), ("waren", 0.4)]]
    ax = plot_decoding_steps(steps).axes[0]
    assert [text.get_text() for text in ax.texts] == [
        "Transformer\n0.90",
        "Autos\n< 0.01",
        "sind\n0.60",
        "waren\n0.40",
    ]
    for bad in ([], [[("a", 1.0)], []]):
        with pytest.raises(ValueError, match="same number of candidates"):
            plot_decoding_steps(bad)


def test_quality_by_length_shows_the_mean_and_the_range_of_seeds():
    rows = [
        {"low": low, "high": low + 3, "exact": exact}
        for low, exact in ((2, 0.8), (2, 1.0), (6, 0.1), (6, 0.3))
    ]
    ax = plot_quality_by_length({"a pair": rows}).axes[0]
    line = ax.containers[0].lines[0]
    assert line.get_ydata() == pytest.approx([90, 20])
    (bars,) = ax.containers[0].lines[2]
    ends = [segment[:, 1].tolist() for segment in bars.get_segments()]
    assert ends == [pytest.approx([80, 100]), pytest.approx([10, 30])]
    assert labels(ax.xaxis) == ["2 to 5", "6 to 9"]
    with pytest.raises(ValueError, match="same ranges"):
        plot_quality_by_length({"a": rows, "b": rows[:2]})
    with pytest.raises(ValueError, match="from 1 to 3 arms"):
        plot_quality_by_length({})


def test_label_efficiency_draws_means_and_ranges_of_each_arm():
    rows = [
        {"arm": arm, "labels": count, "seed": seed, "test": share + 0.1 * seed, "hard": 0.5}
        for arm, share in (("old", 0.7), ("new", 0.3))
        for count in (10, 100)
        for seed in (0, 1)
    ]
    looks = {"old": ("encoder", "o-"), "new": ("decoder", "s--")}
    measures = {"test": "all reviews", "hard": "hard reviews"}
    figure = plot_label_efficiency(rows, looks, measures, chance=0.5, title="Old knowledge helps")
    left, right = figure.axes
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["all reviews", "hard reviews"]
    assert left.lines[0].get_ydata().tolist() == pytest.approx([75, 75])
    assert right.lines[1].get_ydata().tolist() == pytest.approx([50, 50])
    low, high = left.collections[0].get_datalim(left.transData).intervaly
    assert (low, high) == pytest.approx((70, 80))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["old", "new"]
    assert [text.get_text() for text in left.texts] == ["chance"]
    more = [*rows, rows[0] | {"labels": 30}]  # of the first arm alone
    figure = plot_label_efficiency(more, looks, measures)
    assert labels(figure.axes[0].xaxis) == ["10", "30", "100"]
    with pytest.raises(ValueError, match="nobody"):
        plot_label_efficiency(rows, looks | {"nobody": ("text", ":")}, measures)
