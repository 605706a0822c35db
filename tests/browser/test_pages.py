"""The pages in a real browser: they work with and without scripts, on a phone, by keyboard, and say nothing in the console."""

import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from lab import CODE, CRD

PAGES = ("/", "/admin", "/admin/create", "/admin/instances", "/admin/instances/delete", "/admin/operations", "/admin/collections",
         "/admin/logs/vm-1")
HOSTILE = "<img src=x onerror=alert(1)>\"'@example.org"


def until(browser, condition, timeout=30):
    # A page that is being replaced while it is read is read again.
    return WebDriverWait(browser, timeout, 0.05, (StaleElementReferenceException,)).until(lambda _: condition())


def text(browser):
    return browser.find_element(By.TAG_NAME, "body").text


def claim(browser, lab, email):
    browser.get(lab.url + "/")
    browser.find_element(By.NAME, "email").send_keys(email)
    browser.find_element(By.NAME, "crd_command").send_keys(CRD)
    browser.find_element(By.NAME, "email").send_keys(Keys.ENTER)


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("path", PAGES)
def test_fits_and_has_a_title(lab, browser, path, width):
    lab.add_vm("vm-1", email="a-person-with-a-rather-long-address@department.university.example.org")
    lab.add_vm("vm-2")
    browser.set_window_size(width, 900)
    browser.get(lab.admin_url(path))
    assert browser.title and browser.find_elements(By.TAG_NAME, "h1")
    assert browser.find_element(By.TAG_NAME, "html").get_attribute("lang")
    overflow = browser.execute_script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0, "%s is %d pixels too wide at %d" % (path, overflow, width)
    marked = browser.find_elements(By.CSS_SELECTOR, "nav a[aria-current]")
    assert len(marked) == (path != "/"), "the menu says where %s is" % path
    unnamed = browser.execute_script("""
        return [...document.querySelectorAll('input:not([type=hidden]), select, textarea, button, a')].filter(e =>
            !(e.labels && e.labels.length) && !e.textContent.trim() && !e.getAttribute('aria-label') && !e.title
        ).map(e => e.outerHTML)""")
    assert not unnamed, unnamed


def test_a_participant_gets_a_seat(lab, browser):
    lab.add_vm("vm-1")
    claim(browser, lab, "browser@example.org")
    until(browser, lambda: "vm-1" in text(browser))
    assert lab.vm("vm-1")["pin"] in text(browser)
    claim(browser, lab, "second@example.org")
    until(browser, lambda: "No machine is free" in text(browser))
    assert browser.find_element(By.NAME, "email").get_attribute("value") == "second@example.org"


def test_a_used_code_is_told_and_replaced(lab, browser):
    lab.add_vm("vm-1")
    claim(browser, lab, "code@example.org")
    until(browser, lambda: "vm-1" in text(browser))
    assert "already used" not in text(browser)
    lab.post("/api/vm-metrics/vm-1", json={"crd_generation": 1, "crd_outcome": "oauth"})
    until(browser, lambda: "That code was already used" in text(browser))
    browser.find_element(By.NAME, "crd_command").send_keys(CRD.replace(CODE, "4/0BAnother-code_of_the_same"))
    browser.find_element(By.CSS_SELECTOR, "[data-hosting] button").click()
    until(browser, lambda: "still yours" in text(browser) and "already used" not in text(browser))
    assert "4/0BAnother" in lab.vm("vm-1")["crd_command"] and lab.vm("vm-1")["email"] == "code@example.org"


def test_without_scripts(lab, browser_without_scripts):
    browser = browser_without_scripts
    lab.add_vm("vm-1")
    claim(browser, lab, "plain@example.org")
    until(browser, lambda: "vm-1" in text(browser) and lab.vm("vm-1")["pin"] in text(browser))
    browser.get(lab.admin_url("/admin/instances"))
    assert "plain@example.org" in text(browser)


def test_the_count_is_live(lab, browser):
    browser.get(lab.url + "/")
    before = text(browser)
    lab.add_vm("vm-1"), lab.add_vm("vm-2"), lab.add_vm("vm-3")
    until(browser, lambda: text(browser) != before and "3" in text(browser))


def test_instances_are_live(lab, browser):
    lab.add_vm("vm-1")
    browser.get(lab.admin_url("/admin/instances"))
    assert "vm-1" in text(browser)
    lab.post("/api/vm-status", json={"hostname": "vm-1", "status": "error"})
    until(browser, lambda: "error" in text(browser))
    lab.add_vm("vm-2")
    until(browser, lambda: "vm-2" in text(browser))
    with lab.database() as connection:
        with connection.transaction():
            connection.execute("insert into retired_hostnames (hostname) values ('vm-2')")
            connection.execute("delete from vms where hostname = 'vm-2'")
    until(browser, lambda: "vm-2" not in text(browser))


def test_an_operation_is_live(lab, browser):
    lab.sql("insert into operations (kind, state, epoch, mutating, last_line, progress_total) values ('launch', 'running', 1, false, 1, 2)")
    number = lab.sql("select id from operations")[0]["id"]
    lab.sql("insert into operation_lines (operation_id, line, message) values (%s, 1, %s)", number, "first " + HOSTILE)
    browser.get(lab.admin_url("/admin/operations/%d" % number))
    until(browser, lambda: "first " + HOSTILE in text(browser))
    lab.sql("insert into operation_lines (operation_id, line, message) values (%s, 2, %s)", number, "second " + HOSTILE)
    lab.sql("update operations set last_line = 2, progress_done = 1")
    until(browser, lambda: "second " + HOSTILE in text(browser))
    lab.sql("update operations set state = 'done', ended_at = now(), progress_done = 2")
    until(browser, lambda: "done" in text(browser))


def spans(browser):
    return [(span.get_attribute("class"), span.text) for span in browser.find_elements(By.CSS_SELECTOR, "[data-output] span")]


@pytest.mark.parametrize("live", [False, True])
def test_colours_are_shown(lab, browser, live):
    """By the template for lines that are there, by the script for those that come."""
    coloured = "\x1b]0;owned\x07\x1b[2J\x1b[1;31m<script>document.title = 'owned'</script>\x1b[999999m\x1b[30;40mhidden\x1b[0m end"
    lab.sql("insert into operations (kind, state, epoch, mutating, last_line) values ('launch', 'running', 1, false, 1)")
    number = lab.sql("select id from operations")[0]["id"]
    if live:
        browser.get(lab.admin_url("/admin/operations/%d" % number))
    lab.sql("insert into operation_lines (operation_id, line, message) values (%s, 1, %s), (%s, 2, 'plain')", number, coloured, number)
    lab.sql("update operations set last_line = 2")
    if not live:
        browser.get(lab.admin_url("/admin/operations/%d" % number))
    until(browser, lambda: "hidden end\nplain" in text(browser))
    assert spans(browser) == [("sgr-1 sgr-31", "<script>document.title = 'owned'</script>"), ("sgr-1 sgr-30 sgr-40", "hidden")]
    assert browser.find_element(By.CSS_SELECTOR, "[data-output]").get_property("textContent").count("\x1b") == 0
    red, hidden = browser.find_elements(By.CSS_SELECTOR, "[data-output] span")
    plain = browser.find_element(By.CSS_SELECTOR, "[data-output]").value_of_css_property("color")
    assert red.value_of_css_property("font-weight") == "700" and red.value_of_css_property("color") != plain
    assert hidden.value_of_css_property("color") != hidden.value_of_css_property("background-color")
    assert "owned" not in browser.title


def test_hostile_words_stay_words(lab, browser):
    lab.add_vm("vm-1", email=HOSTILE)
    lab.post("/api/vm-logs", json={"log_stream": "vm-1", "messages": ["<script>document.title='owned'</script>", HOSTILE]})
    for path in ("/admin/instances", "/admin/logs/vm-1"):
        browser.get(lab.admin_url(path))
        until(browser, lambda: HOSTILE in text(browser))
        assert "owned" not in browser.title


def test_release_asks_first(lab, browser):
    lab.add_vm("vm-1", email="leaving@example.org")
    browser.get(lab.admin_url("/admin/instances"))
    form = browser.find_element(By.CSS_SELECTOR, "form[action$='/release']")
    assert form.get_attribute("method") == "post"
    for box in form.find_elements(By.CSS_SELECTOR, "input[type=checkbox]"):
        browser.execute_script("arguments[0].checked = true", box)
    browser.execute_script("arguments[0].requestSubmit()", form)
    until(browser, lambda: lab.vm("vm-1")["email"] is None)
