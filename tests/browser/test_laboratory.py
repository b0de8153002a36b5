"""The notebooks in JupyterLab, from the repository's root and from the folder of the notebooks."""

import pytest

from tests.browser.conftest import NOTEBOOKS

# JupyterLab asks its server for things that a small installation does not have; they are not ours.
NOT_OURS = (
    "favicon",
    "/lab/api/",
    "/api/terminals",
    "/lsp",
    "ResizeObserver",
    "/api/contents?content=0&hash=1",
)


def _open(visit, address, path):
    """Open a notebook, bring every cell into sight once, and return the pictures that were seen."""
    visit.page.goto(f"{address}/lab/tree/{path}?reset")
    visit.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
    visit.page.wait_for_function("() => window.jupyterapp !== undefined")
    visit.page.wait_for_selector(".jp-Notebook img", timeout=60_000)
    visit.page.wait_for_timeout(2_000)  # the cells below the first ones get their heights
    pictures = visit.page.evaluate(
        """async () => {
            const cells = document.querySelector('.jp-WindowedPanel-outer'), found = new Map();
            const wait = time => new Promise(done => setTimeout(done, time));
            for (let place = 0; place < cells.scrollHeight; place += 600) {
                cells.scrollTop = place;
                await wait(120);
                for (const i of document.querySelectorAll('.jp-Notebook img')) {
                    for (let k = 0; k < 20 && !i.complete; k++) await wait(50);
                    found.set(i.src, {source: i.src.slice(0, 90), whole: i.naturalWidth > 0, alt: i.alt});
                }
            }
            cells.scrollTop = 0;
            return [...found.values()];
        }"""
    )
    return pictures


def _errors(visit):
    return [error for error in visit.errors if not any(name in error for name in NOT_OURS)]


@pytest.mark.parametrize(
    ("folder", "place"), [(".", "notebooks/"), ("notebooks", "")], ids=["root", "notebooks"]
)
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_pictures_are_whole_and_have_texts(laboratory, visit, name, folder, place):
    pictures = _open(visit, laboratory(folder), f"{place}{name}.ipynb")
    assert pictures, "the notebook shows no picture"
    assert [picture for picture in pictures if not picture["whole"]] == []
    assert [picture for picture in pictures if not picture["alt"].strip()] == []
    assert _errors(visit) == []
    assert visit.left == []
    assert not visit.page.locator(".jp-Dialog").count(), "a dialogue stands over the text"
    assert not visit.page.locator(".Toastify__toast").count(), "a message stands over the text"
    modified = "() => [...document.querySelectorAll('.jp-mod-dirty')].length"
    assert visit.page.evaluate(modified) == 0, "the notebook opens as modified"


def test_the_opening_notebook_runs_to_its_end(laboratory, visit):
    _open(visit, laboratory("."), f"notebooks/{NOTEBOOKS[0]}.ipynb")
    visit.page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
    visit.page.wait_for_function(
        """() => {
            const panel = window.jupyterapp.shell.currentWidget;
            const kernel = panel.sessionContext.session?.kernel;
            const cells = panel.content.widgets.filter(
                c => c.model.type === 'code' && c.model.sharedModel.source);
            return kernel?.status === 'idle' && cells.every(c => c.model.executionCount > 0)
                && !document.querySelector('.jp-InputPrompt')?.textContent.includes('*');
        }""",
        timeout=180_000,
    )
    failed = visit.page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.error']")
    assert failed.count() == 0
    assert _errors(visit) == []
