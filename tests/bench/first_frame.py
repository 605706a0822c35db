"""From the click on the claim button to the first picture of the desktop: real Chromium, a real VM, the page's own clock.

Each claim is a new person in a browser without cookies and cache. The way to the lab is loopback, or a proxy that holds
each byte back for half of a round trip. Needs root, for the VM, and the packages of [browser]; without them no line is
printed.
"""

import asyncio
import contextlib
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "browser")]

from lab import Lab, wait_until  # noqa: E402

CLAIMS = 50
WAYS = ((0, 0.4), (50, 1.0))  # milliseconds of a round trip, and the goal in seconds


async def carry(reader, writer, seconds):
    """What comes in goes out `seconds` later, in its order."""
    loop, queue = asyncio.get_running_loop(), asyncio.Queue()

    async def send():
        while True:
            due, data = await queue.get()
            await asyncio.sleep(max(0, due - loop.time()))
            if not data:
                return writer.close()
            writer.write(data)
            await writer.drain()

    sender = asyncio.ensure_future(send())
    data = True
    while data:
        try:
            data = await reader.read(65536)
        except OSError:
            data = b""
        queue.put_nowait((loop.time() + seconds, data))
    with contextlib.suppress(OSError):
        await sender


async def proxy(target, seconds):
    """In front of 127.0.0.1:`target`, each direction `seconds` late; says its port."""
    async def serve(reader, writer):
        await asyncio.sleep(2 * seconds)  # the handshake's own round trip
        there, back = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(carry(reader, back, seconds), carry(there, writer, seconds))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextlib.contextmanager
def delayed(port, milliseconds):
    """The port at which 127.0.0.1:`port` is a round trip of that many milliseconds away."""
    if not milliseconds:
        yield port
        return
    words = [sys.executable, __file__, str(port), str(milliseconds / 2000)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def one(lab, browser, url, number):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    lab.sql("update vms set email = null, crd_command = null, pin = null")
    browser.get("about:blank")
    browser.execute_cdp_cmd("Network.clearBrowserCookies", {})
    browser.execute_cdp_cmd("Network.clearBrowserCache", {})
    browser.get(url)
    browser.find_element(By.NAME, "email").send_keys("frame%d@example.org" % number, Keys.ENTER)
    said = wait_until(lambda: browser.execute_script("return document.body.dataset.firstFrame"), 60, lambda: browser.page_source[:2000], every=0.02)
    return float(said) / 1000


def rows():
    """Two lines a way: p50 and p99 of CLAIMS claims."""
    if os.geteuid() != 0 or not shutil.which("Xvnc") or not shutil.which("chromedriver"):
        return []
    from chromium import start, stop

    found = []
    browser = start(1280, 800)
    try:
        with Lab(name="bench-frame", config={"desktop": {"mode": "browser"}}) as lab:
            lab.launch(1)
            wait_until(lambda: lab.get("/api/unassigned_vms_count").json()["count"] == 1, 120)
            for milliseconds, goal in WAYS:
                with delayed(lab.port, milliseconds) as port:
                    url = "http://127.0.0.1:%d/" % port
                    one(lab, browser, url, 0)
                    times = sorted(one(lab, browser, url, number) for number in range(1, CLAIMS + 1))
                for name, value in (("p50", times[CLAIMS // 2]), ("p99", times[-1])):
                    found.append({"what": "click to first picture, %d ms, %s" % (milliseconds, name), "value": value * 1e3, "unit": "ms",
                                  "below": goal * 1e3})
    finally:
        stop(browser)
    return found


if __name__ == "__main__":
    asyncio.run(proxy(int(sys.argv[1]), float(sys.argv[2])))
