"""What a person does at the desktop in the tab, in whichever browser, and what is to be seen of it in the VM."""

import itertools
import socket
import struct

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from lab import wait_until
from workshop import inside

PATIENCE = 90
TEXT = "\u00e9 \u2713 \u6f22"
# What noVNC's own reading of its pointer makes Chromium say.
EXPECTED = ("willReadFrequently",)
numbers = itertools.count(1)

# --- what a person does -------------------------------------------------------------------------------------------------


def release(lab, hostname):
    answer = lab.post("/api/admin/vms/%s/release" % hostname, json={"yes": True}, admin=True, headers={"Accept": "application/json"})
    assert answer.status_code == 200, answer.text


def body(driver, name):
    return driver.execute_script("return document.body.dataset[arguments[0]] || ''", name)


def says(driver):
    return driver.find_element(By.TAG_NAME, "body").text


def connected(driver, times=1):
    """Waits until the picture has been there `times` times since the page was loaded."""
    wait_until(lambda: int(body(driver, "connected") or 0) >= times, PATIENCE,
               lambda: "%s\n%s\n%s" % (driver.current_url, says(driver), driver.get_log("browser")))


def claim(lab, driver, email=None, code=None):
    email = email or "desk%d@example.org" % next(numbers)
    driver.get(lab.url + "/")
    driver.find_element(By.NAME, "email").send_keys(email)
    driver.find_element(By.NAME, "email").send_keys(Keys.ENTER)
    if code:
        wait_until(lambda: driver.find_elements(By.NAME, "return_code"), PATIENCE)
        driver.find_element(By.NAME, "return_code").send_keys(code, Keys.ENTER)
    connected(driver)
    return email, body(driver, "hostname")


def write(driver, text):
    driver.execute_script("document.querySelector('#screen canvas').focus()")
    driver.press(text)


def touch(lab, driver, hostname, name):
    """Types a command until its file is there: a window that was just opened may not have the focus yet."""
    tries = itertools.count()

    def there():
        if next(tries) % 20 == 0:
            write(driver, "touch ~/%s\n" % name)
        return has_file(lab, hostname, name)

    wait_until(there, PATIENCE, lambda: inside(lab, hostname, "ls", "-l", "/home/client"), every=0.25)


def has_file(lab, hostname, name):
    return inside(lab, hostname, "test", "-e", "/home/client/" + name, check=False).returncode == 0


def shell_is_there(lab, hostname):
    """The software's window stands and its shell waits."""
    wait_until(lambda: inside(lab, hostname, "tmux", "list-clients", "-t", "terminal", check=False).stdout, PATIENCE)
    wait_until(lambda: "$" in inside(lab, hostname, "tmux", "capture-pane", "-p", "-t", "terminal", check=False).stdout, PATIENCE)


def released_is_closed(lab, browser, hostname):
    """The open page says that the seat is gone, and the cookie opens none any more."""
    release(lab, hostname)
    wait_until(lambda: "Your seat was released" in says(browser), PATIENCE, lambda: says(browser))
    browser.get(lab.url + "/desktop")
    wait_until(lambda: "desktop=none" in browser.current_url, PATIENCE)


def xterm_of(lab, hostname):
    return inside(lab, hostname, "pgrep", "-f", "^xterm.*attach-session").strip()


def x_clipboard(lab, hostname):
    return inside(lab, hostname, "sh", "-c", "DISPLAY=:1 timeout 5 xclip -selection clipboard -o", check=False).stdout


# --- pictures ------------------------------------------------------------------------------------------------------------


def server_of(lab, hostname):
    """The X server's process as this machine sees it."""
    for process in lab.vm_processes():
        if process.program == "Xtigervnc" and hostname in process.argv:
            return process
    raise AssertionError("no X server of %s: %r" % (hostname, lab.vm_processes()))


class Screen:
    """The VM's picture without any compression, by its own socket."""

    def __init__(self, lab, hostname):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect("/proc/%d/root/run/lablink-desktop/rfb.d/socket" % server_of(lab, hostname).pid)
            stream = connection.makefile("rwb")
            stream.read(12), stream.write(b"RFB 003.008\n"), stream.flush()
            stream.read(stream.read(1)[0]), stream.write(b"\1"), stream.flush()
            assert stream.read(4) == b"\0\0\0\0"
            stream.write(b"\1"), stream.flush()
            self.width, self.height = struct.unpack(">HH", stream.read(4))
            stream.read(16), stream.read(struct.unpack(">I", stream.read(4))[0])
            stream.write(struct.pack(">BxHi", 2, 1, 0) + struct.pack(">BBHHHH", 3, 0, 0, 0, self.width, self.height)), stream.flush()
            self.pixels = bytearray(self.width * self.height * 4)
            left = self.width * self.height
            while left:
                assert stream.read(2) == b"\0\0"
                for _ in range(struct.unpack(">H", stream.read(2))[0]):
                    x, y, width, height, encoding = struct.unpack(">HHHHi", stream.read(12))
                    assert encoding == 0
                    for row in range(height):
                        at = ((y + row) * self.width + x) * 4
                        self.pixels[at : at + width * 4] = stream.read(width * 4)
                    left -= width * height

    def at(self, x, y):
        blue, green, red = self.pixels[(y * self.width + x) * 4 : (y * self.width + x) * 4 + 3]
        return red, green, blue


SAMPLE = """
        const canvas = [...document.querySelectorAll('#screen canvas')].find((one) => one.id !== 'ghost');
        const copy = document.createElement('canvas'), points = [];
        copy.width = canvas.width, copy.height = canvas.height;
        const context = copy.getContext('2d', {willReadFrequently: true});
        context.drawImage(canvas, 0, 0);
        const data = context.getImageData(0, 0, copy.width, copy.height).data;
        for (let y = 5; y < copy.height; y += 23)
                for (let x = 5; x < copy.width; x += 31) {
                        const at = (y * copy.width + x) * 4;
                        points.push([x, y, data[at], data[at + 1], data[at + 2]]);
                }
        return [copy.width, copy.height, points];
"""


def shows_the_desktop(lab, driver, hostname):
    """The browser's picture is the VM's: lossy compression may change a colour a little, text may blink."""
    def same():
        width, height, points = driver.execute_script(SAMPLE)
        try:
            screen = Screen(lab, hostname)
        except (OSError, struct.error) as error:  # Xvnc ends a viewer that cannot follow when its size changes
            raise AssertionError("no picture: %s" % error) from None
        assert (width, height) == (screen.width, screen.height), (width, height, screen.width, screen.height)
        alike = sum(max(abs(a - b) for a, b in zip(screen.at(x, y), colour)) < 40 for x, y, *colour in points)
        colours = {tuple(part // 16 for part in screen.at(x, y)) for x, y, *_ in points}
        assert alike > 0.97 * len(points) and len(colours) >= 3, "%d of %d points, %d colours" % (alike, len(points), len(colours))
        return True

    wait_until(same, PATIENCE, every=0.3)
