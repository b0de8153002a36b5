"""The timeline: what its rows need, that dates and arXiv ids agree or say why not, and its picture."""

import re

import pandas as pd
import pytest

from scripts.timeline_figure import LANES, MONTHS, UNITS, largest, load_timeline, plot_timeline

COLUMNS = ["name", "date", "dated", "parameters", "part", "source", "note"]
SIZE = rf"(\d+(\.\d+)?( to \d+(\.\d+)?)? [{''.join(UNITS)}])?"
DATED = ("paper", "blog", "release")


def problems(table):
    """What is wrong with the rows of a timeline, a sentence each."""
    for row in table.itertuples():
        day = row.date if len(row.date) == 10 else f"{row.date}-15"
        id_month = re.sub(r"^arXiv:(\d\d)(\d\d)\.\d{5}$", r"20\1-\2", row.source)
        needs = {
            "a name, and only once": row.name and (table["name"] == row.name).sum() == 1,
            "a date such as 2017-06-12 or 2021-03": re.fullmatch(r"\d{4}-\d\d-\d\d", day)
            and not pd.isna(pd.to_datetime(day, errors="coerce")),
            f"what the date is of, one of {DATED}": row.dated in DATED,
            "a size such as 65 to 213 M": re.fullmatch(SIZE, row.parameters),
            f"one of the parts {list(LANES)}": row.part in LANES,
            "an arXiv id such as arXiv:1706.03762, or a title": row.source
            and not id_month.startswith("arXiv:"),
        }
        has_id = id_month != row.source
        agrees = row.date.startswith(id_month)
        needs["a note that says why its id is of another month"] = not has_id or agrees or row.note
        needs["no note, for its id is of the same month"] = not row.note or (has_id and not agrees)
        needs["the month of its id, being the date of a paper"] = row.dated != "paper" or agrees
        yield from (f"{row.name or row.Index} needs {need}" for need, met in needs.items() if not met)


def test_every_row_is_whole_and_its_date_agrees_with_its_id_or_says_why():
    table = load_timeline()
    assert list(table) == COLUMNS
    assert list(problems(table)) == []
    papers = table[table["source"].str.startswith("arXiv:")]
    assert len(papers) >= 30
    assert 0 < (papers["note"] != "").sum() <= len(papers) / 3


def test_the_order_is_that_of_the_story():
    table = load_timeline()
    day = table.set_index("name")["date"]
    story = ["Transformer", "ULMFiT", "GPT", "BERT"]
    assert sorted(story, key=day.get) == story
    others = table[(table["part"] != "recurrent") & ~table["name"].isin(story)]
    assert (others["date"] > day["BERT"]).all()
    assert set(table["date"].str[:4]) == {str(year) for year in range(2017, 2025)}
    assert set(table["part"]) == set(LANES)
    assert table["name"][table["parameters"] == ""].tolist() == ["ULMFiT"]  # its paper does not say


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"date": "2018-13-01"}, "a date such as"),
        ({"date": "2018-02-30"}, "a date such as"),
        ({"date": "2018"}, "a date such as"),
        ({"dated": "rumour"}, "what the date is of"),
        ({"dated": ""}, "what the date is of"),
        ({"parameters": "340"}, "a size such as"),
        ({"part": "encodr"}, "one of the parts"),
        ({"source": ""}, "an arXiv id such as"),
        ({"source": "arXiv:1810.480"}, "an arXiv id such as"),
        ({"name": "GPT"}, "a name, and only once"),
        ({"date": "2018-09-11", "dated": "blog"}, "a note that says why"),
        ({"date": "2018-09-11", "note": "because"}, "being the date of a paper"),
        ({"note": "because"}, "no note"),
    ],
)
def test_a_damaged_row_is_found(changed, problem):
    table = load_timeline().astype(object)
    table.loc[table["name"] == "BERT", list(changed)] = list(changed.values())
    assert any(problem in found for found in problems(table))


def test_sizes_are_read():
    assert largest("110 to 340 M") == 340e6
    assert largest("1.6 T") == 1.6e12
    assert largest("") is None


def test_the_picture_has_every_model_in_the_column_of_its_year_and_the_order_of_its_dates():
    table = load_timeline()
    texts = {text.get_text(): text.get_position() for text in plot_timeline(table, "A test").axes.texts}
    for row in table.itertuples():
        assert texts[row.name][0] == texts[row.date[:4]][0]
    for _, rows in table.groupby(["part", table["date"].str[:4]]):
        heights = [texts[name][1] for name in rows["name"]]
        assert heights == sorted(heights, reverse=True)
    assert {f"{MONTHS[5]} · 213 M", "Jan", "Feb · 94 M"} <= set(texts)


def test_an_empty_timeline_is_refused():
    with pytest.raises(ValueError, match="at least one model"):
        plot_timeline(load_timeline().head(0), "Nothing")
