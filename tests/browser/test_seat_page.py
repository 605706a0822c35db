"""What the seat page says and does when things are not as they should be: each sentence of its banner, a laptop that slept,
a phone that turns, a person without a mouse, somebody who guesses return codes. Real Chromium, real sandboxes.
"""

import contextlib
import re
import select
import signal
import socket
import threading

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from lab import all_processes, wait_until
from seat import (PATIENCE, SAMPLE, body, claim, connected, says, server_of, shell_is_there, shows_the_desktop, touch, write, xterm_of)
from workshop import inside

pytestmark = pytest.mark.xdist_group("desktop")
# Keeps every sentence that the banner shows, however short.
RECORD = """
        const place = document.querySelector('#banner');
        window.said = [];
        new MutationObserver(() => place.hidden || said.push(place.innerText.trim())).observe(
                place, {subtree: true, childList: true, characterData: true, attributes: true});
"""


@pytest.fixture
def lab(seats):
    return seats


@contextlib.contextmanager
def stopped(processes):
    """They take no step until the block is left."""
    try:
        for process in processes:
            process.kill(signal.SIGSTOP)
        yield processes
    finally:
        for process in processes:
            process.kill(signal.SIGCONT)


def said(driver, words):
    return any(words in text for text in driver.execute_script("return window.said"))


def shows(driver, words):
    wait_until(lambda: words in says(driver), PATIENCE, lambda: "%r is not in %r" % (words, says(driver)))


def of_vm(lab, hostname, wanted):
    base = server_of(lab, hostname).uid - 1000
    return [process for process in lab.vm_processes() if process.uid - base in range(65536) and wanted(process)]


# --- the way to the lab ------------------------------------------------------------------------------------------------


class Between:
    """It can break, and it can forget: as a network does that has not seen the laptop for an hour, the lab's end of each
    connection is closed and the laptop is not told."""

    def __init__(self, port):
        self.target, self.port, self.pairs, self.mutes = port, 0, [], []
        self.mend()

    def mend(self):
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, args=(self.listener,), daemon=True).start()

    def _serve(self, listener):
        with contextlib.suppress(OSError):
            while True:
                near = listener.accept()[0]
                pair = (near, socket.create_connection(("127.0.0.1", self.target)))
                self.pairs.append(pair)
                threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, near, far):
        with contextlib.suppress(OSError, ValueError):
            while True:
                for side in select.select([near, far], [], [])[0]:
                    data = side.recv(65536)
                    if not data:
                        raise OSError
                    (far if side is near else near).sendall(data)
        if near not in self.mutes:
            near.close()
        far.close()

    def forget(self):
        for near, far in self.pairs:
            self.mutes.append(near)
            with contextlib.suppress(OSError):
                far.shutdown(socket.SHUT_RDWR)
        self.pairs = []

    def cut(self):
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes its thread
        self.listener.close()
        self.forget()
        for near in self.mutes:
            with contextlib.suppress(OSError):
                near.shutdown(socket.SHUT_RDWR)
            near.close()
        self.mutes = []


@contextlib.contextmanager
def between(lab):
    """Inside the block pages are opened that way."""
    way, url = Between(lab.port), lab.url
    try:
        lab.url = "http://127.0.0.1:%d" % way.port
        yield way
    finally:
        lab.url = url
        way.cut()


# --- the banner ----------------------------------------------------------------------------------------------------------


def test_the_banner_while_the_machine_is_away(lab, mine):
    """Its agent lives and cannot come: the allocator began anew meanwhile."""
    _, hostname = claim(lab, mine)
    assert lab.session().get(lab.url + "/desktop", cookies={"lablink_seat": mine.get_cookie("lablink_seat")["value"]}).text.count(
        "Connecting to your desktop") == 1
    with stopped(of_vm(lab, hostname, lambda process: process.program == "lablink-client")):
        lab.kill("web")
        shows(mine, "Your machine is restarting")
        lab.sql("update vms set status = 'error' where hostname = %s", hostname)
        shows(mine, "Your machine reported an error")
        lab.sql("update vms set status = 'initializing' where hostname = %s", hostname)
        mine.refresh()
        shows(mine, "Your machine is starting")
        lab.sql("update vms set status = 'running' where hostname = %s", hostname)
        shows(mine, "Waiting for your machine")
    connected(mine)
    assert not mine.find_element(By.ID, "banner").is_displayed()


def test_the_banner_while_nobody_answers(lab, mine):
    weather = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    with between(lab) as way:
        claim(lab, mine)
        way.cut()
        shows(mine, "Connection lost")
        shows(mine, "Trying again in 2 s")
        mine.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": True, **weather})
        shows(mine, "You are offline")
        mine.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": False, **weather})
        way.mend()
        connected(mine, 2)
        mine.get("about:blank")


def test_the_banner_while_the_desktop_begins_anew(lab, mine):
    _, hostname = claim(lab, mine)
    mine.execute_script(RECORD)
    times = int(body(mine, "connected"))
    for agent in of_vm(lab, hostname, lambda process: process.program == "lablink-client"):
        agent.kill()
    connected(mine, times + 1)
    assert said(mine, "The connection to your machine was lost")
    with stopped(of_vm(lab, hostname, lambda process: "lablink-desktop" in process.command and process.program in ("dash", "bash"))):
        server_of(lab, hostname).kill()
        shows(mine, "Your desktop is restarting")
    connected(mine, times + 2)


def test_more_windows_than_allowed(lab, mine):
    claim(lab, mine)
    mine.execute_script("""
        const open = () => new Promise((done) => {
                const socket = new WebSocket(location.origin.replace('http', 'ws') + '/desktop/ws');
                socket.onopen = done;
                (window.more = window.more || []).push(socket);
        });
        return Promise.all([open(), open(), open()]);""")
    mine.switch_to.new_window("tab")
    mine.get(lab.url + "/desktop")
    shows(mine, "Too many windows")


# --- a laptop that slept -------------------------------------------------------------------------------------------------


def family(pid):
    """The processes that descend from it."""
    everyone, found = list(all_processes()), {pid}
    for _ in range(8):
        found |= {process.pid for process in everyone if process.ppid in found}
    return [process for process in everyone if process.pid in found - {pid}]


def test_a_laptop_that_slept(lab, mine):
    """Every process of the browser stands still until the lab has given its sockets up; a program in the VM goes on."""
    with between(lab) as way:
        _, hostname = claim(lab, mine)
        shell_is_there(lab, hostname)
        touch(lab, mine, hostname, "awake")
        window, times = xterm_of(lab, hostname), int(body(mine, "connected"))
        write(mine, "(while sleep 0.1; do echo tick >>~/ticks; done) &\n")
        ticks = lambda: int(inside(lab, hostname, "sh", "-c", "cat ~/ticks | wc -l"))
        wait_until(lambda: ticks() > 0, PATIENCE)
        mine.execute_script(RECORD)
        cookie = {"lablink_seat": mine.get_cookie("lablink_seat")["value"]}
        open_sockets = lambda: lab.session().get(lab.url + "/api/desktop", cookies=cookie).json()["open"]
        assert open_sockets() == 1
        with stopped(family(mine.service.process.pid)):
            way.forget()
            wait_until(lambda: open_sockets() == 0, PATIENCE)
            before = ticks()
            wait_until(lambda: ticks() > before + 5, PATIENCE)
        connected(mine, times + 1)
        assert said(mine, "Connection lost") or said(mine, "Your computer was asleep"), mine.execute_script("return window.said")
        assert xterm_of(lab, hostname) == window and open_sockets() == 1
        shows_the_desktop(lab, mine, hostname)
        touch(lab, mine, hostname, "awake-again")
        mine.get("about:blank")


# --- a phone -------------------------------------------------------------------------------------------------------------


def as_phone(driver, width, height):
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 2, "mobile": True})
    driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})


def terminal_of(lab, hostname):
    """(left, top, right, bottom) of the software's window with its frame, and the room that the screen has for it."""
    display = lambda *words: inside(lab, hostname, "env", "DISPLAY=:1", *words)
    number, _, x, y, width, height = next(line.split()[:6] for line in display("wmctrl", "-lG").splitlines() if line.split()[1] == "0")
    left, right, top, bottom = map(int, re.findall(r"\d+", display("xprop", "-id", number, "_NET_FRAME_EXTENTS").split("=")[1]))
    x, y, width, height = int(x) - 2 * left, int(y) - 2 * top, int(width), int(height)  # wmctrl adds the frame's offset twice
    room = tuple(map(int, re.findall(r"\d+", display("xprop", "-root", "_NET_WORKAREA").split("=")[1])))
    return (x, y, x + width + left + right, y + height + top + bottom), (room[0], room[1], room[0] + room[2], room[1] + room[3])


def fits(lab, hostname):
    window, room = terminal_of(lab, hostname)
    return window[0] >= room[0] and window[1] >= room[1] and window[2] <= room[2] and window[3] <= room[3]


def test_a_phone_that_turns(lab, mine):
    _, hostname = claim(lab, mine)
    shell_is_there(lab, hostname)
    usual = terminal_of(lab, hostname)[0]
    for width, height in ((390, 844), (844, 390), (390, 844)):
        as_phone(mine, width, height)
        wait_until(lambda: (lambda w, h: (w > h) == (width > height) and w >= 740)(*mine.execute_script(SAMPLE)[:2]), PATIENCE,
                   lambda: mine.execute_script(SAMPLE)[:2])
        wait_until(lambda: fits(lab, hostname), PATIENCE, lambda: terminal_of(lab, hostname))
        assert mine.execute_script("""
            const box = document.querySelector('#screen canvas').getBoundingClientRect();
            return box.left >= 0 && box.right <= innerWidth && document.documentElement.scrollWidth <= innerWidth""")
    # back on a laptop it is what it was
    mine.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    size = lambda box: (box[2] - box[0], box[3] - box[1])
    wait_until(lambda: size(terminal_of(lab, hostname)[0]) == size(usual), PATIENCE, lambda: (terminal_of(lab, hostname), usual))
    assert fits(lab, hostname)


# --- a person without a mouse --------------------------------------------------------------------------------------------


def test_by_keys_alone(lab, mine):
    _, hostname = claim(lab, mine)
    shell_is_there(lab, hostname)
    active = lambda: mine.execute_script("const it = document.activeElement; return it.id || it.dataset.tool || it.tagName")
    keys = lambda *names: ActionChains(mine).send_keys(*names).perform()
    touch(lab, mine, hostname, "before")
    ActionChains(mine).key_down(Keys.CONTROL).key_down(Keys.ALT).key_down(Keys.SHIFT).key_up(Keys.SHIFT).key_up(Keys.ALT).key_up(Keys.CONTROL).perform()
    wait_until(lambda: active() == "handle", PATIENCE, active)
    assert mine.find_element(By.ID, "tools").is_displayed()
    for _ in range(20):
        if active() == "menu":
            break
        keys(Keys.TAB)
    assert active() == "menu", active()
    keys(Keys.ENTER)
    assert mine.find_element(By.ID, "menu").is_displayed()
    keys(Keys.TAB)
    assert mine.execute_script("return document.querySelector('#menu').contains(document.activeElement)"), active()
    keys(Keys.ESCAPE)
    assert active() == "CANVAS" and not mine.find_element(By.ID, "menu").is_displayed() and not mine.find_element(By.ID, "tools").is_displayed()
    touch(lab, mine, hostname, "after")  # no key is held down any more


def test_for_readers_and_for_those_who_want_no_motion(lab, mine):
    claim(lab, mine)
    for place in ("banner", "notice"):
        element = mine.find_element(By.ID, place)
        assert (element.get_attribute("role"), element.get_attribute("aria-live")) == ("status", "polite")
    assert mine.find_element(By.CSS_SELECTOR, "#banner [data-count]").get_attribute("aria-hidden") == "true", "seconds are not read out"
    motion = lambda: mine.execute_script("return getComputedStyle(document.querySelector('.spinner')).animationName")
    assert motion() == "turn"
    mine.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]})
    assert motion() == "none"
    for element in mine.find_elements(By.CSS_SELECTOR, "button, a:not([hidden]), input:not([type=hidden]), textarea"):
        assert mine.execute_script("const it = arguments[0]; return it.innerText || it.textContent.trim() || it.labels && it.labels.length", element)


# --- somebody who guesses ------------------------------------------------------------------------------------------------


def test_wrong_return_codes(lab, mine, other):
    email, hostname = claim(lab, mine)
    code = mine.find_element(By.CSS_SELECTOR, "#welcome .code").text
    other.get(lab.url + "/")
    other.find_element(By.NAME, "email").send_keys(email, Keys.ENTER)

    def guess(text):
        wait_until(lambda: other.find_elements(By.NAME, "return_code"), PATIENCE)
        field = other.find_element(By.NAME, "return_code")
        field.clear()
        field.send_keys(text, Keys.ENTER)
        wait_until(lambda: other.execute_script("return document.querySelector('[name=return_code]')?.value") == "", PATIENCE)

    for _ in range(5):
        guess("AAAA-2222")
        assert "This return code is not right." in says(other)
    guess("AAAA-2222")
    assert re.search(r"Too many wrong return codes\. Please wait \d+ seconds and try again\.", says(other)), says(other)
    guess(code)
    assert "Too many wrong return codes" in says(other) and not other.get_cookie("lablink_seat")
    assert lab.vm(hostname)["email"] == email and body(mine, "connected") == "1", "whoever sits in it does not notice"
