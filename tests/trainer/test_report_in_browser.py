"""The report in a browser: no script fails, nothing is requested, and it fits a phone and a wide screen."""

import pytest

from tests.browser import open_browser
from tests.trainer.test_report import HOSTILE, hostile_sources
from trainer.report import write

SIZES = {"narrow": (375, 800), "wide": (1440, 900)}
DRAWN = "document.documentElement.dataset.drawn"
BACKGROUND = "return getComputedStyle(document.body).backgroundColor"
LINE = "return document.querySelector('#plot-loss .scatterlayer path.js-line').style.stroke"
MAP = "return document.getElementById('map')"
TYPE = """
const find = document.getElementById("find");
find.value = arguments[0];
find.dispatchEvent(new Event("input"));
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A browser, with the page of words that look like HTML in a file."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(write.make_page(hostile_sources()))
    with open_browser() as opened:
        opened.path = path
        yield opened


def show(browser, size, scheme):
    browser.show(*SIZES[size], scheme)
    browser.open(browser.path)
    browser.wait(DRAWN)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_it_is_drawn_without_a_problem_and_fits(browser, size, scheme):
    show(browser, size, scheme)
    assert browser.run("return document.querySelectorAll('.js-plotly-plot').length") == 9
    assert browser.run("return document.querySelectorAll('.plot .main-svg').length") >= 8
    assert browser.run("return document.documentElement.scrollWidth") <= SIZES[size][0]
    assert browser.problems() == []
    assert browser.foreign_requests() == [] and len(browser.requests()) == 1


def test_the_plots_follow_the_colours_of_the_system(browser):
    show(browser, "wide", "light")
    before = browser.run(BACKGROUND), browser.run(LINE)
    browser.show(*SIZES["wide"], "dark")
    browser.wait(f"{DRAWN} === 'dark'")
    after = browser.run(BACKGROUND), browser.run(LINE)
    assert before[0] == "rgb(255, 255, 255)" and before[0] != after[0] and before[1] != after[1]
    assert browser.problems() == []


def test_a_word_is_found_and_shown(browser):
    show(browser, "wide", "light")
    whole = browser.run(MAP + ".layout.xaxis.range")
    for word in (*HOSTILE, "WORD17"):
        browser.run(TYPE, word)
        assert browser.run("return document.getElementById('found').value").startswith("one word")
        labels = browser.run(MAP + ".data.at(-1).customdata.map(row => JSON.parse("
                             "document.getElementById('data').textContent).map.words[row])")  # fmt: skip
        assert [label.lower() for label in labels] == [word.lower()]
    zoomed = browser.run(MAP + ".layout.xaxis.range")
    assert zoomed[1] - zoomed[0] < whole[1] - whole[0]

    browser.run(TYPE, "word1")
    assert browser.run("return document.getElementById('found').value").startswith("one word")
    browser.run(TYPE, "wor")
    assert browser.run("return document.getElementById('found').value").startswith("12 words")
    browser.run(TYPE, "nonsuch")
    assert browser.run("return document.getElementById('found').value") == "“nonsuch” is not among these 200 words"
    browser.driver.find_element("id", "find").send_keys("\ue00c")  # Esc
    assert browser.run("return document.getElementById('find').value") == ""
    assert browser.run(MAP + ".layout.xaxis.range") == pytest.approx(whole)
    assert browser.problems() == []


def test_the_colours_show_groups_or_frequency(browser):
    show(browser, "narrow", "light")
    groups = browser.run(MAP + ".data.length")
    browser.run("document.querySelector('[data-by=frequency]').click()")
    assert browser.run(MAP + ".data.length") == 2 and groups > 3  # the words, and the labels
    assert browser.run(MAP + ".data[0].marker.color.length") == 200
    pressed = "return [...document.querySelectorAll('[data-by]')].map(each => each.getAttribute('aria-pressed'))"
    assert browser.run(pressed) == ["false", "true"]
    browser.run("document.querySelector('[data-by=groups]').click()")
    assert browser.run(MAP + ".data.length") == groups
    assert browser.problems() == []


def test_pointing_at_a_word_shows_it(browser):
    show(browser, "wide", "light")
    browser.run("document.getElementById('map').scrollIntoView()")
    browser.run("Plotly.Fx.hover('map', [{ curveNumber: 0, pointNumber: 0 }])")
    row = browser.run(MAP + ".data[0].customdata[0]")
    text = browser.wait("document.querySelector('#map .hoverlayer .hovertext')?.textContent")
    assert text == f"{(HOSTILE + [f'word{number}' for number in range(190)])[row]}{200 - row} times"
