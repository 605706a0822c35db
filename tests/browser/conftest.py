"""A Chromium for the tests of pages: the distribution's own, driven by the driver of its package.

browser   opens pages; after each test nothing may stand in its console: no error, no refused script, no missing file
"""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from chromium import start, stop  # noqa: E402

# What a browser says about an answer that a test asked for on purpose (a 404 page) is not a mistake of the page.
EXPECTED = ("the server responded with a status of 4", "the server responded with a status of 503")


def complaints(driver):
    """What the console says since it was last asked, but for what is expected."""
    return [
        "%(level)s %(message)s" % entry for entry in driver.get_log("browser")
        if entry["level"] in ("SEVERE", "WARNING") and not any(word in entry["message"] for word in EXPECTED)
    ]


@pytest.fixture(scope="session")
def chromium():
    driver = start()
    yield driver
    stop(driver)


@pytest.fixture
def browser(chromium):
    chromium.delete_all_cookies()
    chromium.get_log("browser")
    yield chromium
    said = complaints(chromium)
    chromium.get("about:blank")
    assert not said, "the console says:\n" + "\n".join(said)


@pytest.fixture
def browser_without_scripts():
    driver = start(scripts=False)
    yield driver
    stop(driver)
