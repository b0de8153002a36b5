"""The chapter's figures: as stored, legible, and drawn by their own rules."""

import itertools
import math

import matplotlib
import matplotlib.pyplot as plt
import numpy
import pytest
from matplotlib.text import Text
from PIL import Image

from scripts import figures
from scripts.diagrams import Box, Diagram
from scripts.figures import FIGURES, IMAGES, draw_attention, main, save_figure
from utils.notebook import load_alt_texts
from utils.plots import COLORS, use_style
from utils.translator import load_translator

DRAWN = [name for name in FIGURES if name != "chapter02_attention-alignment"]  # the others are diagrams
TOLERANCE = 12  # of 255: mean difference of the worst square of 16 by 16 pixels, which is 2 mm in print


def largest_difference(first, second):
    """The mean difference in the square of 16 by 16 pixels where two pictures differ most."""
    pictures = [numpy.asarray(Image.open(path).convert("RGB"), dtype=float) for path in (first, second)]
    assert pictures[0].shape == pictures[1].shape, f"{first} has another size"
    difference = numpy.abs(pictures[0] - pictures[1]).mean(axis=2)
    rows, columns = (size // 16 * 16 for size in difference.shape)
    return difference[:rows, :columns].reshape(rows // 16, 16, columns // 16, 16).mean(axis=(1, 3)).max()


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_the_stored_figure_is_what_the_code_draws(name, tmp_path):
    save_figure(name, tmp_path)
    difference = largest_difference(tmp_path / f"{name}.png", IMAGES / f"{name}.png")
    assert difference <= TOLERANCE, f"{name} has changed; look at it and store it with `make figures`"
    drawn, stored = ((folder / f"{name}.svg").read_text("utf-8") for folder in (tmp_path, IMAGES))
    assert "<dc:date>" not in stored
    assert drawn.count("<path") == stored.count("<path")
    width, _ = Image.open(IMAGES / f"{name}.png").size
    assert 1300 <= width <= 1500  # 7 inches at 200 dpi


@pytest.mark.slow
def test_a_changed_word_is_noticed(tmp_path, monkeypatch):
    save_figure("chapter01_rnn", tmp_path)
    (tmp_path / "chapter01_rnn.png").rename(tmp_path / "before.png")
    monkeypatch.setattr(figures, "_ENGLISH", ["Transformers", "are", "small", "!"])
    save_figure("chapter01_rnn", tmp_path)
    assert largest_difference(tmp_path / "chapter01_rnn.png", tmp_path / "before.png") > 2 * TOLERANCE


@pytest.mark.slow
def test_saving_twice_gives_the_same_bytes(tmp_path):
    for folder in ("a", "b"):
        main(["chapter01_enc-dec-attn", "--output", str(tmp_path / folder)])
    for kind in ("png", "svg"):
        first, second = ((tmp_path / f / f"chapter01_enc-dec-attn.{kind}").read_bytes() for f in "ab")
        assert first == second
    with pytest.raises(SystemExit, match="no figure 'chapter01_cat'"):
        main(["chapter01_cat"])


def test_every_figure_of_the_chapter_is_stored_in_both_forms():
    assert list(FIGURES) == [
        "chapter01_timeline",
        "chapter01_rnn",
        "chapter01_enc-dec",
        "chapter01_enc-dec-attn",
        "chapter02_attention-alignment",
        "chapter01_self-attention",
        "chapter01_transfer-learning",
        "chapter01_ulmfit",
    ]
    stored = {path.name for path in IMAGES.glob("chapter0*")}
    assert stored == {f"{name}.{kind}" for name in FIGURES for kind in ("png", "svg")}


def test_every_figure_says_what_is_seen():
    texts = load_alt_texts()
    assert list(texts) == list(FIGURES)
    assert all(150 <= len(alt) <= 400 for alt in texts.values())


@pytest.fixture(autouse=True)
def style():
    """Whatever another test has left."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.use("agg")
        use_style()
        yield
    plt.close("all")


@pytest.fixture(params=DRAWN)
def page(request):
    page = FIGURES[request.param]()
    page.figure.canvas.draw()
    return page


def text_boxes(page):
    """The extents of all texts, in the page's units."""
    inverse = page.axes.transData.inverted()
    texts = [text for text in page.axes.texts if text.get_text()]
    return [(text, text.get_window_extent().transformed(inverse)) for text in texts]


def along(points):
    """Points along a line, a tenth of a unit apart."""
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        steps = math.ceil(10 * math.dist((x0, y0), (x1, y1)))
        for step in range(steps + 1):
            yield x0 + (x1 - x0) * step / steps, y0 + (y1 - y0) * step / steps


@pytest.mark.slow
def test_texts_are_large_enough_inside_the_page_and_apart(page):
    boxes = text_boxes(page)
    (left, right), (bottom, top) = page.axes.get_xlim(), page.axes.get_ylim()
    for text, box in boxes:
        assert text.get_fontsize() >= 8
        assert left <= box.x0 < box.x1 <= right, text
        assert bottom <= box.y0 < box.y1 <= top, text
    for (text, box), (other_text, other) in itertools.combinations(boxes, 2):
        across = min(box.x1, other.x1) - max(box.x0, other.x0)
        # The extent of a text has room above and below its letters.
        up = min(box.y1, other.y1) - max(box.y0, other.y0)
        assert across <= 0 or up <= 0.1, (text, other_text)


@pytest.mark.slow
def test_texts_stay_inside_their_boxes(page):
    for text, box in text_boxes(page):
        x, y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
        for around in page.boxes:
            if around.left < x < around.right and around.bottom < y < around.top:
                assert around.left + 0.2 <= box.x0, text
                assert box.x1 <= around.right - 0.2, text


@pytest.mark.slow
def test_no_arrow_crosses_a_box_or_a_text(page):
    texts = text_boxes(page)
    for points in page.arrows:
        for x, y in along(points):
            for box in page.boxes:
                assert not (box.left + 0.05 < x < box.right - 0.05 and box.bottom + 0.05 < y < box.top - 0.05)
            for text, box in texts:
                assert not (box.x0 < x < box.x1 and box.y0 < y < box.y1), text


def test_figure_1_4_shows_the_weights_of_the_trained_model():
    page = draw_attention()
    translator = load_translator("phrasebook-en-de-gru-attention")
    (translation,) = translator.translate(["Transformers are great !"])
    row = translation.attention_weights[2]
    lines = [patch for patch in page.axes.patches if getattr(patch, "get_linewidth", float)() == 2.4]
    assert [line.get_alpha() for line in lines] == pytest.approx(row.tolist(), abs=1e-6)
    assert translation.source_tokens[int(row.argmax())] == "great"
    assert {text.get_text() for text in page.axes.texts} >= {f"{weight:.2f}" for weight in row.tolist()}


def test_arrows_end_at_the_edges_that_face_each_other():
    page = Diagram(30, 30, "A test")
    low, high, right = page.box(5, 5, 4, 2), page.box(5, 15, 4, 2), page.box(20, 5, 6, 4)
    page.arrow(low, high)
    page.arrow(low, right)
    page.arrow((21, 12), right)
    page.arrow(right, (20, 25), (5, 25), high)
    assert page.arrows == [
        [(5, 6), (5, 14)],
        [(7, 5), (17, 5)],
        [(21, 12), (21, 7)],
        [(20, 7), (20, 25), (5, 25), (5, 16)],
    ]


def test_a_pile_is_as_large_as_its_cards():
    page = Diagram(30, 30, "A test")
    assert page.stack(10, 10, 3, 4, 2, shift=(1, 0.5)) == Box(10, 10, 6, 3)
    assert page.stack(10, 20, 4, 1, 1) == Box(10, 20, 1, 4)


@pytest.mark.slow
def test_lines_of_a_label_stand_below_each_other():
    page = Diagram(30, 30, "A test")
    before = len(page.axes.texts)
    page.label(10, 10, "one\ntwo", color="encoder")
    upper, lower = page.axes.texts[before:]
    assert isinstance(upper, Text)
    assert (upper.get_text(), lower.get_text()) == ("one", "two")
    assert upper.get_position()[1] > 10 > lower.get_position()[1]
    assert upper.get_color() == COLORS["encoder"]
    plt.close(page.figure)
