import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.timeline_figure import flag_levels, plot_timeline
from utils.loaders import PARTS, load_timeline

HEADER = "name,date,parameters,part,source\n"
GOOD = "BERT,2018-10-11,340 M,encoder,arXiv:1810.04805\n"


def test_the_timeline_covers_the_years_and_every_part():
    table = load_timeline()
    assert len(table) >= 25
    assert {day.year for day in table["day"]} == set(range(2017, 2025))
    assert set(table["part"]) == set(PARTS)
    assert table["day"].is_monotonic_increasing
    assert table["name"][table["parameters"] == ""].tolist() == ["ULMFiT"]  # its paper does not say


def test_dates_agree_with_the_months_of_arxiv():
    table = load_timeline()
    papers = table[table["arxiv_month"] != ""]
    assert len(papers) >= 18
    assert [row.name for row in papers.itertuples() if not row.date.startswith(row.arxiv_month)] == []


def write(folder, *rows):
    path = folder / "timeline.csv"
    path.write_text(HEADER + "".join(rows), encoding="utf-8")
    return path


def test_a_row_is_read(tmp_path):
    month = "GPT-Neo,2021-03,,decoder,a report\n"
    first, second = load_timeline(write(tmp_path, month, GOOD)).itertuples()
    assert (first.name, first.day, first.arxiv_month) == ("BERT", datetime.date(2018, 10, 11), "2018-10")
    assert (second.day, second.arxiv_month, second.parameters) == (datetime.date(2021, 3, 15), "", "")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("X,2018-13-01,1 M,encoder,a", r"line 3: a row needs a date such as .*, not \['X', '2018-13-01'"),
        ("X,2018-02-30,1 M,encoder,a", "a date such as"),
        ("X,2018,1 M,encoder,a", "a date such as"),
        ("X,20180211,1 M,encoder,a", "a date such as"),
        ("X,2018-02,1 M,encodr,a", "line 3: a row needs one of the parts recurrent, both.*'encodr'"),
        ("X,2018-02,1 M,encoder,arXiv:1810.480", "an arXiv id such as"),
        ("X,2018-02,1 M,encoder", "a name and a source"),
        ("X,2018-02,1 M,encoder,", "line 3: a row needs a name and a source"),
        ("X,2018-02,1 M,encoder,a,b", "line 3, saw 6"),
        (GOOD.strip(), "a name that no other row has, not .'BERT'"),
    ],
)
def test_damaged_rows_are_named(tmp_path, row, message):
    with pytest.raises(ValueError, match=message):
        load_timeline(write(tmp_path, GOOD, row))


def test_other_columns_are_named(tmp_path):
    path = tmp_path / "timeline.csv"
    path.write_text("name,date\nBERT,2018-10-11\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"must have the columns .* not \['name', 'date'\]"):
        load_timeline(path)


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0.1, 20)), max_size=20))
def test_no_flag_touches_another_one_or_its_pole(flags):
    starts, widths = [start for start, _ in flags], [width for _, width in flags]
    levels = flag_levels(starts, widths)
    for index, (start, width) in enumerate(flags):
        for other in range(len(flags)):
            if other != index and start < starts[other] < start + width:
                assert levels[index] > levels[other]  # its pole ends below this flag
            if other != index and starts[other] == start:
                assert levels[index] != levels[other]
    assert min(levels, default=1) == 1


def test_flags_stay_low_where_there_is_room():
    assert flag_levels([0, 10, 20], [9, 9, 9]) == [1, 1, 1]
    assert flag_levels([0, 5, 20], [9, 9, 9]) == [2, 1, 1]


def test_an_empty_timeline_is_refused():
    with pytest.raises(ValueError, match="at least one model"):
        plot_timeline(load_timeline().head(0), "Nothing")
