"""The exported pages, opened from the disk without a network."""

import re

import pytest

from scripts.pages import write_site
from tests.browser.conftest import NOTEBOOKS


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    write_site(folder)
    return folder


@pytest.mark.parametrize("name", ["index", *NOTEBOOKS])
def test_a_page_is_whole_without_a_network(site, visit, name):
    visit.page.goto(f"file://{site}/{name}.html")
    visit.page.wait_for_load_state("load")
    assert visit.left == []
    assert visit.errors == []
    pictures = visit.pictures()
    assert [picture for picture in pictures if not picture["whole"]] == []
    assert [picture for picture in pictures if not picture["alt"].strip()] == []
    words = visit.page.locator("body").inner_text()
    assert not re.search(r"\\(frac|sqrt|top|sum|text)\b", words), "a formula was left raw"


@pytest.mark.parametrize("name", ["index", *NOTEBOOKS])
def test_links_between_pages_lead_somewhere(site, visit, name):
    visit.page.goto(f"file://{site}/{name}.html")
    links = visit.page.eval_on_selector_all("a[href]", "all => all.map(a => a.getAttribute('href'))")
    local = {link.split("#")[0] for link in links if not link.startswith(("http", "#", "mailto"))}
    assert [link for link in local if link and not (site / link).exists()] == []


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_nothing_is_wider_than_a_narrow_window(site, visit, name):
    visit.page.set_viewport_size({"width": 1000, "height": 800})
    visit.page.goto(f"file://{site}/{name}.html")
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 1000
