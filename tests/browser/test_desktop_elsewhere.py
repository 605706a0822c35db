"""The seat page at one allocator, its desktop at another: it finds the way by itself, and a new one when that is gone."""

import pathlib
import sys

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

sys.path.append(str(pathlib.Path(__file__).parent.parent / "faults"))

from balanced import EMAIL, claim, pair  # noqa: E402, F401 (a fixture)
from desktop_net import Desktop, has_xvnc  # noqa: E402
from lab import wait_until  # noqa: E402
from seat import EXPECTED, PATIENCE, connected, says  # noqa: E402


@pytest.mark.skipif(not has_xvnc(), reason="Xvnc is not installed")
def test_the_page_finds_the_desktop_wherever_it_is(chromium, pair):  # noqa: F811
    a, b, balancer = pair
    chromium.delete_all_cookies()
    chromium.get_log("browser")
    b.add_vm("vm-1")
    with Desktop(a, "vm-1", "http://127.0.0.1:%d" % balancer.port):
        chromium.get(b.url + "/")
        chromium.find_element(By.NAME, "email").send_keys(EMAIL, Keys.ENTER)
        connected(chromium)
        code = chromium.find_element(By.CSS_SELECTOR, "#welcome .code").text
        assert chromium.current_url.startswith(b.url) and '"GET /desktop/ws" 101' in a.log()
        complaints = [entry for entry in chromium.get_log("browser") if not any(word in entry["message"] for word in EXPECTED)]
        assert not complaints, "a page that is sent elsewhere: %r" % complaints

        chromium.get(b.admin_url("/admin/desktop/vm-1"))  # an administrator has to be known there
        chromium.get(b.url + "/admin/desktop/vm-1")
        wait_until(lambda: "connected to another allocator" in says(chromium), PATIENCE, lambda: says(chromium))
        link = chromium.find_element(By.CSS_SELECTOR, "#banner [data-action]").get_attribute("href")
        assert link == "http://localhost:%d/admin/desktop/vm-1" % a.port
        chromium.get(b.url + "/desktop")
        connected(chromium)

        balancer.target = b.port
        a.kill_all()
        connected(chromium, 2)

        claim(b, return_code=code)
        wait_until(lambda: "Opened in another browser" in says(chromium), PATIENCE, lambda: says(chromium))
        chromium.get("about:blank")
    chromium.get_log("browser")
