"""Into a seat by browser: the cookie opens it, a neighbour's e-mail does not, and what ends the seat ends the cookie."""

import concurrent.futures
import contextlib
import itertools
import re
import socket

import pytest
import requests

from lab import CODE, CRD, PATIENCE, Lab, wait_until

JSON = {"Accept": "application/json"}
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def desktop_lab():
    with Lab(name="desktop", config={"desktop": {"mode": "browser"}}) as lab:
        yield lab


@pytest.fixture
def lab(desktop_lab):
    desktop_lab.reset()
    yield desktop_lab
    desktop_lab.check_no_complaints()


@pytest.fixture
def email():
    return "seat%d@example.org" % next(numbers)


def claim(lab, email, session=None, **fields):
    """A form, as a browser sends it, in a browser of its own or that of `session`."""
    return (session or lab.session()).post(lab.url + "/api/request_vm", data={"email": email, **fields}, allow_redirects=False, timeout=60)


def claim_json(lab, email, session=None, **fields):
    return (session or lab.session()).post(lab.url + "/api/request_vm", json={"email": email, **fields}, headers=JSON, timeout=60)


def page(lab, session):
    return session.get(lab.url + "/desktop", allow_redirects=False, timeout=60)


def sits(lab, session):
    """The host name of this browser's seat, or None."""
    answer = session.get(lab.url + "/api/desktop", timeout=60)
    assert answer.status_code in (200, 404), answer.text
    return answer.json()["hostname"] if answer.status_code == 200 else None


def answers(lab):
    with contextlib.suppress(requests.ConnectionError):
        return lab.get("/readyz").status_code == 200


def code_on(page):
    return re.search(r"[2-9A-Z]{4}-[2-9A-Z]{4}", page.text).group(0)


def test_a_claim_opens_the_desktop(lab, email):
    lab.add_vm("vm-1")
    with lab.session() as browser:
        answer = claim(lab, email, browser)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/desktop?welcome")
        cookie = next(word for word in answer.raw.headers.getlist("Set-Cookie") if word.startswith("lablink_seat="))
        assert "; HttpOnly" in cookie and "; SameSite=Lax" in cookie and "; Path=/;" in cookie and "Secure" not in cookie
        shown = page(lab, browser)
        assert shown.status_code == 200 and "vm-1" in shown.text and email in shown.text
        assert sits(lab, browser) == "vm-1"
        # what would let somebody in is nowhere in the database
        secrets = (browser.cookies["lablink_seat"], code_on(shown))
        for row in lab.sql("select to_jsonb(c)::text as row from desktop_cookies c union all select to_jsonb(s)::text from desktop_seats s"):
            assert not any(secret in row["row"] for secret in secrets)
        assert not any(secret in lab.log() for secret in secrets)
        assert "crd_command" not in lab.get("/").text


def test_secure_where_the_lab_is_https(email):
    lab = Lab(name="https", config={"desktop": {"mode": "browser"}, "listen": {"public_url": "https://localhost"}})
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        lab.port = probe.getsockname()[1]
    lab.url = "http://127.0.0.1:%d" % lab.port
    try:
        lab.start(wait=False)
        wait_until(lambda: answers(lab), PATIENCE)
        lab.add_vm("vm-1")
        assert all("; Secure" in word for word in claim(lab, email).raw.headers.getlist("Set-Cookie"))
        lab.stop()
    finally:
        lab.remove()


def test_a_seat_that_goes_while_it_is_entered(lab, email):
    """Released between the look at who holds it and the claim: the new seat has a code and a cookie of its own."""
    lab.add_vm("vm-1"), lab.add_vm("vm-2")
    with lab.session() as browser, lab.database() as release, concurrent.futures.ThreadPoolExecutor(1) as pool:
        claim(lab, email, browser)
        with release.transaction():
            release.execute("update vms set email = null, crd_command = null, pin = null, needs_reset = true,"
                            " generation = generation + 1 where hostname = 'vm-1'")
            answer = pool.submit(claim_json, lab, email, browser)
            wait_until(lambda: lab.sql("select 1 from pg_stat_activity where wait_event_type = 'Lock'"), PATIENCE, every=0.02)
        answer = answer.result()
        assert answer.status_code == 200 and answer.json()["hostname"] == "vm-2", answer.text
        assert answer.json()["return_code"] and not answer.json()["returning"]
        assert sits(lab, browser) == "vm-2"
    with lab.session() as other:
        assert claim_json(lab, email, other).json()["code"] == "return-code"


def test_a_neighbours_email_opens_nothing(lab, email):
    lab.add_vm("vm-1"), lab.add_vm("vm-2")
    with lab.session() as mine, lab.session() as other:
        claim(lab, email, mine)
        code = code_on(page(lab, mine))
        before = lab.vm("vm-1")
        refused = claim_json(lab, email, other)
        assert (refused.status_code, refused.json()["code"]) == (403, "return-code")
        form = claim(lab, email, other)
        assert form.status_code == 200 and 'name="return_code"' in form.text and "vm-1" not in form.text
        for wrong in ("AAAA-AAAA", "", "%", code[:-1], "\u00e9" * 8):
            assert claim_json(lab, email, other, return_code=wrong).status_code in (403, 422), wrong
        assert sits(lab, other) is None and not other.cookies.get("lablink_seat")
        assert lab.vm("vm-1") == before and lab.vm("vm-2")["email"] is None
        # the code, as somebody types it; the browser before is out
        answer = claim(lab, email.upper(), other, return_code=" " + code.lower().replace("-", " "))
        assert (answer.status_code, answer.headers["Location"]) == (303, "/desktop")
        assert sits(lab, other) == "vm-1" and sits(lab, mine) is None
        assert code_on(page(lab, other)) == code
        assert page(lab, mine).headers["Location"] == "/?desktop=none"
        assert "no desktop open" in mine.get(lab.url + "/?desktop=none").text


def test_the_same_browser_comes_back_without_a_code(lab, email):
    lab.add_vm("vm-1")
    with lab.session() as browser:
        first = claim_json(lab, email, browser).json()
        cookie = browser.cookies["lablink_seat"]
        assert first["desktop"] == "/desktop" and first["return_code"] and first["returning"] is False
        again = claim_json(lab, email, browser).json()
        assert again["returning"] is True and again["return_code"] is None and again["generation"] == first["generation"]
        assert browser.cookies["lablink_seat"] == cookie and sits(lab, browser) == "vm-1"


def test_wrong_codes_are_slowed_down(lab, email):
    lab.add_vm("vm-1")
    with lab.session() as mine:
        claim(lab, email, mine)
        said = [claim_json(lab, email, return_code="ABCD-EFG%d" % (2 + n % 8)).status_code for n in range(14)]
        assert said[0] == 403 and said[-1] == 429 and set(said) == {403, 429}
        assert sits(lab, mine) == "vm-1" # whoever sits in it does not notice


def test_by_email_alone_where_the_lab_says_so(new_lab, email):
    lab = new_lab(config={"desktop": {"mode": "browser"}, "security": {"claim_return": "email"}})
    lab.add_vm("vm-1")
    with lab.session() as mine, lab.session() as other:
        claim(lab, email, mine), claim(lab, email, other)
        assert sits(lab, other) == "vm-1" and sits(lab, mine) is None


@pytest.mark.parametrize("how", ["release", "leave", "gone"])
def test_what_ends_the_cookie(lab, email, how):
    lab.add_vm("vm-1")
    with lab.session() as browser:
        claim(lab, email, browser)
        cookie = browser.cookies["lablink_seat"]
        if how == "release":
            lab.post("/api/admin/vms/vm-1/release", json={"yes": True}, admin=True, headers=JSON)
            lab.sql("update vms set needs_reset = false")
        elif how == "leave":
            assert browser.post(lab.url + "/api/desktop/leave", allow_redirects=False).status_code == 303
            assert "lablink_seat" not in browser.cookies and lab.vm("vm-1")["email"] == email
        else:
            lab.sql("delete from vms")
        with lab.session() as thief:
            thief.cookies.set("lablink_seat", cookie)
            assert sits(lab, thief) is None and page(lab, thief).status_code == 303
            if how == "release":  # nor does it open the next person's seat, or the same person's next one
                claim(lab, "next-" + email)
                assert lab.vm("vm-1")["email"] == "next-" + email and sits(lab, thief) is None


@pytest.mark.parametrize("cookie", ["", "x", "A" * 43, "A" * 44, "' or 1=1 --", "%00" * 14])
def test_no_such_cookie(lab, cookie):
    lab.add_vm("vm-1", email="held@example.org")
    headers = {"Cookie": "lablink_seat=" + cookie, **JSON}
    assert lab.get("/api/desktop", headers=headers).status_code == 404
    assert lab.post("/api/desktop/first-frame", json={"seconds": 1}, headers=headers).status_code == 404
    assert lab.post("/api/desktop/assist", json={"allow": True}, headers=headers).status_code == 404
    assert lab.get("/desktop", headers={"Cookie": "lablink_seat=" + cookie}).status_code == 303


def test_the_same_new_email_at_once(lab, email):
    """One gets in; who was a moment later is asked for the code, like any other browser."""
    for n in range(8):
        lab.add_vm("vm-%d" % n)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda _: claim_json(lab, email), range(8)))
    assert sorted(answer.status_code for answer in said) == [200] + [403] * 7, [answer.text for answer in said]
    assert len([vm for vm in lab.vms() if vm["email"]]) == 1


def test_first_frame_and_help(lab, email):
    lab.add_vm("vm-1")
    with lab.session() as browser:
        claim(lab, email, browser)
        post = lambda path, body: browser.post(lab.url + path, json=body, headers=JSON).status_code
        for wrong in ({}, {"seconds": "1"}, {"seconds": 0}, {"seconds": -1}, {"seconds": 1e9}, {"seconds": True}, {"seconds": None}):
            assert post("/api/desktop/first-frame", wrong) == 422, wrong
        assert post("/api/desktop/first-frame", {"seconds": 0.3124}) == 200
        assert lab.vm("vm-1")["metrics"]["desktop_first_frame_seconds"] == 0.312
        state = lambda: browser.get(lab.url + "/api/desktop").json()
        assert state()["assist"] is False
        assert post("/api/desktop/assist", {"allow": "yes"}) == 422
        assert post("/api/desktop/assist", {"allow": True}) == 200 and state()["assist"] is True
        assert post("/api/desktop/assist", {"allow": False}) == 200 and state()["assist"] is False
        # another site's page cannot do it with this browser's cookie
        foreign = browser.post(lab.url + "/api/desktop/assist", json={"allow": True}, headers={"Origin": "http://evil.example"})
        assert foreign.status_code == 403 and state()["assist"] is False


def test_a_machine_at_another_allocator(lab, email):
    lab.add_vm("vm-1")
    with lab.session() as browser:
        claim(lab, email, browser)
        assert "connect-src 'self';" in page(lab, browser).headers["Content-Security-Policy"]
        put = "insert into agent_links (vm_id, link, url) select id, 'x', %s from vms on conflict (vm_id) do update set url = excluded.url"
        lab.sql(put, "https://b.example:8443")
        assert "connect-src 'self' wss://b.example:8443;" in page(lab, browser).headers["Content-Security-Policy"]
        ticket = browser.post(lab.url + "/api/desktop/ticket", headers=JSON).json()
        assert ticket["url"] == "wss://b.example:8443/desktop/ws" and ticket["protocols"][1].startswith("lablink.ticket.")
        lab.sql(put, "https://b.example; script-src *")
        assert "script-src *" not in page(lab, browser).headers["Content-Security-Policy"]


def test_either_way(new_lab, email):
    lab = new_lab(config={"desktop": {"mode": "both"}})
    lab.add_vm("vm-1"), lab.add_vm("vm-2")
    with lab.session() as mine, lab.session() as other:
        answer = claim(lab, email, mine, crd_command=CRD)
        assert answer.status_code == 200 and lab.vm("vm-1")["pin"] in answer.text and "/desktop" in answer.text
        code = re.search(r"[2-9A-Z]{4}-[2-9A-Z]{4}", answer.text).group(0)
        assert sits(lab, mine) == "vm-1" and CODE in lab.vm("vm-1")["crd_command"]
        # nobody else's code gets to this person's machine
        assert claim_json(lab, email, other, crd_command=CRD.replace(CODE, "4/0BNewCode-of_a_thief")).status_code == 403
        assert CODE in lab.vm("vm-1")["crd_command"]
        # coming back by browser leaves the code as it is, a new code goes to the machine
        assert claim(lab, email, mine).status_code == 303 and CODE in lab.vm("vm-1")["crd_command"]
        claim(lab, email, mine, crd_command=CRD.replace(CODE, "4/0BNewCode-of_the_same"))
        assert "4/0BNewCode-of_the_same" in lab.vm("vm-1")["crd_command"] and lab.vm("vm-1")["generation"] == 2
        assert claim(lab, "two-" + email, other).status_code == 303 and lab.vm("vm-2")["crd_command"] == ""
        waits = lab.startup("vm-2", body={"generation": 0}).result(60)
        assert waits.json()["command"] == "" and waits.json()["email"] == "two-" + email


def test_a_lab_with_codes_only_is_as_it_was(new_lab, email):
    lab = new_lab(config={"desktop": {"mode": "crd"}})
    lab.add_vm("vm-1")
    assert lab.get("/desktop").status_code == 303
    answer = claim(lab, email, crd_command=CRD)
    assert answer.status_code == 200 and "Set-Cookie" not in answer.headers
    assert claim_json(lab, email).json()["code"] == "missing-field"
    assert set(claim_json(lab, email, crd_command=CRD).json()) == {"hostname", "pin", "email", "generation", "returning", "notice"}


def test_watching_is_for_administrators(lab):
    lab.add_vm("vm-1")
    assert lab.get("/admin/desktop/vm-1").status_code == 401
    assert "/desktop/ws?view=vm-1" in lab.get("/admin/desktop/vm-1", admin=True).text
    assert "/desktop/ws?assist=vm-1" in lab.get("/admin/desktop/vm-1?assist", admin=True).text
    assert lab.get("/admin/desktop/vm-9", admin=True).status_code == 404


def test_what_became_of_a_code(new_lab, email):
    lab = new_lab(config={"desktop": {"mode": "crd"}})
    lab.add_vm("vm-1")
    generation = claim_json(lab, email, crd_command=CRD).json()["generation"]
    lab.add_vm("vm-2")
    outcome = lambda n=generation, name="vm-1": lab.get("/api/seats/%s/outcome?generation=%s" % (name, n))
    others = [outcome(1, name) for name in ("vm-2", "vm-9", "-no-name")]  # free, unknown, none at all
    assert {(answer.status_code, answer.text) for answer in others} == {(404, outcome(99).text)}
    assert outcome().json()["outcome"] == "waiting"
    said = lambda **words: lab.post("/api/vm-metrics/vm-1", json=words).status_code
    assert said(crd_generation=generation, crd_outcome="oauth") == 200
    assert outcome().json()["outcome"] == "oauth" and "already used" in outcome().json()["sentence"]
    # a new code: the same seat, and the old word says nothing any more
    newer = claim_json(lab, email, crd_command=CRD.replace(CODE, "4/0BNewCode-of_the_same")).json()
    assert newer["returning"] and newer["hostname"] == "vm-1" and newer["generation"] == generation + 1
    assert outcome().status_code == 404 and outcome(newer["generation"]).json()["outcome"] == "waiting"
    assert said(crd_generation=generation, crd_outcome="done") == 200 and outcome(newer["generation"]).json()["outcome"] == "waiting"
    assert said(crd_generation={"x": [1]}, crd_outcome={"y": 2}) == 200 and outcome(newer["generation"]).json()["outcome"] == "waiting"
    assert said(crd_generation=str(newer["generation"]), crd_outcome="<b>x</b>" * 100) == 200
    assert outcome(newer["generation"]).json()["outcome"] == "waiting"
    for wrong in ("x", "0", "-1", "1e3", "99999999999999999999", ""):
        assert outcome(wrong).status_code == 422, wrong
