"""A headless browser for tests of pages. It shows a page, and records what goes wrong in it and what it requests.

A test that uses `open_browser` is skipped, with the reason, where there is no Chromium or Chrome with its chromedriver.
Debian has both as `chromium` and `chromium-driver`. The browser can reach this machine alone.
"""

import base64
import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# URLs of these schemes need no host.
INNER_SCHEMES = ("about", "blob", "chrome", "data")
ARGUMENTS = (
    "--headless",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--hide-scrollbars",  # the page has the whole width
    "--no-first-run",
    "--no-default-browser-check",
    # WebGL is computed on the processor.
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)


class Browser:
    """One page at a time, in a window of a given size. `open_browser` makes it.

    Args:
        driver: selenium's driver, for all that this class does not offer.
    """

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self._problems: list[str] = []
        self._requests: list[str] = []

    def show(self, width: int, height: int, scheme: str = "light") -> None:
        """Sets the size of the window in CSS pixels, and which `prefers-color-scheme` a page sees: light or dark."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def open(self, page: str | Path) -> None:
        """Opens a file or a URL, and forgets what the page before it did."""
        self.driver.get("about:blank")
        self._read_logs()
        self._problems.clear()
        self._requests.clear()
        self.driver.get(page.absolute().as_uri() if isinstance(page, Path) else page)

    def run(self, script: str, *args: object) -> Any:
        """The value that a function body in JavaScript returns; `arguments` are its arguments."""
        return self.driver.execute_script(script, *args)

    def wait(self, expression: str, seconds: float = 30) -> Any:
        """Waits until an expression in JavaScript is true, and returns its value. It fails with the page's problems."""
        deadline = time.monotonic() + seconds
        while not (value := self.run(f"return {expression}")):
            if time.monotonic() > deadline:
                raise AssertionError(f"not true after {seconds} s: {expression}; problems: {self.problems()}")
            time.sleep(0.1)
        return value

    def problems(self) -> list[str]:
        """What has gone wrong in the page: uncaught exceptions, calls of console.error, and requests that failed."""
        self._read_logs()
        return list(self._problems)

    def requests(self) -> list[str]:
        """The URLs of all requests, that of the page first. Those such as data:, which need no host, are left out."""
        self._read_logs()
        return list(self._requests)

    def foreign_requests(self) -> list[str]:
        """The requests that go to another place than where the page came from: another host, another port."""
        own, *others = self.requests()
        return [url for url in others if _origin(url) != _origin(own)]

    def screenshot(self, path: Path, *, whole_page: bool = False) -> None:
        """Writes a PNG file of what the window shows, or of the page from its top to its end."""
        options = {"captureBeyondViewport": whole_page}
        if whole_page:
            size = self.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
            options["clip"] = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        image = self.driver.execute_cdp_cmd("Page.captureScreenshot", options)["data"]
        path.write_bytes(base64.b64decode(image))

    def _read_logs(self) -> None:
        """Takes over what the browser has logged since the last call. Each entry can be read once only."""
        for entry in self.driver.get_log("browser"):
            if entry["level"] == "SEVERE":
                self._problems.append(entry["message"])
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            url = ""
            if message["method"] == "Network.requestWillBeSent":
                url = message["params"]["request"]["url"]
            elif message["method"] == "Network.webSocketCreated":
                url = message["params"]["url"]
            if url and urlsplit(url).scheme not in INNER_SCHEMES:
                self._requests.append(url)


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


@contextlib.contextmanager
def open_browser(width: int = 1280, height: int = 900, scheme: str = "light") -> Iterator[Browser]:
    """Starts a browser, for the time of a `with` block. This takes about a second.

    A test that needs several pages opens them one after the other in the same browser.

    Args:
        width, height: the size of the window in CSS pixels.
        scheme: which `prefers-color-scheme` a page sees: light or dark.
    """
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    binary = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver_binary = shutil.which("chromedriver")
    if not binary or not driver_binary:
        pytest.skip(f"needs a browser: there is no {'chromedriver' if binary else 'Chromium or Chrome'} on the PATH")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for argument in (*ARGUMENTS, f"--user-data-dir={profile}"):
            options.add_argument(argument)
        if os.geteuid() == 0:
            options.add_argument("--no-sandbox")  # Chromium refuses to run as root otherwise
        # With the path of the driver, selenium looks for none in the network.
        driver = webdriver.Chrome(options, webdriver.ChromeService(driver_binary))
        try:
            browser = Browser(driver)
            driver.execute_cdp_cmd("Network.setCacheDisabled", {"cacheDisabled": True})  # a file may have changed
            browser.show(width, height, scheme)
            yield browser
        finally:
            driver.quit()
