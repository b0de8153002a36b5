"""The explorers and the translator in a browser: in pages from the disk, and in JupyterLab with a kernel."""

import json
import re
import statistics
import urllib.request

import nbformat
import pytest

from phrasebook import load_phrasebook
from scripts.pages import page as page_of
from scripts.site_translator import NAME, write_translator
from tests.browser.conftest import NOTEBOOKS, ROOT
from tests.browser.test_laboratory import NOT_OURS
from tests.explorer_examples import KINDS, TARGET, TEXT, example


@pytest.fixture(scope="session")
def pages(tmp_path_factory):
    """A folder with an exported page for each kind of explorer, KIND.html."""
    folder = tmp_path_factory.mktemp("explorers")
    for kind in KINDS:
        output = nbformat.v4.new_output("display_data", example(kind)._repr_mimebundle_())
        cell = nbformat.v4.new_code_cell("example()", outputs=[output], execution_count=1)
        (folder / f"{kind}.html").write_text(
            page_of(nbformat.v4.new_notebook(cells=[cell]), kind), encoding="utf-8"
        )
    return folder


@pytest.fixture
def explorer(pages, visit, request):
    """Open the page of the kind that a test is marked with; afterwards nothing went wrong or left."""
    kind = request.node.get_closest_marker("parametrize")
    kind = request.node.callspec.params["kind"] if kind else request.node.name.split("_")[1]
    visit.page.goto(f"file://{pages}/{kind}.html")
    yield visit.page.locator(".explorer.on")
    assert visit.errors == []
    assert visit.left == []


def said(explorer):
    return explorer.locator("output").inner_text()


@pytest.mark.parametrize("kind", KINDS)
def test_an_exported_page_is_alive(explorer, kind):
    assert explorer.count() == 1
    assert said(explorer)
    assert "Run this cell" not in explorer.inner_text()
    for item in explorer.locator("[role=radio], button, input, [role=slider]").all():
        assert item.get_attribute("data-lm-suppress-shortcuts") == "true"


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_wider_than_a_telephone(explorer, visit, kind):
    visit.page.set_viewport_size({"width": 640, "height": 800})
    visit.page.evaluate("() => { document.querySelector('.explorer').style.width = '420px'; }")
    assert explorer.evaluate(
        """root => {
            const right = item => item.getBoundingClientRect().right;
            return [...root.querySelectorAll("*")].every(item => right(item) <= right(root) + 1);
        }"""
    )


@pytest.mark.parametrize("kind", KINDS)
def test_answers_come_within_a_frame(explorer, kind):
    taken = explorer.evaluate(
        """root => {
            const times = [], wanted = "[role=radio], button:enabled, input";
            for (const round of [1, 2, 3]) for (const item of root.querySelectorAll(wanted)) {
                if (!item.isConnected) continue;
                const start = performance.now();
                if (item.type === "range") {
                    item.value = +item.value + (round % 2 || -1);
                    item.dispatchEvent(new Event("input"));
                } else item.click();
                document.body.getBoundingClientRect();
                times.push(performance.now() - start);
            }
            return times;
        }"""
    )
    assert statistics.median(taken) < 16


@pytest.mark.parametrize("kind", KINDS)
def test_words_and_tips_remain_without_scripts(pages, browser, kind):
    context = browser.new_context(java_script_enabled=False)
    opened = context.new_page()
    opened.goto(f"file://{pages}/{kind}.html")
    assert opened.locator(".explorer span[title]").first.is_visible()
    assert opened.get_by_text("Run this cell to play").is_visible()
    context.close()


def test_alignment_answers_to_pointer_keys_and_buttons(explorer, visit):
    words = explorer.locator("[role=radio]")
    assert words.all_inner_texts() == TARGET
    assert said(explorer) == "“manteau” looks at coat 80.0 %, the 10.0 %, red 10.0 %"
    words.nth(2).hover()
    assert said(explorer) == "“rouge” looks at red 72.5 %, coat 27.5 %; the paper: red 50.0 %"
    assert explorer.locator("path").count() == 3  # one of them dashed
    explorer.get_by_text("coat", exact=True).hover()
    assert said(explorer).startswith("“coat” is looked at by manteau 80.0 %")
    words.nth(1).click()
    for key, expected in (("ArrowRight", 2), ("End", 3), ("ArrowRight", 3), ("ArrowUp", 2), ("Home", 0)):
        visit.page.keyboard.press(key)
        assert words.nth(expected).get_attribute("aria-checked") == "true"
        assert words.nth(expected).evaluate("word => word === document.activeElement")
    explorer.get_by_text("next").click()
    assert "manteau" in said(explorer)


def test_attention_follows_the_query(explorer, visit):
    numbers = explorer.locator("samp").first
    before = numbers.inner_text()
    explorer.get_by_text("coat", exact=True).first.click()
    assert said(explorer).startswith("“coat” looks at")
    assert numbers.inner_text() != before
    explorer.get_by_text("no", exact=True).click()
    assert "÷ 1" in explorer.inner_text()
    hand = explorer.locator("[role=slider]")
    hand.focus()
    before = hand.get_attribute("aria-valuetext")
    visit.page.keyboard.press("ArrowRight")
    assert hand.get_attribute("aria-valuetext") != before
    box = explorer.locator("svg").bounding_box()
    visit.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    visit.page.mouse.down()
    assert hand.get_attribute("aria-valuetext") == "[0.00  0.00]"
    assert said(explorer) == "your query looks at the 25.0 %, red 25.0 %, coat 25.0 %"
    visit.page.mouse.move(box["x"] + box["width"] - 5, box["y"] + 5)
    visit.page.mouse.up()
    assert said(explorer) != "your query looks at the 25.0 %, red 25.0 %, coat 25.0 %"


def test_heads_show_kinds_layers_and_the_mask(explorer):
    assert explorer.locator("canvas").count() == 4
    first = said(explorer)
    explorer.locator(".thumb").nth(3).click()
    assert said(explorer) != first
    assert explorer.locator(".thumb").nth(3).get_attribute("title") == "layer 2, head 2"
    explorer.get_by_text("decoder", exact=True).click()
    words = explorer.locator(".pair [role=radio]")
    words.nth(0).click()
    assert said(explorer) == "“<s>” looks at <s> 100.0 %"
    assert explorer.locator(".masked").count() == 2
    explorer.get_by_text("cross", exact=True).click()
    assert explorer.locator(".masked").count() == 0


def test_steps_go_through_encoder_vector_and_decoder(explorer, visit):
    cells = explorer.locator("[role=radio]")
    assert said(explorer).startswith("“Der” is likeliest")
    cells.first.click()
    assert said(explorer).startswith("The encoder reads word 1 of 7.")
    for _ in range(7):
        visit.page.keyboard.press("ArrowRight")
    assert said(explorer).startswith("224 numbers, however long the sentence.")
    visit.page.keyboard.press("End")
    assert said(explorer).startswith("“</s>” is likeliest")


def test_gaps_are_filled_one_after_the_other(explorer):
    assert said(explorer) == "The model expects “watch”, 43.2 %"
    explorer.locator("[role=radio]").nth(5).click()  # the second gap
    explorer.get_by_role("button", name="he", exact=True).click()
    assert said(explorer) == "The model expects “friend”, 43.2 %, now that “he” is there"
    explorer.get_by_role("button", name="friend", exact=True).click()
    assert "I saw my friend and he left ." in explorer.inner_text()
    explorer.get_by_text("left").click()
    assert said(explorer) == "The model expects “watch”, 43.2 %; here stood “left”"
    explorer.get_by_text("open the gaps").click()
    assert "I saw my ____ and ____ left ." in explorer.inner_text()


def test_next_words_are_rescaled_and_followed(explorer, visit):
    top = float(re.search(r"([\d.]+) %", said(explorer))[1])
    temperature, keep = explorer.locator("input").all()
    temperature.focus()
    visit.page.keyboard.press("Home")
    assert "at temperature 0.2" in said(explorer)
    assert float(re.search(r"([\d.]+) %", said(explorer))[1]) > top
    keep.focus()
    visit.page.keyboard.press("Home")
    assert said(explorer).startswith("“w5” has 100.0 %")
    assert explorer.locator(".bars .word, .bars button").count() == 1
    visit.page.keyboard.press("End")
    explorer.get_by_role("button", name="w5").click()
    assert "once upon w5" in explorer.inner_text()
    explorer.get_by_role("button", name="w6").press("Enter")
    assert "the branch ends here" in said(explorer)
    explorer.get_by_text("take back").click()
    explorer.get_by_text("take back").click()
    assert explorer.get_by_text("take back").is_disabled()


def test_labels_flip(explorer, visit):
    assert "frozen, 50 labels: 62.5 % of the test right; of these 3, 3 right" in said(explorer)
    explorer.locator("input").press("ArrowLeft")
    assert said(explorer).endswith("50.0 % of the test right; of these 3, 2 right, 1 changed since 50 labels")
    assert explorer.locator(".card.flipped").all_inner_texts() == ["1 ✗"]
    explorer.locator(".card").nth(2).click()
    assert "Good </script> 'fun'" in explorer.inner_text()
    explorer.get_by_text("fine-tuned").click()
    assert said(explorer) == "fine-tuned, 10 labels: 55.0 % of the test right"


CELLS = [
    "from IPython.display import display\nfrom tests.explorer_examples import *",
    "for kind in KINDS:\n    display(example(kind))",
    "import os\nos.environ.pop('CI', None)\n"
    "from utils.plots.explorers import ask\n"
    f"ask(lambda text: explore_gaps(Filler(), text, alt=text), {TEXT!r}, 'your sentence')",
]


@pytest.fixture(scope="module")
def notebook(laboratory):
    """The address of a notebook with all explorers and a box, not yet run."""
    address = laboratory(".")
    content = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    content["metadata"] |= {"kernelspec": kernel, "language_info": {"name": "python"}}
    body = json.dumps({"type": "notebook", "format": "json", "content": content}).encode()
    request = urllib.request.Request(f"{address}/api/contents/explorers.ipynb", body, method="PUT")
    urllib.request.urlopen(request)
    return f"{address}/lab/tree/explorers.ipynb?reset"


def test_jupyterlab_runs_them_keeps_its_cells_and_takes_texts(notebook, visit):
    page = visit.page
    page.goto(notebook)
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
    ready = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
    page.wait_for_function(ready, timeout=60_000)
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
    page.wait_for_selector(".widget-text input", timeout=120_000)
    explorers = page.locator(".jp-OutputArea .explorer.on")
    assert explorers.count() == len(KINDS) + 1
    cells = "() => window.jupyterapp.shell.currentWidget.content.widgets.length"
    assert page.evaluate(cells) == len(CELLS)

    for number in range(len(KINDS)):
        for item in explorers.nth(number).locator("[tabindex='0'], button:enabled, input").all():
            item.focus()
            for key in "ddxaA00":
                page.keyboard.press(key)
            assert page.evaluate(cells) == len(CELLS), "a key was taken for a command"
    first = explorers.first
    first.get_by_text("rouge").hover()
    assert said(first).startswith("“rouge” looks at red 72.5 %")
    first.locator("[role=radio]").first.click()
    page.keyboard.press("End")
    assert said(first).startswith("“</s>” looks at </s> 90.0 %")

    box = page.locator(".widget-text input")
    for typed, expected in (
        ("...", "a word that can be hidden"),
        ("me and [MASK] left", "The model expects “he”"),
    ):
        box.fill(typed)
        box.press("Enter")
        page.get_by_text(expected).last.wait_for(timeout=10_000)
    assert [error for error in visit.errors if not any(name in error for name in NOT_OURS)] == []
    assert visit.left == []


def places_of_explorers(name):
    """The kinds of the explorers that a notebook shows, by the number of their cell."""
    found = {}
    for place, cell in enumerate(nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells):
        for output in cell.get("outputs", []):
            markup = "".join(output.get("data", {}).get("text/html", ""))
            if kind := re.search(r"""data-explorer='{"kind":"(\w+)""", markup):
                found[place] = kind[1]
    return found


EXPLORING = [name for name in NOTEBOOKS if places_of_explorers(name)]


def try_keys(page, explorer, unharmed):
    """Go to what can have the focus (the first, the last, and some between), and press keys there."""
    for part in range(6):  # what can have the focus changes with the keys
        items = explorer.locator("[tabindex='0'], button:enabled, input")
        items.nth(part * (items.count() - 1) // 5).focus()
        for key in ("d", "d", "x", "a", "0", "0", "ArrowRight", "End", "Home"):
            page.keyboard.press(key)
        assert unharmed()


@pytest.mark.parametrize("name", EXPLORING)
def test_a_trusted_notebook_is_alive_before_it_runs(laboratory, visit, name):
    page, places = visit.page, places_of_explorers(name)
    page.goto(f"{laboratory('.')}/lab/tree/notebooks/{name}.ipynb?reset")
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
    ready = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
    page.wait_for_function(ready, timeout=60_000)
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:trust'); }")
    page.locator(".jp-Dialog .jp-mod-accept").click()
    count = "() => window.jupyterapp.shell.currentWidget.content.widgets.length"
    before = page.evaluate(count)
    for place in places:
        page.evaluate(f"() => window.jupyterapp.shell.currentWidget.content.scrollToItem({place}, 'start')")
        cell = page.locator(f".jp-Cell[data-windowed-list-index='{place}']")
        explorer = cell.locator(".explorer.on")
        explorer.locator("output", has_text=re.compile(".")).wait_for(timeout=20_000)
        try_keys(page, explorer, lambda: page.evaluate(count) == before)
    assert [error for error in visit.errors if not any(name in error for name in NOT_OURS)] == []
    assert visit.left == []


@pytest.mark.parametrize("name", EXPLORING)
def test_the_exported_notebook_is_alive(tmp_path, visit, name):
    path = tmp_path / f"{name}.html"
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    path.write_text(page_of(notebook, name), encoding="utf-8")
    visit.page.goto(f"file://{path}")
    explorers = visit.page.locator(".explorer.on")
    assert explorers.count() == len(places_of_explorers(name))
    for explorer in explorers.all():
        before = said(explorer)
        assert before
        try_keys(visit.page, explorer, lambda: explorers.count() == len(places_of_explorers(name)))
    assert visit.errors == []
    assert visit.left == []


def test_the_translator_in_a_page_is_pytorch_s(tmp_path, visit):
    from utils.translator import load_translator

    sentences = load_phrasebook(200, seed=77, theme="agreements", max_words=24)["en"]
    visit.page.goto(f"file://{write_translator(tmp_path)}")
    run = """all => all.map(text => {
        const start = performance.now();
        return { ...translate(text), took: performance.now() - start };
    })"""
    for found, expected in zip(
        visit.page.evaluate(run, list(sentences)), load_translator(NAME).translate(sentences), strict=True
    ):
        assert found["words"] == expected.target_tokens
        assert found["read"] == expected.source_tokens
        assert abs(expected.attention_weights.numpy() - found["attention"]).max() < 1e-2
        assert found["unknown"] == []
        assert found["took"] < 300  # on a busy machine
    times = [found["took"] for found in visit.page.evaluate(run, list(sentences))]
    assert statistics.median(times) < 100
    assert visit.errors == []
    assert visit.left == []


TYPED = [
    "great!",
    "great !",
    "The minister’s  treaty",
    "ujourd'hui l'été",
    "co\u00adop\ufeff x\u200by",
    "é e\u0301",
    "it's''ok'",
    "🐈 <pad> a-b_c",
]


def test_the_translator_cuts_texts_as_the_tokeniser_does(tmp_path, visit):
    from utils.translator import load_translator

    tokenizer = load_translator(NAME).source_tokenizer
    visit.page.goto(f"file://{write_translator(tmp_path)}")
    for text in TYPED:
        spelled = tokenizer.normalizer.normalize_str(text)
        expected = [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(spelled)]
        assert visit.page.evaluate("tokenize", text) == expected


def test_the_translator_s_page_answers_and_names_what_it_does_not_know(tmp_path, visit):
    page = visit.page
    page.emulate_media(reduced_motion="reduce")
    page.goto(f"file://{write_translator(tmp_path)}")
    assert page.locator("#translation").inner_text() == (
        "L' accord sur la zone économique européenne a été signé en août 1992 ."
    )
    page.fill("#sentence", "The chestnut treaty was sined .</script>")
    assert page.locator("#translation").inner_text().startswith("Le traité")
    notes = page.locator("#notes")
    assert "“chestnut”, “sined”" in notes.inner_text()
    notes.get_by_role("button", name="signed", exact=True).click()
    assert page.locator("#sentence").input_value() == "The chestnut treaty was signed .</script>"
    assert page.locator("#translation").inner_text() == "Le traité a été signé ."
    assert "looks at" in page.locator(".explorer output").inner_text()
    page.fill("#sentence", "")
    assert page.locator("#translation").inner_text() == "…"
    page.set_viewport_size({"width": 420, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    assert visit.errors == []
    assert visit.left == []
