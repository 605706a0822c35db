"""The desktop in Firefox's tab: what Chromium's tests see in a browser of another make. Left out, and said so, where it
is not installed.
"""

import pytest
from selenium.webdriver.common.by import By

import firefox
from lab import wait_until
from seat import (PATIENCE, SAMPLE, TEXT, body, claim, connected, has_file, released_is_closed, says, shell_is_there,
                  shows_the_desktop, touch, x_clipboard, xterm_of)
from workshop import inside

pytestmark = [
    pytest.mark.xdist_group("desktop"),
    pytest.mark.skipif(not firefox.program(), reason="Firefox is not installed: no firefox-esr in the PATH (FIREFOX names another)"),
]


@pytest.fixture(scope="module")
def driver():
    driver = firefox.start()
    yield driver
    firefox.stop(driver)


@pytest.fixture
def lab(seats):
    return seats


@pytest.fixture
def mine(driver):
    """A profile that nobody has used; after the test Firefox has nothing to complain of."""
    driver.forget()
    yield driver
    said = [entry["message"] for entry in driver.get_log("browser") if entry["level"] in ("error", "warn")]
    assert not said, said


def test_from_the_click_to_the_picture(lab, mine):
    email, hostname = claim(lab, mine)
    assert mine.current_url.endswith("/desktop") and lab.vm(hostname)["email"] == email
    assert mine.get_cookie("lablink_seat")["httpOnly"] and len(mine.find_element(By.CSS_SELECTOR, "#welcome .code").text) == 9
    shell_is_there(lab, hostname)
    shows_the_desktop(lab, mine, hostname)
    assert mine.execute_script(SAMPLE)[:2] == mine.execute_script("return [innerWidth, innerHeight]")
    wait_until(lambda: lab.vm(hostname)["metrics"].get("desktop_first_frame_seconds"), PATIENCE)


def test_keys_reach_that_machine_alone(lab, mine):
    _, hostname = claim(lab, mine)
    shell_is_there(lab, hostname)
    touch(lab, mine, hostname, "by-firefox")
    for vm in lab.vms():
        assert vm["hostname"] == hostname or not has_file(lab, vm["hostname"], "by-firefox")


def test_the_clipboard_by_its_panel(lab, mine):
    """Firefox gives a page its clipboard after a click at most: the panel is there for it."""
    _, hostname = claim(lab, mine)
    shell_is_there(lab, hostname)
    inside(lab, hostname, "sh", "-c", "printf '%%s' '%s' | DISPLAY=:1 xclip -selection clipboard >/dev/null 2>&1" % TEXT)
    mine.find_element(By.ID, "handle").click()
    mine.find_element(By.CSS_SELECTOR, "[data-tool=clipboard]").click()
    wait_until(lambda: mine.execute_script("return document.querySelector('#clip').value") == TEXT, PATIENCE)
    mine.find_element(By.ID, "clip").send_keys(TEXT)
    wait_until(lambda: x_clipboard(lab, hostname) == TEXT + TEXT, PATIENCE, lambda: x_clipboard(lab, hostname))


def test_a_reload_and_another_size(lab, mine):
    _, hostname = claim(lab, mine)
    shell_is_there(lab, hostname)
    window = xterm_of(lab, hostname)
    mine.refresh()
    connected(mine)
    mine.set_window_size(1000, 700)
    wait_until(lambda: mine.execute_script(SAMPLE)[:2] == [1000, 700], PATIENCE, lambda: mine.execute_script(SAMPLE)[:2])
    shows_the_desktop(lab, mine, hostname)
    assert xterm_of(lab, hostname) == window and body(mine, "hostname") == hostname
    mine.set_window_size(1100, 800)


def test_a_released_seat_is_closed(lab, mine):
    _, hostname = claim(lab, mine)
    released_is_closed(lab, mine, hostname)
