"""A Chromium for the tests of pages: the distribution's own, driven by the driver of its package.

browser   opens pages; after each test nothing may stand in its console: no error, no refused script, no missing file
"""

import os
import shutil
import tempfile

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

# What a browser says about an answer that a test asked for on purpose (a 404 page) is not a mistake of the page.
EXPECTED = ("the server responded with a status of 4", "the server responded with a status of 503")


def start(width=1280, height=900, scripts=True):
    options = Options()
    options.binary_location = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome") or "chromium"
    profile = tempfile.mkdtemp(prefix="lablink-test-browser-")
    for word in (
        "--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--no-proxy-server", "--user-data-dir=" + profile,
        "--window-size=%d,%d" % (width, height),
    ):
        options.add_argument(word)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium refuses to have one as root; it sees our own pages only
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    if not scripts:
        options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
    driver = webdriver.Chrome(service=Service(shutil.which("chromedriver") or "chromedriver"), options=options)
    driver.set_page_load_timeout(60)
    driver.profile_directory = profile
    return driver


def stop(driver):
    driver.quit()
    shutil.rmtree(driver.profile_directory, ignore_errors=True)


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
