"""The distribution's own Chromium, headless, driven by the driver of its package."""

import os
import shutil
import tempfile

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

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
    driver.press = lambda text: ActionChains(driver).send_keys(text).perform()
    return driver


def stop(driver):
    driver.quit()
    shutil.rmtree(driver.profile_directory, ignore_errors=True)
