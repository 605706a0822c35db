"""The desktop in the tab: real Chromium, real sandboxes. The picture is compared with what the VM's own X server shows."""

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from lab import wait_until
from seat import (EXPECTED, PATIENCE, SAMPLE, TEXT, Screen, body, claim, connected, has_file, released_is_closed, says, server_of,
                  shell_is_there, shows_the_desktop, touch, write, x_clipboard, xterm_of)
from workshop import inside

pytestmark = pytest.mark.xdist_group("desktop")


@pytest.fixture
def lab(seats):
    return seats


def test_from_the_click_to_a_file_on_that_machine_alone(lab, mine, other):
    email, hostname = claim(lab, mine)
    assert mine.current_url.endswith("/desktop") and lab.vm(hostname)["email"] == email
    assert mine.get_cookie("lablink_seat")["httpOnly"] and len(mine.find_element(By.CSS_SELECTOR, "#welcome .code").text) == 9
    shell_is_there(lab, hostname)
    shows_the_desktop(lab, mine, hostname)
    touch(lab, mine, hostname, "Desktop/mine.txt")
    wait_until(lambda: lab.vm(hostname)["metrics"].get("desktop_first_frame_seconds"), PATIENCE)
    assert 0 < lab.vm(hostname)["metrics"]["desktop_first_frame_seconds"] == pytest.approx(float(body(mine, "firstFrame")) / 1000, abs=0.01)
    # the next person has another desktop
    _, second = claim(lab, other)
    assert second != hostname
    shell_is_there(lab, second)
    touch(lab, other, second, "other.txt")
    assert not has_file(lab, hostname, "other.txt")
    for vm in lab.vms():
        assert vm["hostname"] == hostname or not has_file(lab, vm["hostname"], "Desktop/mine.txt")
    said = [entry["message"] for entry in mine.get_log("browser") if not any(word in entry["message"] for word in EXPECTED)]
    assert not said, said


def test_follows_the_tab_and_survives_a_reload(lab, mine):
    _, hostname = claim(lab, mine)
    shell_is_there(lab, hostname)
    window = xterm_of(lab, hostname)
    size = lambda: mine.execute_script("return [innerWidth, innerHeight]")
    for width, height in ((1300, 900), (900, 640)):
        mine.set_window_size(width, height)
        wait_until(lambda: mine.execute_script(SAMPLE)[:2] == size(), PATIENCE, lambda: (mine.execute_script(SAMPLE)[:2], size()))
    shows_the_desktop(lab, mine, hostname)
    # a phone sees a whole desktop, smaller
    mine.set_window_size(500, 800)
    wait_until(lambda: mine.execute_script(SAMPLE)[0] >= 740, PATIENCE)
    assert mine.execute_script("return document.querySelector('#screen canvas').getBoundingClientRect().width <= innerWidth")
    mine.set_window_size(1100, 800)
    mine.refresh()
    connected(mine)
    assert xterm_of(lab, hostname) == window and not mine.find_elements(By.ID, "welcome")
    # a second tab of the same browser: both have the desktop
    first = mine.current_window_handle
    mine.switch_to.new_window("tab")
    mine.get(lab.url + "/desktop")
    connected(mine)
    touch(lab, mine, hostname, "two-tabs")
    mine.close()
    mine.switch_to.window(first)
    touch(lab, mine, hostname, "still-here")


def test_the_clipboard_both_ways(lab, mine):
    _, hostname = claim(lab, mine)
    inside(lab, hostname, "sh", "-c", "printf '%%s' '%s' | DISPLAY=:1 xclip -selection clipboard >/dev/null 2>&1" % TEXT)
    panel = lambda: mine.execute_script("return document.querySelector('#clip').value")
    wait_until(lambda: panel() == TEXT, PATIENCE)
    # by hand, where the browser keeps its own clipboard to itself
    mine.find_element(By.ID, "handle").click()
    mine.find_element(By.CSS_SELECTOR, "[data-tool=clipboard]").click()
    mine.find_element(By.ID, "clip").clear()
    mine.execute_script("const c = document.querySelector('#clip'); c.value = arguments[0]; c.dispatchEvent(new Event('input'))", "hand " + TEXT)
    wait_until(lambda: x_clipboard(lab, hostname) == "hand " + TEXT, PATIENCE, lambda: x_clipboard(lab, hostname))
    # by itself, where it was allowed
    mine.execute_cdp_cmd("Browser.grantPermissions", {"origin": lab.url, "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]})
    mine.execute_cdp_cmd("Page.bringToFront", {})
    copied = "return navigator.clipboard.writeText(arguments[0]).then(() => dispatchEvent(new Event('focus')))"
    mine.execute_script(copied, "self " + TEXT)
    wait_until(lambda: x_clipboard(lab, hostname) == "self " + TEXT, PATIENCE, lambda: x_clipboard(lab, hostname))
    inside(lab, hostname, "sh", "-c", "printf '%%s' 'back %s' | DISPLAY=:1 xclip -selection clipboard >/dev/null 2>&1" % TEXT)
    wait_until(lambda: mine.execute_script("return navigator.clipboard.readText()") == "back " + TEXT, PATIENCE)


def test_keys_that_a_browser_keeps_to_itself(lab, mine):
    _, hostname = claim(lab, mine)
    shell_is_there(lab, hostname)
    touch(lab, mine, hostname, "focused")
    mine.execute_script("document.querySelector('#touch').focus()")
    # as a phone's keyboard writes: no key is named, the field's text changes
    mine.execute_script("""
        const field = document.querySelector('#touch');
        for (const text of ['touch ~/by-touchX', null, '\\u00e9', '\\n']) {
                field.value = text === null ? field.value.slice(0, -1) : field.value + text;
                field.dispatchEvent(new InputEvent('input'));
        }""")
    wait_until(lambda: has_file(lab, hostname, "by-touch\u00e9"), PATIENCE, lambda: inside(lab, hostname, "ls", "/home/client"))
    mine.find_element(By.ID, "handle").click()
    mine.find_element(By.CSS_SELECTOR, "[data-tool=keys]").click()
    before = Screen(lab, hostname).pixels
    mine.find_element(By.CSS_SELECTOR, "[data-keys='Control_L Alt_L Delete']").click()
    wait_until(lambda: Screen(lab, hostname).pixels != before, PATIENCE)  # the desktop's own menu


def test_coming_back_in_another_browser(lab, mine, other):
    email, hostname = claim(lab, mine)
    code = mine.find_element(By.CSS_SELECTOR, "#welcome .code").text
    assert claim(lab, other, email, code.lower()) == (email, hostname)
    wait_until(lambda: "Opened in another browser" in says(mine), PATIENCE, lambda: says(mine))
    shows_the_desktop(lab, other, hostname)


def test_watching_and_helping(lab, mine, other):
    email, hostname = claim(lab, mine)
    shell_is_there(lab, hostname)
    other.get(lab.admin_url("/admin/desktop/" + hostname))
    other.get(lab.url + "/admin/desktop/" + hostname)
    connected(other)
    shows_the_desktop(lab, other, hostname)
    wait_until(lambda: "The instructor is watching" in says(mine), PATIENCE, lambda: says(mine))
    size = mine.execute_script(SAMPLE)[:2]
    other.set_window_size(700, 600)
    write(other, "touch ~/by-watching\n")
    # with the participant's word only
    other.get(lab.url + "/admin/desktop/%s?assist" % hostname)
    wait_until(lambda: "Helping is not allowed" in says(other), PATIENCE, lambda: says(other))
    mine.find_element(By.ID, "handle").click()
    mine.find_element(By.CSS_SELECTOR, "[data-tool=menu]").click()
    mine.find_element(By.CSS_SELECTOR, "[data-assist]").click()
    wait_until(lambda: mine.find_element(By.CSS_SELECTOR, "[data-assist]").get_attribute("aria-pressed") == "true", PATIENCE)
    other.refresh()
    connected(other)
    touch(lab, other, hostname, "by-helping")
    assert not has_file(lab, hostname, "by-watching") and mine.execute_script(SAMPLE)[:2] == size
    wait_until(lambda: "The instructor is helping" in says(mine), PATIENCE, lambda: says(mine))
    assert {row["action"] for row in lab.sql("select action from audit where detail->>'hostname' = %s", hostname)} & {"assist"}
    # and the word taken back ends it
    mine.find_element(By.CSS_SELECTOR, "[data-assist]").click()
    wait_until(lambda: "Helping is not allowed" in says(other), PATIENCE, lambda: says(other))


def test_thumbnails_while_somebody_looks(lab, mine, other):
    _, hostname = claim(lab, mine)
    other.get(lab.admin_url("/admin/instances"))
    other.get(lab.url + "/admin/instances")
    image = "return (document.querySelector(`tr[data-vm='${arguments[0]}'] [data-thumb]`) || {}).naturalWidth"
    wait_until(lambda: other.execute_script(image, hostname) == 320, PATIENCE)
    wait_until(lambda: "first picture" in says(other), PATIENCE)


def test_a_released_seat_is_closed(lab, mine):
    _, hostname = claim(lab, mine)
    released_is_closed(lab, mine, hostname)
    assert "no desktop open" in says(mine)


def test_it_comes_back_by_itself(lab, mine):
    """The agent, the web process, the X server: killed one after the other under an open tab."""
    _, hostname = claim(lab, mine)
    shell_is_there(lab, hostname)
    window, times = xterm_of(lab, hostname), 1
    agent = next(process for process in lab.role("agent") if process.uid == server_of(lab, hostname).uid - 1000)
    for victim in (agent, lab.role("web")[0]):
        times = int(body(mine, "connected"))
        victim.kill()
        connected(mine, times + 1)
        assert xterm_of(lab, hostname) == window, "the windows stay"
    times = int(body(mine, "connected"))
    server_of(lab, hostname).kill()
    connected(mine, times + 1)
    shell_is_there(lab, hostname)
    shows_the_desktop(lab, mine, hostname)
