"""The distribution's own Firefox, headless, driven by the protocol that it speaks itself (WebDriver BiDi): no driver
beside it is packaged. It knows the calls that helpers of these tests make on Selenium's drivers, and no others.
"""

import asyncio
import base64
import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time

import websockets
from selenium.webdriver.common.keys import Keys

PATIENCE = 90
# What a new profile would ask, fetch or report by itself.
PREFERENCES = {
    "app.normandy.enabled": False,
    "app.update.disabledForTesting": True,
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.systemAddon.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "network.proxy.type": 0,
    "services.settings.server": "data:,",
    "toolkit.telemetry.server": "",
}
CENTRE = """
        const element = document.querySelector(arguments[0]);
        element.scrollIntoView({block: 'nearest'});
        const box = element.getBoundingClientRect();
        return [Math.floor(box.x + box.width / 2), Math.floor(box.y + box.height / 2)];
"""


def program():
    return os.environ.get("FIREFOX") or shutil.which("firefox-esr")


def start(width=1100, height=800):
    return Firefox(width, height)


def stop(driver):
    driver.quit()


class Element:
    def __init__(self, driver, selector):
        self.driver, self.selector = driver, selector

    def _ask(self, expression):
        return self.driver.execute_script("const it = document.querySelector(arguments[0]); return " + expression, self.selector)

    @property
    def text(self):
        return self._ask("it.innerText")

    def get_attribute(self, name):
        return self._ask("it.getAttribute(%s)" % json.dumps(name))

    def click(self):
        x, y = self.driver.execute_script(CENTRE, self.selector)
        self.driver.perform("pointer", [
            {"type": "pointerMove", "x": x, "y": y}, {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}])

    def send_keys(self, *texts):
        self._ask("it.focus()")
        self.driver.press("".join(texts))


class Firefox:
    def __init__(self, width, height):
        self.profile_directory = tempfile.mkdtemp(prefix="lablink-test-browser-")
        with open(self.profile_directory + "/user.js", "w") as stream:
            for name, value in PREFERENCES.items():
                stream.write("user_pref(%s, %s);\n" % (json.dumps(name), json.dumps(value)))
        self.log = open(self.profile_directory + "/log", "w+")
        words = [program(), "--headless", "--no-remote", "--remote-debugging-port=0", "--profile", self.profile_directory]
        environment = {**os.environ, "HOME": self.profile_directory, "MOZ_CRASHREPORTER_DISABLE": "1"}
        environment.pop("DISPLAY", None)
        # A session of its own: whatever it starts is ended with it.
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=environment,
                                        start_new_session=True)
        self.loop, self.socket, self.number, self.said = asyncio.new_event_loop(), None, 0, []
        try:
            self.socket = self.loop.run_until_complete(self._connect(self._address() + "/session"))
            self.call("session.new", capabilities={})
            self.call("session.subscribe", events=["log.entryAdded"])
            self.context = self.call("browsingContext.getTree")["contexts"][0]["context"]
            self.set_window_size(width, height)
        except BaseException:
            self.quit()
            raise

    def _address(self):
        """The port is free of choice: it is told once Firefox listens."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.process.poll() is None:
            self.log.seek(0)
            found = re.search(r"listening on (ws://\S+)", self.log.read())
            if found:
                return found.group(1)
            time.sleep(0.05)
        self.log.seek(0)
        raise AssertionError("Firefox does not listen (%s):\n%s" % (self.process.poll(), self.log.read()[-2000:]))

    def quit(self):
        if self.socket:
            self.loop.run_until_complete(self.socket.close())
        self.loop.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, 9)
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.profile_directory, ignore_errors=True)

    # --- the protocol ------------------------------------------------------------------------------------------------

    def call(self, method, **parameters):
        """One command and its answer; what is reported in between is kept."""
        return self.loop.run_until_complete(asyncio.wait_for(self._call(method, parameters), PATIENCE))

    async def _connect(self, url):
        return await websockets.connect(url, max_size=None, ping_interval=None)

    async def _call(self, method, parameters):
        self.number += 1
        await self.socket.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            message = json.loads(await self.socket.recv())
            if message.get("id") == self.number:
                assert message["type"] == "success", "%s: %s" % (method, message.get("message"))
                return message["result"]
            if message.get("method") == "log.entryAdded":
                entry = message["params"]
                self.said.append({"level": entry["level"], "message": "%s %s" % (entry["level"], entry["text"])})

    def perform(self, kind, actions):
        self.call("input.performActions", context=self.context, actions=[{"type": kind, "id": kind, "actions": actions}])

    # --- Selenium's calls --------------------------------------------------------------------------------------------

    def get(self, url):
        self.call("browsingContext.navigate", context=self.context, url=url, wait="complete")

    def refresh(self):
        self.call("browsingContext.reload", context=self.context, wait="complete")

    @property
    def current_url(self):
        return self.execute_script("return location.href")

    def execute_script(self, script, *arguments):
        """Its value travels as JSON; a promise is waited for."""
        said = self.call("script.callFunction", target={"context": self.context}, awaitPromise=True, functionDeclaration=(
            "async (given) => JSON.stringify(await (function () {%s}).apply(null, JSON.parse(given)))" % script),
            arguments=[{"type": "string", "value": json.dumps(arguments)}])
        assert said["type"] == "success", said["exceptionDetails"]["text"]
        return json.loads(said["result"]["value"]) if "value" in said["result"] else None

    def find_elements(self, by, value):
        selector = {"id": "#%s", "name": "[name=%s]"}.get(by, "%s") % value
        return [Element(self, selector)] if self.execute_script("return !!document.querySelector(arguments[0])", selector) else []

    def find_element(self, by, value):
        found = self.find_elements(by, value)
        assert found, "no %s %s at %s" % (by, value, self.current_url)
        return found[0]

    def press(self, text):
        named = {"\n": Keys.ENTER, "\t": Keys.TAB}
        keys = [named.get(character, character) for character in text]
        self.perform("key", [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")])

    def set_window_size(self, width, height):
        self.call("browsingContext.setViewport", context=self.context, viewport={"width": width, "height": height})

    def get_cookie(self, name):
        found = self.call("storage.getCookies", filter={"name": name}, partition={"type": "context", "context": self.context})
        return found["cookies"][0] if found["cookies"] else None

    def forget(self):
        """As a profile that nobody has used."""
        self.get("about:blank")
        self.call("storage.deleteCookies")
        self.get_log("browser")

    def get_log(self, _kind):
        said, self.said = self.said, []
        return said

    def save_screenshot(self, path):
        with open(path, "wb") as stream:
            stream.write(base64.b64decode(self.call("browsingContext.captureScreenshot", context=self.context)["data"]))
