"""Desktops through the allocator: who is let in, what ends a socket and with which code, what hostile peers achieve
(nothing), and what comes back by itself. docs/desktop.md is the contract.
"""

import asyncio
import base64
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import time

import pytest
import websockets

from desktop_net import (PROTOCOL, VERSION, Agent, Desktop, Front, Refused, Viewer, browse, close_code, connect, digest, ending, frame, handshake, has_xvnc,
                         said, sit, status_of)
from lab import PATIENCE, wait_until

needs_xvnc = pytest.mark.skipif(not has_xvnc(), reason="Xvnc is not installed")


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 5 * PATIENCE))


async def refused(connecting):
    with pytest.raises(Refused) as error:
        async with connecting:
            pass
    return status_of(error.value)


def admin_headers(lab):
    """Of a browser that has logged in."""
    assert lab.get("/admin", admin=True).status_code == 200
    return {"Authorization": "Basic " + base64.b64encode(":".join(lab.admin).encode()).decode()}


# --- who is let in ----------------------------------------------------------------------------------------------------


def test_each_browser_gets_its_own_seat(lab):
    lab.add_vm("vm-1"), lab.add_vm("vm-2")
    ann, bob = sit(lab, "vm-1", "ann@example.org"), sit(lab, "vm-2", "bob@example.org")

    async def go():
        async with Agent(lab, "vm-1") as one, Agent(lab, "vm-2", spare=True) as two:
            await two.asked_for("spare")
            await two.until(lambda: two.data)
            for cookie, agent in ((ann, one), (bob, two), (ann, one)):
                async with browse(lab, cookie) as page:
                    assert page.subprotocol == "binary"
                    assert await said(page.recv()) == b"hello from " + agent.hostname.encode()
                    taken = len(agent.taken)
                    await page.send(b"x" * 70000)
                    await agent.until(lambda: len(agent.taken) == taken + 70000)
            async with browse(lab, ann, protocols=()) as page:
                assert page.subprotocol is None
                assert await said(page.recv()) == b"hello from vm-1"

    run(go())


def test_who_is_not_let_in(lab):
    lab.add_vm("vm-1")
    cookie = sit(lab, "vm-1")

    async def go():
        async with Agent(lab, "vm-1"):
            for origin in ("http://evil.example", "null", lab.url + ".evil.example", "https://127.0.0.1"):
                assert await refused(browse(lab, cookie, origin=origin)) == 403
            async with browse(lab, cookie, origin=False) as page:  # no browser
                assert await said(page.recv())
            for wrong in (None, "x", "y" * 43, secrets.token_urlsafe(32), cookie[:-1] + ("A" if cookie[-1] != "A" else "B"), "\u00e9" * 21):
                async with browse(lab, wrong) as page:
                    assert await ending(page) == (4004, "no-seat")
            for query in ("?view=vm-1", "?assist=vm-1"):
                async with browse(lab, cookie, query) as page:
                    assert await ending(page) == (4005, "forbidden")

    run(go())
    for headers, status in (({}, 426), ({"Upgrade": "websocket"}, 426), ({"Upgrade": "h2c", "Connection": "Upgrade"}, 426)):
        assert lab.get("/desktop/ws", headers={"Cookie": "lablink_seat=" + cookie, **headers}).status_code == status
    assert lab.post("/desktop/ws").status_code == 405
    for line in ("Sec-WebSocket-Version: 8", "Sec-WebSocket-Key: short", "Sec-WebSocket-Key: " + "é" * 24):
        name = line.split(":")[0]
        said_ = lab.raw("GET /desktop/ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n" + "".join(
            "%s: %s\r\n" % (n, v) for n, v in (("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")) if n != name)
            + line + "\r\n\r\n")
        assert said_.split()[1] in (b"400", b"426"), said_


def test_a_seat_that_ends_closes_what_is_open(lab):
    lab.add_vm("vm-1"), lab.add_vm("vm-2")
    other = sit(lab, "vm-2", "other@example.org")
    ways = {
        "by this allocator": lambda: lab.post("/api/admin/vms/vm-1/release", admin=True, json={"yes": True}, headers={"Accept": "application/json"}),
        "by another one": lambda: lab.sql("update vms set email = null, crd_command = null, pin = null where hostname = 'vm-1'"),
        "given to somebody else": lambda: lab.sql("update vms set email = 'new@example.org' where hostname = 'vm-1'"),
        "destroyed": lambda: lab.sql("delete from vms where hostname = 'vm-1'"),
    }

    async def go():
        async with Agent(lab, "vm-1") as agent, Agent(lab, "vm-2"), browse(lab, other) as bystander:
            for way, end in ways.items():
                lab.sql("update vms set email = null, crd_command = null, pin = null, needs_reset = false where hostname = 'vm-1'")
                cookie = sit(lab, "vm-1")
                async with browse(lab, cookie) as page:
                    assert await said(page.recv()) == b"hello from vm-1", way
                    await asyncio.get_running_loop().run_in_executor(None, end)
                    assert await ending(page) == (4003, "seat-ended"), way
                async with browse(lab, cookie) as page:
                    assert await ending(page) == (4004, "no-seat"), way
            assert await agent.ended() == (4004, "unknown-vm")
            assert await said(bystander.recv()) == b"hello from vm-2"
            await bystander.send(b"still here")

    run(go())


def test_opened_elsewhere_and_too_many(lab):
    lab.add_vm("vm-1")
    first = sit(lab, "vm-1")

    async def go():
        async with Agent(lab, "vm-1"):
            pages = [await browse(lab, first) for _ in range(4)]
            for page in pages:
                assert await said(page.recv())
            async with browse(lab, first) as page:
                assert await ending(page) == (4008, "too-many")
            second = sit(lab, "vm-1")
            lab.sql("delete from desktop_cookies where hash = %s", digest(first))
            for page in pages:
                assert await ending(page) == (4001, "elsewhere")
            async with browse(lab, second) as page:
                assert await said(page.recv())

    run(go())


def test_no_tunnel_no_desktop_no_answer(lab):
    lab.add_vm("vm-1")
    cookie = sit(lab, "vm-1")

    async def go():
        async with browse(lab, cookie) as page:
            assert await ending(page) == (4010, "no-tunnel")
        async with Agent(lab, "vm-1", dial=False) as agent:
            async with browse(lab, cookie) as page:
                asked = await agent.asked_for("open")
                assert asked["target"] == "desktop"
                await agent.control.send(json.dumps({"refuse": {"id": asked["id"], "why": "not running"}, "news": 1}))
                assert await ending(page) == (1013, "no-desktop")
            async with browse(lab, cookie) as page:  # an agent that does not come
                assert await ending(page) == (1013, "no-answer")
        async with Agent(lab, "vm-1", greeting=None):  # a desktop that says nothing
            async with browse(lab, cookie) as page:
                assert await ending(page) == (1013, "no-answer")
        async with Agent(lab, "vm-1") as agent:
            async with browse(lab, cookie) as page:
                assert await said(page.recv())
                await agent.data[-1].close(1000)
                assert await ending(page) == (1000, "ended")
            async with browse(lab, cookie) as page:
                assert await said(page.recv())
                agent.data[-1].transport.abort()
                assert await ending(page) == (4011, "lost")

    run(go())


def test_another_allocator_and_its_tickets(lab):
    lab.add_vm("vm-1")
    cookie = sit(lab, "vm-1")
    assert lab.post("/api/desktop/ticket").status_code == 401
    lab.sql("insert into agent_links (vm_id, link, url) select id, 'theirs', %s from vms", lab.url)

    async def go():
        async with browse(lab, cookie) as page:
            assert await ending(page) == (4012, "other-allocator")
        ask = lambda: lab.post("/api/desktop/ticket", headers={"Cookie": "lablink_seat=" + cookie}).json()
        answer = ask()
        assert answer["url"] == lab.url.replace("http", "ws") + "/desktop/ws" and answer["protocols"][0] == "binary"
        async with Agent(lab, "vm-1"):
            async with browse(lab, None, origin="http://balancer.example", protocols=answer["protocols"]) as page:
                assert page.subprotocol == "binary"
                assert await said(page.recv()) == b"hello from vm-1"
                async with browse(lab, None, protocols=answer["protocols"]) as second:
                    assert await ending(second) == (4004, "no-seat")
                late = ask()
                sit(lab, "vm-1")
                lab.sql("delete from desktop_cookies where hash = %s", digest(cookie))
                assert await ending(page) == (4001, "elsewhere")  # it ends with the cookie that asked for its ticket
            async with browse(lab, None, protocols=late["protocols"]) as page:  # and so does a ticket that nobody has used yet
                assert await ending(page) == (4004, "no-seat")

    run(go())


# --- administrators ---------------------------------------------------------------------------------------------------

KEY, POINTER, CUT = b"\4\1\0\0\0\0\0a", b"\5\1\0\1\0\1", b"\6\0\0\0\0\0\0\5hello"
EXTENDED_CUT, SIZE, POWER, QEMU = b"\6\0\0\0\xff\xff\xff\xfbhello", b"\xfb\0\0\1\0\1\1\0" + b"x" * 16, b"\xfa\0\1\2", b"\xff\0" + b"q" * 10
FORMAT, UPDATE, FENCE, FLOW = b"\0\0\0\0" + b"f" * 16, b"\3\1\0\0\0\0\2\x80\1\xe0", b"\xf8\0\0\0\0\0\0\1\2ok", b"\x96\1" + b"u" * 8
ENCODINGS, SAFE_ENCODINGS = b"\2\0\0\2\0\0\0\7\xff\xff\xfe\xc4", b"\2\0\0\2\0\0\0\7\0\0\0\0"


def test_watching_is_watching(lab):
    lab.add_vm("vm-1")
    sit(lab, "vm-1")
    admin = admin_headers(lab)
    start = VERSION + b"\1\0"
    talk = KEY + FORMAT + ENCODINGS + POINTER + UPDATE + CUT + EXTENDED_CUT + FENCE + SIZE + POWER + FLOW + QEMU + UPDATE + KEY * 500 + UPDATE
    passed = VERSION + b"\1\1" + FORMAT + SAFE_ENCODINGS + UPDATE + FENCE + FLOW + UPDATE + UPDATE

    async def go():
        async with Agent(lab, "vm-1") as agent:
            for step in (1, 7, 100000):
                agent.taken.clear()
                async with browse(lab, headers=admin, query="?view=vm-1") as page:
                    assert await said(page.recv())
                    for at in range(0, len(start + talk), step):
                        await page.send((start + talk)[at : at + step])
                    await agent.until(lambda: len(agent.taken) >= len(passed))
                    assert bytes(agent.taken) == passed
            for wrong in (VERSION + b"\1\1\x07", VERSION + b"\2", b"RFB 003.003\n", VERSION + b"\1\1" + b"\2\0\xff\xff", b"GET / HTTP/1.1\r\n"):
                agent.taken.clear()
                async with browse(lab, headers=admin, query="?view=vm-1") as page:
                    assert await said(page.recv())
                    await page.send(wrong)
                    assert await ending(page) == (1003, "protocol")
            async with browse(lab, headers=admin, query="?view=vm-404") as page:
                assert await ending(page) == (4004, "no-seat")

    run(go())
    assert {row["action"] for row in lab.sql("select action from audit")} == {"watch"}


def test_assisting_needs_consent_and_is_noted(lab):
    lab.add_vm("vm-1")
    cookie = sit(lab, "vm-1")
    admin = admin_headers(lab)
    consent = ("insert into desktop_seats as s (vm_id, tenancy, assist_until) select id, tenancy, now() + interval '%s' from vms"
               " on conflict (vm_id) do update set assist_until = excluded.assist_until")

    async def go():
        async with Agent(lab, "vm-1") as agent, browse(lab, cookie) as page:
            assert await said(page.recv())
            async with browse(lab, headers=admin, query="?assist=vm-1") as helper:
                assert await ending(helper) == (4005, "forbidden")
            assert lab.sql("select 1 from audit") == []
            lab.sql(consent % "1 hour")
            async with browse(lab, headers=admin, query="?assist=vm-1") as helper:
                assert await said(helper.recv())
                await helper.send(VERSION + b"\1\1" + KEY)
                await agent.until(lambda: agent.taken.endswith(KEY))
                lab.sql(consent % "-1 second")
                assert await ending(helper) == (4005, "forbidden")
            await page.send(KEY)

    run(go())
    note = lab.sql("select who, action, detail from audit")
    assert note == [{"who": "admin", "action": "assist", "detail": {"hostname": "vm-1"}}]


# --- agents -----------------------------------------------------------------------------------------------------------


def test_an_agent_speaks_for_its_own_vm(lab):
    tokens = {name: secrets.token_urlsafe(32) for name in ("vm-1", "vm-2")}
    for name, token in tokens.items():
        lab.add_vm(name, token_hash=digest(token))
    cookie = sit(lab, "vm-1")

    def tunnel(hostname, token):
        headers = {"X-Lablink-Hostname": hostname}
        if token:
            headers["Authorization"] = "Bearer " + token
        return connect(lab, "/api/agent/tunnel", headers, (PROTOCOL,), origin=False)

    async def go():
        for hostname, token in (("vm-1", None), ("vm-1", tokens["vm-2"]), ("vm-1", "x"), ("vm-2", tokens["vm-1"])):
            assert await refused(tunnel(hostname, token)) == 401
        assert await refused(tunnel("vm-404", "x")) == 404  # `open` mode: unknown, as everywhere
        for bad in ("", "../etc", "a b"):
            assert await refused(tunnel(bad, tokens["vm-1"])) in (401, 404)
        assert await refused(connect(lab, "/api/agent/tunnel", {"X-Lablink-Hostname": "vm-1", "Authorization": "Bearer " + tokens["vm-1"]},
                                     ("other",), origin=False)) == 400
        async with Agent(lab, "vm-1", tokens["vm-1"], dial=False) as one, Agent(lab, "vm-2", tokens["vm-2"]) as two:
            async with browse(lab, cookie) as page:
                name = (await one.asked_for("open"))["id"]
                assert await refused(connect(lab, "/api/agent/data/" + name, two.headers, (PROTOCOL,), origin=False)) == 404  # another's id
                assert await refused(connect(lab, "/api/agent/data/" + name, {"X-Lablink-Hostname": "vm-1"}, (PROTOCOL,), origin=False)) == 401
                for guess in (secrets.token_urlsafe(32), "x", name[:-1], name + "A"):
                    assert await refused(connect(lab, "/api/agent/data/" + guess, one.headers, (PROTOCOL,), origin=False)) == 404
                task = asyncio.ensure_future(one.open(name))
                assert await said(page.recv()) == b"hello from vm-1"
                assert await refused(connect(lab, "/api/agent/data/" + name, one.headers, (PROTOCOL,), origin=False)) == 404  # used
                task.cancel()

    run(go())


def test_a_newer_agent_replaces_the_older(lab):
    lab.add_vm("vm-1")
    cookie = sit(lab, "vm-1")

    async def go():
        async with Agent(lab, "vm-1") as old:
            async with browse(lab, cookie) as page:
                assert await said(page.recv())
                async with Agent(lab, "vm-1", greeting=b"new ") as new:
                    assert await old.ended() == (4001, "replaced")
                    await page.send(b"the session goes on")
                    await old.until(lambda: bytes(old.taken) == b"the session goes on")
                    async with browse(lab, cookie) as second:
                        assert await said(second.recv()) == b"new vm-1"
                    assert len(lab.sql("select 1 from agent_links")) == 1
                    await said(await new.control.ping())
                wait_until(lambda: not lab.sql("select 1 from agent_links"))

    run(go())


@pytest.mark.parametrize("first", ["the guard", "the new agent"])
def test_a_new_secret_sends_the_old_agent_away(lab, first):
    """Nothing else of the VM changes, so that the secret alone is what is announced."""
    old, new = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    lab.add_vm("vm-1", token_hash=digest(old))
    cookie = sit(lab, "vm-1")
    change = "update vms set token_hash = %s where hostname = 'vm-1'"

    async def go():
        async with Agent(lab, "vm-1", old) as agent, browse(lab, cookie) as page:
            assert await said(page.recv()) == b"hello from vm-1"
            if first == "the guard":
                lab.sql(change, digest(new))
                assert await agent.ended() == (4004, "unknown-vm")
            else:  # nobody hears of the change before the new agent comes
                with lab.database() as db, db.transaction():
                    db.execute("alter table vms disable trigger vms_notify_update")
                    db.execute(change, (digest(new),))
                    db.execute("alter table vms enable trigger vms_notify_update")
            assert await refused(connect(lab, "/api/agent/tunnel", agent.headers, (PROTOCOL,), origin=False)) == 401
            async with Agent(lab, "vm-1", new, greeting=b"new ") as newer:
                assert await ending(page) == (4011, "lost")
                async with browse(lab, cookie) as again:
                    assert await said(again.recv()) == b"new vm-1"
                await said(await newer.control.ping())

    run(go())


def test_what_an_agent_may_say(lab):
    lab.add_vm("vm-1")

    async def go():
        for message, code in (("x" * 5000, 1009), (b"x" * 40000, 1009)):
            async with Agent(lab, "vm-1") as agent:
                await agent.control.send(message)
                assert (await agent.ended())[0] == code
        async with Agent(lab, "vm-1") as agent:
            for message in ("", "{", "[]", "7", '{"refuse": 7}', '{"refuse": {"id": "x"}}', '{"refuse": {"id": null, "why": {}}}', '{"later": true}', "[" * 4000):
                await agent.control.send(message)
            await said(await agent.control.ping())

    run(go())


def test_thumbnails(lab):
    lab.add_vm("vm-1")
    path = "/api/admin/vms/vm-1/thumbnail"
    jpeg = b"\xff\xd8\xff\xe0" + b"picture"
    get = lambda **more: lab.get(path, admin=True, **more)
    assert lab.get(path).status_code == 401
    assert get().status_code == 409
    assert lab.get("/api/admin/vms/vm-404/thumbnail", admin=True).status_code == 404

    async def go():
        call = lambda what, **more: asyncio.get_running_loop().run_in_executor(None, lambda: what(**more))
        async with Agent(lab, "vm-1") as agent:
            assert (await call(get)).status_code == 204
            assert await agent.asked_for("thumbnails") == {"seconds": 5, "for": 20}
            for wrong in (b"<script>alert(1)</script>", b"GIF89a", b"\xff\xd8"):
                await agent.control.send(wrong)
            await said(await agent.control.ping())
            assert (await call(get)).status_code == 204
            await agent.control.send(jpeg)
            while (await call(get)).status_code == 204:
                pass
            answer = await call(get)
            assert (answer.status_code, answer.content, answer.headers["Content-Type"]) == (200, jpeg, "image/jpeg")
            assert answer.headers["X-Content-Type-Options"] == "nosniff" and answer.headers["Cache-Control"] == "no-store"
            assert (await call(get, headers={"If-None-Match": answer.headers["ETag"]})).status_code == 304
        while (await call(get)).status_code != 409:
            pass

    run(go())


# --- those who break the rules ----------------------------------------------------------------------------------------

BAD_FRAMES = [
    ("reserved bit 1", frame(2, b"x", first=0xC2), 1002),
    ("reserved bit 2", frame(2, b"x", first=0xA2), 1002),
    ("reserved bit 3", frame(2, b"x", first=0x92), 1002),
    ("reserved opcode 3", frame(3, b"x"), 1002),
    ("reserved opcode 15", frame(15, b"x"), 1002),
    ("unmasked", frame(2, b"x", mask=False), 1002),
    ("2^63 long", frame(2, b"", length=1 << 63), 1002),
    ("2^64 - 1 long", frame(2, b"", length=(1 << 64) - 1), 1002),
    ("not the shortest form", frame(2, b"", length=5), 1002),
    ("fragmented ping", frame(9, b"x", fin=False), 1002),
    ("fragmented close", frame(8, b"\3\xe8", fin=False), 1002),
    ("long ping", frame(9, b"x" * 126), 1002),
    ("continuation of nothing", frame(0, b"x"), 1002),
    ("a message inside a message", frame(2, b"x", fin=False) + frame(2, b"y"), 1002),
    ("close of one byte", frame(8, b"\3"), 1002),
    ("close with code 1005", frame(8, b"\3\xed"), 1002),
    ("close with code 999", frame(8, b"\3\xe7"), 1002),
    ("close with a reason that is no UTF-8", frame(8, b"\3\xe8\xff"), 1007),
    ("a proper close", frame(8, b"\3\xe8bye"), 1000),
    ("a close without a code", frame(8), 0),
]


def test_frames_that_nobody_may_send(lab):
    lab.add_vm("vm-1"), lab.add_vm("vm-2")
    cookie = sit(lab, "vm-1")
    browser = ["Cookie: lablink_seat=" + cookie, "Origin: " + lab.url]
    agent_lines = ["X-Lablink-Hostname: vm-2", "Sec-WebSocket-Protocol: " + PROTOCOL]

    def attack(bytes_, early):
        early_bytes = bytes_ if early else b""
        sockets = [handshake(lab, "/desktop/ws", browser, early_bytes), handshake(lab, "/api/agent/tunnel", agent_lines, early_bytes)]
        assert [status for _, status, _ in sockets] == [101, 101]
        codes = []
        for connection, _, _ in sockets:
            if not early:
                connection.sendall(bytes_)
            codes.append(close_code(connection))
            connection.close()
        return codes

    async def go():
        loop = asyncio.get_running_loop()
        async with Agent(lab, "vm-1"):
            async with browse(lab, cookie) as bystander:
                assert await said(bystander.recv())
                for number, (name, bytes_, code) in enumerate(BAD_FRAMES):
                    codes = await loop.run_in_executor(None, attack, bytes_, number % 2 == 0)
                    assert codes == [code, code], name
                async with browse(lab, cookie) as page:
                    await page.send("a text")
                    assert await ending(page) == (1003, "protocol")
                await said(await bystander.ping())

    run(go())


def test_an_agents_session_that_breaks_the_rules(lab):
    """It ends alone: the VM's other session goes on, and so does its control connection."""
    lab.add_vm("vm-1")
    cookie = sit(lab, "vm-1")
    lines = ["X-Lablink-Hostname: vm-1", "Sec-WebSocket-Protocol: " + PROTOCOL]
    broken = [(bytes_, code) for _, bytes_, code in BAD_FRAMES if code in (1002, 1007)] + [(frame(1, b"a text"), 1000)]

    async def go():
        call = lambda *words: asyncio.get_running_loop().run_in_executor(None, *words)
        async with Agent(lab, "vm-1", dial=False) as agent, browse(lab, cookie) as bystander:
            asyncio.ensure_future(agent.open((await agent.asked_for("open"))["id"]))
            assert await said(bystander.recv()) == b"hello from vm-1"
            for bytes_, code in broken:
                async with browse(lab, cookie) as page:
                    name = (await agent.asked_for("open"))["id"]
                    data, status, _ = await call(handshake, lab, "/api/agent/data/" + name, lines, bytes_)
                    assert (status, await ending(page), await call(close_code, data)) == (101, (4011, "lost"), code), bytes_
                    data.close()
            await bystander.send(b"still here")
            await agent.until(lambda: bytes(agent.taken) == b"still here")
            await said(await agent.control.ping())

    run(go())


def test_a_peer_that_only_pings(lab):
    """And reads nothing: it is answered as long as its answers do not pile up, then it is read no more."""
    lab.add_vm("vm-1")
    web = lab.role("web")[0]
    before = web.pss_kb()
    lazy, status, _ = handshake(lab, "/api/agent/tunnel", ["X-Lablink-Hostname: vm-1", "Sec-WebSocket-Protocol: " + PROTOCOL])
    assert status == 101
    lazy.settimeout(3)
    pings, sent = frame(9, b"p" * 125) * 5000, 0
    with pytest.raises(socket.timeout):
        while sent < 200:
            lazy.sendall(pings)
            sent += 1
    assert web.pss_kb() - before < 16384
    assert lab.get("/healthz").status_code == 200
    lazy.close()


def test_an_independent_client_and_awkward_frames(lab):
    """Fragments, empty frames, pings between them, a ping with the most that fits, and 1 MB in one frame."""
    lab.add_vm("vm-1")
    cookie = sit(lab, "vm-1")

    async def go():
        async with Agent(lab, "vm-1") as agent, browse(lab, cookie) as page:
            assert await said(page.recv())
            await said(await page.ping(b"p" * 125))
            await page.send([b"a", b"", b"b" * 70000, b"c"])
            await page.send(b"")
            await page.send(b"d" * (1 << 20))
            wanted = b"a" + b"b" * 70000 + b"c" + b"d" * (1 << 20)
            await agent.until(lambda: len(agent.taken) >= len(wanted))
            assert bytes(agent.taken) == wanted
            await agent.data[-1].send(b"e" * (1 << 20))
            got = b""
            while len(got) < 1 << 20:
                got += await said(page.recv())
            assert got == b"e" * (1 << 20)

    run(go())


def test_a_flooding_vm_and_a_browser_that_takes_nothing(lab):
    """What waits for a slow side is one buffer; everybody else is served."""
    lab.add_vm("vm-1"), lab.add_vm("vm-2")
    slow, other = sit(lab, "vm-1", "slow@example.org"), sit(lab, "vm-2", "other@example.org")

    async def go():
        async with Agent(lab, "vm-1") as flooder, Agent(lab, "vm-2") as calm:
            lazy, status, _ = handshake(lab, "/desktop/ws", ["Cookie: lablink_seat=" + slow])
            assert status == 101
            await flooder.until(lambda: flooder.data)
            web = lab.role("web")[0]
            before = web.pss_kb()
            sent = 0
            with pytest.raises(asyncio.TimeoutError):
                while sent < 200:
                    await asyncio.wait_for(flooder.data[-1].send(b"f" * (1 << 20)), 3)
                    sent += 1
            assert sent < 100, "somebody has taken 100 MB for a browser that reads nothing"
            assert web.pss_kb() - before < 16384
            async with browse(lab, other) as page:
                assert await said(page.recv()) == b"hello from vm-2"
                await page.send(b"quick")
                await calm.until(lambda: bytes(calm.taken) == b"quick")
            assert lab.get("/healthz").status_code == 200
            lazy.close()
            flooder.data[-1].transport.abort()

    run(go())


def test_clients_that_leave_in_the_handshake(lab):
    """Before the answer, with it, behind it: nothing stays."""
    lab.add_vm("vm-1")
    cookie = sit(lab, "vm-1")
    web = lab.role("web")[0]
    count = lambda: len(os.listdir("/proc/%d/fd" % web.pid))
    lab.get("/healthz")
    before = count()
    head = ("GET /desktop/ws HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nCookie: lablink_seat=%s\r\n\r\n" % (lab.port, cookie)).encode()
    for number in range(200):
        with socket.create_connection(("127.0.0.1", lab.port), PATIENCE) as connection:
            connection.sendall(head[: len(head) - number % 3] if number % 4 == 0 else head)
            if number % 2:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wait_until(lambda: count() <= before + 2, 60, lambda: "%d descriptors, %d before" % (count(), before))


# --- the real agent and a real X server -------------------------------------------------------------------------------


@needs_xvnc
def test_a_real_desktop_and_what_kills_it(new_lab):
    lab = new_lab(name="desktop")
    token = secrets.token_urlsafe(32)
    lab.add_vm("vm-1", token_hash=digest(token))
    cookie = sit(lab, "vm-1")

    async def picture():
        async with browse(lab, cookie) as page:
            viewer = await Viewer(page).begin()
            pixels = await viewer.picture()
            assert len(pixels) == 4 * viewer.width * viewer.height
            return viewer.width, viewer.height, pixels

    async def again(what=picture):
        """As the page does: tries until it comes back."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return await what()
            except (OSError, AssertionError, websockets.exceptions.WebSocketException):
                assert time.monotonic() < end
                await asyncio.sleep(0.1)

    async def go():
        call = lambda what: asyncio.get_running_loop().run_in_executor(None, what)
        first = await again()
        assert first[:2] == (640, 480)
        two = await asyncio.gather(picture(), picture(), picture())
        assert {shape[:2] for shape in two} == {(640, 480)}
        async with browse(lab, cookie) as page:  # the allocator's web process is killed under an open picture
            await Viewer(page).begin()
            await call(lambda: lab.kill("web"))
            assert (await ending(page))[0] == 1006
        assert (await again())[:2] == (640, 480)
        async with browse(lab, cookie) as page:  # the agent is killed
            await Viewer(page).begin()
            desktop.agent.send_signal(signal.SIGKILL)
            assert (await ending(page))[1] in ("lost", "")
        await call(desktop.agent.wait)
        await call(desktop.start_agent)
        assert (await again())[:2] == (640, 480)
        async with browse(lab, cookie) as page:  # the X server is killed
            await Viewer(page).begin()
            desktop.xvnc.kill()
            assert await ending(page) == (1000, "ended")
        await call(desktop.xvnc.wait)
        async with browse(lab, cookie) as page:
            assert await ending(page) == (1013, "no-desktop")
        desktop.socket.unlink(missing_ok=True)
        await call(desktop.start_xvnc)
        assert (await again())[:2] == (640, 480)
        async with browse(lab, cookie) as page:  # the allocator stops in good order
            await Viewer(page).begin()
            stopping = call(lab.interrupt)
            assert await ending(page) == (1001, "stopping")
            assert await stopping == 0

    # over the socket of local VMs, as a sandbox does
    with Desktop(lab, "vm-1", "unix:%s" % (lab.state / "run/vm/allocator.sock"), token) as desktop:
        run(go())


@needs_xvnc
def test_real_thumbnails(lab):
    lab.add_vm("vm-1")
    get = lambda: lab.get("/api/admin/vms/vm-1/thumbnail", admin=True)
    with Desktop(lab, "vm-1") as desktop:
        wait_until(lambda: get().status_code == 200, PATIENCE)
        picture = get().content
        assert picture.startswith(b"\xff\xd8\xff") and picture.endswith(b"\xff\xd9") and len(picture) < 32768
        at = picture.index(b"\xff\xc0")  # the frame's header: height, width
        assert (int.from_bytes(picture[at + 7 : at + 9], "big"), int.from_bytes(picture[at + 5 : at + 7], "big")) == (320, 240)
        assert desktop.agent.poll() is None


@needs_xvnc
def test_an_agent_that_cannot_dial_says_so(lab):
    """Its control connection lives and a data connection fails: the page is not left to wait until time is over."""
    lab.add_vm("vm-1")
    cookie = sit(lab, "vm-1")

    async def pump(source, sink):
        with contextlib.suppress(OSError):
            while piece := await source.read(65536):
                sink.write(piece)
        sink.close()

    async def serve(reader, writer):
        first = await reader.readline()
        if b"/api/agent/data/" in first:
            return writer.close()
        there, back = await asyncio.open_connection("127.0.0.1", lab.port)
        back.write(first)
        await asyncio.gather(pump(reader, back), pump(there, writer))

    async def go():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        desktop = Desktop(lab, "vm-1", "http://127.0.0.1:%d" % server.sockets[0].getsockname()[1], start=False)
        with desktop:
            await asyncio.get_running_loop().run_in_executor(None, desktop.start)
            async with browse(lab, cookie) as page:
                assert await ending(page) == (1013, "no-desktop")
        server.close()

    run(go())


@needs_xvnc
@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes the certificate")
def test_a_desktop_through_tls(lab):
    """The agent knows the allocator by https alone, and by nobody else's certificate."""
    lab.add_vm("vm-1")
    cookie = sit(lab, "vm-1")

    async def go():
        call = lambda what: asyncio.get_running_loop().run_in_executor(None, what)
        async with Front(lab) as front:
            with Desktop(lab, "vm-1", front.url, start=False, SSL_CERT_FILE=str(front.certificate)) as desktop:
                await call(desktop.start)
                for _ in range(2):
                    async with browse(lab, cookie) as page:
                        viewer = await Viewer(page).begin()
                        for _ in range(4):
                            assert len(await viewer.picture()) == 4 * 640 * 480
            with Desktop(lab, "vm-1", front.url, start=False) as desktop:
                await call(lambda: desktop.start(linked=False))
                log = desktop.directory / "agent.log"
                await call(lambda: wait_until(lambda: "tunnel: " in log.read_text(), PATIENCE))
                assert "SSL" in log.read_text() and "is open" not in log.read_text()

    run(go())
