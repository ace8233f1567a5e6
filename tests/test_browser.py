"""The browser of the tests sees what goes wrong in a page: a check that never fails would prove nothing."""

import functools
import struct
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.browser import open_browser

CLEAN = """<!doctype html><meta charset=utf-8><title>fine</title><link rel=icon href="data:,">
<style>body { height: 3000px; background: white }
@media (prefers-color-scheme: dark) { body { background: black } }</style>
<script>console.log("a note"); console.warn("a warning"); new Worker(URL.createObjectURL(new Blob(["1"])));</script>"""


@pytest.fixture(scope="module")
def browser():
    with open_browser(900, 600) as browser:
        yield browser


@pytest.fixture
def page(tmp_path):
    def write(text):
        path = tmp_path / "page.html"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def server(tmp_path):
    """The address of a server of the files in tmp_path."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=tmp_path)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_page_without_faults_has_no_problems(browser, page):
    path = page(CLEAN)
    browser.open(path)

    assert browser.problems() == []
    assert browser.requests() == [path.as_uri()]
    assert browser.foreign_requests() == []


@pytest.mark.parametrize(
    "fault, told",
    [
        ("<script>noSuchFunction()</script>", "noSuchFunction is not defined"),
        ("<script>let 1</script>", "SyntaxError"),
        ("<script>setTimeout(() => { done = 1; throw new Error('later') }, 200)</script>", "later"),
        ("<script>Promise.reject(new Error('in a promise')); setTimeout(() => done = 1)</script>", "in a promise"),
        ("<script>console.error('told on the console')</script>", "told on the console"),
        ("<script src=missing.js></script>", "missing.js"),
        ("<img src=missing.png>", "missing.png"),
    ],
    ids=["exception", "syntax", "later", "promise", "console", "script", "image"],
)
def test_each_fault_is_a_problem(browser, page, fault, told):
    browser.open(page(CLEAN + "<script>var done = 0</script>" + fault))
    if "done = 1" in fault:
        browser.wait("done")

    (problem,) = browser.problems()
    assert told in problem
    assert browser.problems() == [problem]  # a second call forgets nothing

    browser.open(page(CLEAN))
    assert browser.problems() == []


@pytest.mark.parametrize(
    "element",
    [
        "<script src='{}script.js'></script>",
        "<link rel=stylesheet href='{}style.css'>",
        "<style>@font-face {{ font-family: f; src: url({}f.woff2) }} p {{ font-family: f }}</style><p>text",
        "<script>fetch('{}data').catch(() => 0)</script>",
        "<iframe src='{}frame.html'></iframe>",
    ],
    ids=["script", "style", "font", "fetch", "frame"],
)
def test_requests_to_other_hosts_are_recorded_and_reach_nobody(browser, page, element):
    path = page(CLEAN + element.format("https://example.com/"))
    browser.open(path)
    browser.wait("document.fonts.status == 'loaded'")

    (url,) = browser.foreign_requests()
    assert url.startswith("https://example.com/")
    assert browser.requests() == [path.as_uri(), url]
    assert any("ERR_NAME_NOT_RESOLVED" in problem for problem in browser.problems()) or "frame" in url


def test_a_page_of_a_server_may_load_from_that_server_alone(browser, page, server, tmp_path):
    (tmp_path / "there.js").write_text("1")
    page(CLEAN + "<script src=there.js></script>")
    browser.open(f"{server}/page.html")

    assert browser.requests() == [f"{server}/page.html", f"{server}/there.js"]
    assert browser.foreign_requests() == []

    elsewhere = server.replace("127.0.0.1", "localhost") + "/there.js"
    page(CLEAN + f"<script src={elsewhere}></script>")
    browser.open(f"{server}/page.html")

    assert browser.foreign_requests() == [elsewhere]
    assert browser.problems() == []


def test_pages_are_shown_light_and_dark_narrow_and_wide(browser, page, tmp_path):
    browser.open(page(CLEAN))
    shown = []
    for width, scheme in ((400, "dark"), (1200, "light")):
        browser.show(width, 700, scheme)
        colour = browser.run("return getComputedStyle(document.body).backgroundColor")
        shown.append((browser.run("return [innerWidth, innerHeight]"), colour))

    assert shown == [([400, 700], "rgb(0, 0, 0)"), ([1200, 700], "rgb(255, 255, 255)")]
    for whole, height in ((False, 700), (True, 3016)):
        browser.screenshot(tmp_path / "page.png", whole_page=whole)
        assert struct.unpack(">II", (tmp_path / "page.png").read_bytes()[16:24]) == (1200, height)


def test_what_does_not_come_true_fails_with_the_problems_of_the_page(browser, page):
    browser.open(page("<script>noSuchFunction()</script>"))

    with pytest.raises(AssertionError, match="not true after 0.2 s: window.answer; .*noSuchFunction"):
        browser.wait("window.answer", 0.2)


@pytest.mark.parametrize("there", [[], ["chromium"]], ids=["nothing", "browser"])
def test_without_a_browser_a_test_is_skipped_with_the_reason(there, tmp_path, monkeypatch):
    for name in there:
        (tmp_path / name).touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    reason = "there is no chromedriver on" if there else "there is no Chromium or Chrome on"
    with pytest.raises(pytest.skip.Exception, match=reason), open_browser():
        pass
