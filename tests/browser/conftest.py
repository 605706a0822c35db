"""A Chromium for the tests of pages: the distribution's own, driven by the driver of its package.

browser   opens pages; after each test nothing may stand in its console: no error, no refused script, no missing file
seats     a lab whose VMs have desktops, the same for all tests: at least two seats are free
mine      a participant's browser, as a profile that nobody has used; `other` is somebody else's
"""

import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]

from chromium import start, stop  # noqa: E402
from lab import Lab, wait_until  # noqa: E402
from seat import PATIENCE, release  # noqa: E402

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


@pytest.fixture(scope="session")
def desk():
    with Lab(name="desk", config={"desktop": {"mode": "browser"}, "local": {"outside": False}}) as lab:
        lab.launch(4)
        yield lab


@pytest.fixture
def seats(desk, request):
    """Those of the test before are released and made fresh meanwhile."""
    request.node.labs = [desk]
    for vm in desk.vms():
        if vm["email"]:
            release(desk, vm["hostname"])
    wait_until(lambda: desk.get("/api/unassigned_vms_count").json()["count"] >= 2, PATIENCE, lambda: desk.vms())
    return desk


@pytest.fixture(scope="session")
def browsers():
    both = [start(1100, 800), start(1100, 800)]
    yield both
    for driver in both:
        stop(driver)


@pytest.fixture
def mine(browsers):
    return fresh(browsers[0])


@pytest.fixture
def other(browsers):
    return fresh(browsers[1])


def fresh(driver):
    """As a profile that nobody has used."""
    for handle in driver.window_handles[1:]:
        driver.switch_to.window(handle)
        driver.close()
    driver.switch_to.window(driver.window_handles[0])
    driver.get("about:blank")
    driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    driver.set_window_size(1100, 800)
    driver.get_log("browser")
    return driver
