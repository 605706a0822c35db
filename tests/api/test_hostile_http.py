"""Requests that no browser, agent or script sends. Each gets the right word or none, and nobody else feels it.

Bytes go over a socket as they are. What must hold whatever the bytes are is in `survives`: no request is answered with
500, nothing is stored, and the lab answers the next one.
"""

import base64
import concurrent.futures
import contextlib
import itertools
import json
import re
import resource
import select
import socket

import pytest

from lab import CODE, CRD, PATIENCE, wait_until

JSON = {"Accept": "application/json"}
VM = "lablink-vm-test-1"
numbers = itertools.count(1)


def person():
    return "hostile%d@example.org" % next(numbers)


def head(method, path, *lines, close=True):
    """A head as text; `lines` are headers. Bytes above 127 stand for themselves (latin-1)."""
    lines = list(lines) + (["Connection: close"] if close else [])
    return "%s %s HTTP/1.1\r\nHost: lab\r\n%s\r\n" % (method, path, "".join(line + "\r\n" for line in lines))


def post(path, body, *lines, close=True, content_type="application/json"):
    body = body if isinstance(body, bytes) else body.encode()
    return head("POST", path, "Content-Type: %s" % content_type, "Content-Length: %d" % len(body), *lines,
                close=close).encode("latin-1") + body


def report(status="running", host=VM):
    return json.dumps({"hostname": host, "status": status})


def statuses(said):
    """Of every answer in what a connection said."""
    return [int(code) for code in re.findall(rb"(?:^|\r\n\r\n|[}\n>])HTTP/1\.1 (\d{3}) ", said)]


def raw(lab, data):
    """What came back until the lab closed. One that still waits for more a second later is told that there is none."""
    data = data if isinstance(data, bytes) else data.encode("latin-1")
    said = b""
    with socket.create_connection(("127.0.0.1", lab.port), PATIENCE) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(data)
        if not select.select([connection], [], [], 1)[0]:
            connection.shutdown(socket.SHUT_WR)
        while part := connection.recv(65536):
            said += part
            if not select.select([connection], [], [], 1)[0]:
                connection.shutdown(socket.SHUT_WR)
    return said


def open_connection(lab, data=b""):
    connection = socket.create_connection(("127.0.0.1", lab.port), PATIENCE)
    connection.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))
    return connection


def fine(lab):
    """Others are served: a page, a row of the database, a static answer."""
    assert lab.get("/healthz").status_code == 200
    assert lab.get("/api/unassigned_vms_count").status_code == 200
    assert lab.get("/").status_code == 200


def survives(lab, data, allowed=range(400, 500)):
    """The bytes are refused in words or by closing, nothing is stored, the next is served."""
    before = lab.vm(VM)
    said = raw(lab, data)
    codes = statuses(said)
    assert all(code in allowed for code in codes), said[:600]
    assert said == b"" or codes, said[:600]
    assert lab.vm(VM) == before
    assert lab.get("/healthz").status_code == 200
    return codes


@pytest.fixture
def vm(lab):
    lab.add_vm(VM, status="initializing")
    return lab


# --- slow and idle ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("begun", [
    "", "G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: x\r\nX-A: b\r\n",
    head("POST", "/api/vm-status", "Content-Type: application/json", "Content-Length: 100") + '{"host',
    head("POST", "/api/vm-logs", "Content-Type: application/json", "Transfer-Encoding: chunked") + "5\r\n{\"a\"",
    head("POST", "/api/request_vm", "Content-Type: application/x-www-form-urlencoded", "Content-Length: 900000") + "email=a",
], ids=["nothing", "letter", "line", "heads", "body", "chunk", "form"])
def test_slow_ones_hold_nobody_up(vm, begun):
    """200 requests that never end, each fed a byte more while others are served."""
    slow = [open_connection(vm, begun) for _ in range(200)]
    try:
        for _ in range(3):
            for connection in slow:
                with contextlib.suppress(OSError):
                    connection.send(b"x")
            fine(vm)
        assert vm.post("/api/vm-status", json={"hostname": VM, "status": "running"}).status_code == 200
        assert vm.post("/api/request_vm", json={"email": person(), "crd_command": CRD}, headers=JSON).status_code == 200
    finally:
        for connection in slow:
            connection.close()
    fine(vm)


def test_thousands_of_idle_connections(vm):
    """As many as both ends' file limits allow, up to 10,000: new ones are served beside them, and after them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = hard if hard != resource.RLIM_INFINITY else 65536
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    idle = []
    try:
        for _ in range(min(10000, most - 400)):
            idle.append(socket.create_connection(("127.0.0.1", vm.port), PATIENCE))
        fine(vm)
        assert vm.post("/api/request_vm", json={"email": person(), "crd_command": CRD}, headers=JSON).status_code in (200, 503)
    finally:
        for connection in idle:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    fine(vm)


def test_those_who_send_and_do_not_read(vm):
    """Requests without end whose answers nobody takes: the socket fills up, the lab does not."""
    deaf = []
    request = head("GET", "/", close=False).encode()
    try:
        for _ in range(20):
            connection = socket.create_connection(("127.0.0.1", vm.port), PATIENCE)
            connection.setblocking(False)
            deaf.append(connection)
            with contextlib.suppress(BlockingIOError, ConnectionError):
                for _ in range(2000):
                    connection.send(request)
        fine(vm)
    finally:
        for connection in deaf:
            connection.close()
    fine(vm)


# --- heads --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data, codes", [
    (head("GET", "/", "X-Long: " + "a" * 70000), (400, 413, 431)),
    (head("GET", "/", *["X-%d: b" % number for number in range(5000)]), (400, 413, 431)),
    (head("GET", "/" + "a" * 70000), (400, 414)),
    (head("GET", "/?" + "a=b&" * 20000), (400, 414)),
    (head("GET", "/api/vm-status/" + "a" * 5000), (400, 404, 414)),
    (head("A" * 40000, "/"), (400, 405, 413, 414, 431)),
    (head("GET", "/", "Cookie: " + "a=b; " * 8000), (400, 413, 431)),
], ids=["value", "many", "path", "query", "hostname", "method", "cookies"])
def test_huge_heads(vm, data, codes):
    survives(vm, data, codes)


@pytest.mark.parametrize("data", [
    b"\r\n" * 50 + b"\x00",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),  # TLS
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    b"GET  /  HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET /\x00 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"G\x00T / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX\x00Y: z\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nX-A: z\x1b[2Jz\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nBad Name: z\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost : x\r\nConnection: close\r\n\r\n",
    b"GET * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"CONNECT evil.example:443 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET ../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET /static/../../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET /static/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET /static//etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"TRACE / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
])
def test_malformed_heads(vm, data):
    survives(vm, data, list(range(400, 500)) + [501, 505])


def test_oddities_in_a_header_are_nobodys_harm(vm):
    """What nobody reads may be odd; the parts that are read are refused."""
    assert statuses(raw(vm, head("GET", "/healthz", "X-A: z\x00z"))) in ([200], [400])
    said = raw(vm, head("GET", "/healthz", "X-Name: \xff\xfe\xc0\xaf", "User-Agent: \xe2\x28\xa1"))
    assert statuses(said) in ([200], [400])
    said = raw(vm, head("GET", "/admin", "Cookie: lablink_admin=\xff\xfe", "Authorization: Basic \xff\xff"))
    assert statuses(said) in ([401], [400])


# --- framing ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lines", [
    ("Content-Length: -1",), ("Content-Length: +5",), ("Content-Length: 0x5",), ("Content-Length: 5, 5",), ("Content-Length: 5 5",),
    ("Content-Length: 99999999999999999999999",), ("Content-Length: five",), ("Content-Length: ",), ("Content-Length: 5", "Content-Length: 6"),
    ("Content-Length: 5", "Content-Length: 5"), ("Content-Length: 5", "Transfer-Encoding: chunked"),
    ("Transfer-Encoding: chunked", "Content-Length: 5"), ("Transfer-Encoding: gzip",), ("Transfer-Encoding: gzip, chunked",),
    ("Transfer-Encoding: chunked, identity",), ("Transfer-Encoding: xchunked",), ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    ("Transfer-Encoding:\tchunked\x0b",), ("Transfer-Encoding: identity", "Content-Length: 5"), ("X: y\r\n Content-Length: 5", "Content-Length: 30"),
])
def test_framing_that_two_could_read_differently(vm, lines):
    """Neither the body nor what hides behind it is taken for a request."""
    hidden = post("/api/vm-status", report())
    body = b"0\r\n\r\n" + hidden
    survives(vm, head("POST", "/api/vm-status", "Content-Type: application/json", *lines, close=False).encode("latin-1") + body)


@pytest.mark.parametrize("size", [
    b"zz", b"-1", b"0x10", b"+5", b" 5", b"5 5", b"", b"\x00", b"FFFFFFFFFFFFFFFFF", b"8000000000000000", b"7fffffffffffffff",
    b"5;" + b"a" * 40000, b"5\n5", b"5\x00",
])
def test_malformed_chunk_sizes(vm, size):
    start = head("POST", "/api/vm-status", "Content-Type: application/json", "Transfer-Encoding: chunked", close=False).encode()
    connection = open_connection(vm, start + size + b"\r\n" + report().encode() + b"\r\n0\r\n\r\n")
    # one that waits for more may wait
    if select.select([connection], [], [], 0.5)[0]:
        with contextlib.suppress(ConnectionError):
            said = connection.recv(65536)
            assert not re.match(rb"HTTP/1\.1 (2|5)", said), said
    connection.close()
    assert vm.vm(VM)["status"] == "initializing"
    fine(vm)


def test_chunks_of_every_lawful_shape(vm):
    body = report().encode()
    pieces = b"".join(b"%x\r\n%s\r\n" % (1, body[at : at + 1]) for at in range(len(body)))
    start = head("POST", "/api/vm-status", "Content-Type: application/json", "Transfer-Encoding: chunked").encode()
    assert statuses(raw(vm, start + pieces + b"0\r\n\r\n")) == [200]
    assert statuses(raw(vm, start + b"%X\r\n%s\r\n0\r\nX-Trailer: y\r\n\r\n" % (len(body), body))) == [200]


def test_chunks_without_end(vm):
    """64 MB in chunks to an address that takes 1 MB: it is cut off long before."""
    start = head("POST", "/api/vm-status", "Content-Type: application/json", "Transfer-Encoding: chunked", close=False).encode()
    connection = open_connection(vm, start)
    sent = 0
    with contextlib.suppress(OSError):
        while sent < 64 << 20:
            connection.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")
            sent += 65536
    connection.close()
    # what the kernel's buffers hold comes on top
    assert sent < 32 << 20
    fine(vm)


@pytest.mark.parametrize("path, length", [("/api/vm-status", 3 << 20), ("/api/vm-status", 1 << 50), ("/api/vm-logs", 40 << 20), ("/nowhere", 1 << 40)])
def test_huge_bodies_are_refused_by_their_length(vm, path, length):
    said = raw(vm, head("POST", path, "Content-Type: application/json", "Content-Length: %d" % length, close=False))
    assert statuses(said) == [413], said
    fine(vm)


def test_pipelined_requests_are_answered_in_order(vm):
    ask = b"".join(post("/api/vm-status", report("running" if number % 2 else "available"), close=False) +
                   head("GET", "/api/vm-status/" + VM, close=False).encode() for number in range(25))
    said = raw(vm, ask + head("GET", "/healthz").encode())
    assert statuses(said) == [200] * 51, said[-800:]
    told = re.findall(rb'"status":"(running|available)"', said)
    assert told == [b"available", b"running"] * 12 + [b"available"] or len(told) == 50, told


def test_truncated_requests_do_nothing(vm):
    """A report cut at every byte, by a close and by a reset: it is never carried out."""
    whole = post("/api/vm-status", report())
    for at in range(1, len(whole) - 1, 3):
        connection = open_connection(vm, whole[:at])
        if at % 2:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
    fine(vm)
    assert vm.vm(VM)["status"] == "initializing"
    assert statuses(raw(vm, whole)) == [200]


def test_expect_continue(vm):
    body = report().encode()
    connection = open_connection(vm, head(
        "POST", "/api/vm-status", "Content-Type: application/json", "Content-Length: %d" % len(body), "Expect: 100-continue"))
    assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
    connection.sendall(body)
    assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    connection.close()
    # who says how much it will be is told before they send it
    said = raw(vm, head("POST", "/api/vm-status", "Content-Type: application/json", "Content-Length: 100000000", "Expect: 100-continue"))
    assert said.startswith(b"HTTP/1.1 413 ")
    survives(vm, head("POST", "/api/vm-status", "Content-Length: 2", "Expect: the-unexpected", "Content-Type: application/json") + "{}",
             list(range(400, 500)))


# --- paths and queries --------------------------------------------------------------------------------------------------


NAMES = [
    "%2e%2e", "..", "%2e%2e%2fetc%2fpasswd", "..%2f..%2fadmin", "%00", VM + "%00", VM + "%00.txt", "%C0%AF", "%c0%ae%c0%ae", "%ff",
    "%ED%A0%80", "%F5%80%80%80", "%252e%252e", "%252F", "%5c..%5c", ";/../" + VM, VM + "/", VM + "//", "/" + VM, VM + "%0d%0aX-Evil:1",
    VM + "%0a", VM + "%20", "%u002e", "%2", "%", "a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r/s", "%E2%80%AE" + VM, "'%20or%201=1--", "*", "~",
    VM + "\x00", VM + "\x7f", VM.upper(), VM + "%3ftail=1",
]


@pytest.mark.parametrize("path", ["/api/vm-logs/", "/api/vm-status/", "/api/vm-metrics/"])
def test_percent_tricks(vm, path):
    """Another VM's name, a file's, none: 400 or 404, never another route and never another VM."""
    vm.sql("update vms set status = 'running' where hostname = %s", VM)
    for name in NAMES:
        print(repr(name))
        if "metrics" in path:
            survives(vm, head("POST", path + name, "Content-Type: application/json", "Content-Length: 2") + "{}", (400, 404))
        else:
            survives(vm, head("GET", path + name, "Accept: application/json"), (400, 401, 404))


@pytest.mark.parametrize("query", [
    "tail=-1", "tail=0x10", "tail=99999999999999999999", "tail=1e9", "tail=", "tail=%00", "tail=1&tail=-1", "after=-1", "after=abc",
    "after=9223372036854775808", "after=%ff", "tail=1;drop table vms", "%=1", "=", "&&&&", "a" * 4000,
])
def test_numbers_of_queries(vm, query):
    survives(vm, head("GET", "/api/vm-logs/%s?%s" % (VM, query.replace(" ", "%20")), "Accept: application/json"), [*range(200, 500), 503])


# --- bodies -------------------------------------------------------------------------------------------------------------

BOMBS = {
    "deep arrays": b"[" * 100000,
    "deep objects": b'{"a":' * 100000,
    "deep but closed": b'{"a":' * 17 + b"1" + b"}" * 17,
    "many keys": json.dumps({"k%d" % number: number for number in range(60000)}).encode(),
    "same key": b'{"hostname":"' + VM.encode() + b'","status":"running","status":"error"}',
    "same key encoded": b'{"hostname":"' + VM.encode() + b'","status":"running","stat\\u0075s":"error"}',
    "many values": b'{"a":[' + b"1," * 400000 + b"1]}",
    "huge integer": b'{"hostname":"' + VM.encode() + b'","status":' + b"9" * 100000 + b"}",
    "huge exponent": b'{"hostname":"' + VM.encode() + b'","status":1e400}',
    "long string": b'{"hostname":"' + b"a" * 900000 + b'","status":"running"}',
    "nul": b'{"hostname":"' + VM.encode() + b'","status":"running\\u0000"}',
    "raw nul": b'{"hostname":"' + VM.encode() + b'","status":"run\x00ning"}',
    "half a surrogate": b'{"hostname":"' + VM.encode() + b'","status":"\\ud800"}',
    "invalid utf-8": b'{"hostname":"' + VM.encode() + b'","status":"\xff\xfe"}',
    "overlong": b'{"hostname":"' + VM.encode() + b'","status":"\xc0\xae"}',
    "byte order": b'\xef\xbb\xbf{"hostname":"' + VM.encode() + b'","status":"running"}',
    "utf-16": report().encode("utf-16"),
    "infinity": b'{"hostname":"' + VM.encode() + b'","status":Infinity}',
    "comment": b'{"hostname":"' + VM.encode() + b'",/* */"status":"running"}',
    "prototype": b'{"__proto__":{"hostname":"' + VM.encode() + b'"},"status":"running"}',
}
POSTS = ["/api/vm-status", "/api/update_inuse_status", "/api/gpu_health", "/api/vm-logs", "/api/vm-metrics/" + VM, "/api/agent/heartbeat",
         "/vm_startup", "/api/request_vm"]


@pytest.mark.parametrize("path", POSTS)
def test_json_bombs(vm, path):
    for name, bomb in BOMBS.items():
        print(name)
        if path.startswith("/api/vm-metrics/") and name == "prototype":
            # a name like any other
            assert statuses(raw(vm, post(path, bomb))) == [200]
        else:
            # an agent's heartbeat may hold what nobody reads
            survives(vm, post(path, bomb, "Accept: application/json"), range(200 if "heartbeat" in path else 400, 500))
    for row in vm.vms():
        assert row["hostname"] == VM and row["status"] == "initializing"


@pytest.mark.parametrize("path", POSTS[:4] + ["/api/request_vm"])
def test_huge_numbers_everywhere(vm, path):
    for value in ("1e308", "-1e308", "1" + "0" * 400, "-9223372036854775809", "0.1e-400", "18446744073709551616"):
        body = '{"hostname":%s,"status":%s,"in_use":%s,"gpu_status":%s,"log_stream":%s,"messages":[%s],"email":%s,"crd_command":%s}'
        survives(vm, post(path, body % ((value,) * 8), "Accept: application/json"))
        body = '{"hostname":"%s","generation":%s,"boot_id":%s,"uptime":%s}'
        said = raw(vm, post("/api/agent/heartbeat", body % (VM, value, value, value)))
        assert not any(code >= 500 for code in statuses(said)), said


def part(name, value, *lines):
    return "".join(line + "\r\n" for line in ("--b", 'Content-Disposition: form-data; name="%s"' % name) + lines) + "\r\n" + value + "\r\n"


MULTIPARTS = {
    "no boundary": ("multipart/form-data", part("email", "a@b.c") + "--b--\r\n"),
    "empty boundary": ("multipart/form-data; boundary=", part("email", "a@b.c")),
    "long boundary": ("multipart/form-data; boundary=" + "b" * 71, "--" + "b" * 71 + "\r\n"),
    "other boundary": ("multipart/form-data; boundary=c", part("email", "a@b.c") + "--b--\r\n"),
    "no end": ("multipart/form-data; boundary=b", part("email", "a@b.c")),
    "cut off": ("multipart/form-data; boundary=b", part("email", "a@b.c")[:40]),
    "many parts": ("multipart/form-data; boundary=b", part("x", "y") * 2000 + "--b--\r\n"),
    "a file": ("multipart/form-data; boundary=b", '--b\r\nContent-Disposition: form-data; name="email"; filename="../../x"\r\n\r\nx\r\n--b--\r\n'),
    "a file by its other name": ("multipart/form-data; boundary=b",
                                 "--b\r\nContent-Disposition: form-data; name=email; filename*=UTF-8''x\r\n\r\nx\r\n--b--\r\n"),
    "nameless": ("multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n"),
    "headless": ("multipart/form-data; boundary=b", "--b\r\n\r\nx\r\n--b--\r\n"),
    "two dispositions": ("multipart/form-data; boundary=b", part("email", "x", 'Content-Disposition: form-data; name="crd_command"') + "--b--\r\n"),
    "nul in a name": ("multipart/form-data; boundary=b", part("em\x00ail", "x") + "--b--\r\n"),
    "nul in a value": ("multipart/form-data; boundary=b", part("email", "a\x00@b.c") + "--b--\r\n"),
    "invalid utf-8": ("multipart/form-data; boundary=b", part("email", "\xff\xfe@b.c") + "--b--\r\n"),
    "open quote": ("multipart/form-data; boundary=\"b", part("email", "a@b.c") + "--b--\r\n"),
    "controls in the boundary": ("multipart/form-data; boundary=\"b\x01\"", "--b\x01\r\n"),
    "nested": ("multipart/form-data; boundary=b", part("email", "--b--", "Content-Type: multipart/mixed; boundary=b") + "--b--\r\n"),
    "nothing": ("multipart/form-data; boundary=b", ""),
    "a large field": ("multipart/form-data; boundary=b", part("email", "a" * 70000) + "--b--\r\n"),
}


@pytest.mark.parametrize("trick", MULTIPARTS)
def test_multipart_tricks(vm, trick):
    content_type, body = MULTIPARTS[trick]
    vm.sql("update vms set status = 'available' where hostname = %s", VM)
    # where the value that the trick smuggles is a good form, the command is missing: the form is shown again
    codes = survives(vm, post("/api/request_vm", body.encode("latin-1"), "Accept: application/json", content_type=content_type))
    assert codes in ([400], [415], [422]), codes


@pytest.mark.parametrize("form", ["email=%00", "email=%ff", "email=%", "email=%zz", "a=b&" * 101, "email=" + "a" * 70000, "=&=&=", "email", "\x00", "\xff=\xff"])
def test_form_tricks(vm, form):
    codes = survives(vm, post("/api/request_vm", form.encode("latin-1"), "Accept: application/json", content_type="application/x-www-form-urlencoded"))
    assert codes in ([400], [422]), codes


# --- what is said again -------------------------------------------------------------------------------------------------

INJECTED = "x\r\nSet-Cookie: evil=1\r\nX-Evil: 1\r\n\r\n<script>evil()</script>"


def clean(said):
    top, _, body = said.partition(b"\r\n\r\n")
    assert b"evil" not in top.lower(), top
    assert b"<script>evil" not in body, body
    assert b"Content-Security-Policy" in top or not top


@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_nothing_that_is_echoed_becomes_a_header_or_a_script(vm, accept):
    encoded = "".join("%%%02x" % byte for byte in INJECTED.encode())
    lines = ["Accept: " + accept]
    credentials = "Authorization: Basic " + base64.b64encode(":".join(vm.admin).encode()).decode()
    for path in ("/", "/admin", "/admin/instances", "/api/vm-logs/" + encoded, "/api/vm-status/" + encoded, "/admin/operations/" + encoded,
                 "/?message=" + encoded, "/nowhere/" + encoded, "/admin/" + encoded, "/api/operations/%s/output?after=%s" % (encoded, encoded)):
        clean(raw(vm, head("GET", path, credentials, *lines)))
    for fields in (("email", "crd_command"), ("crd_command", "email"), ("access_code", "_key")):
        clean(raw(vm, post("/api/request_vm", json.dumps(dict.fromkeys(fields, INJECTED)), *lines)))
        clean(raw(vm, post("/api/request_vm", "&".join("%s=%s" % (field, encoded) for field in fields), *lines,
                           content_type="application/x-www-form-urlencoded")))
    for path in ("/api/launch", "/destroy", "/api/operations/%s/cancel" % encoded, "/api/admin/vms/%s/release" % encoded):
        clean(raw(vm, post(path, "num_vms=%s&_key=%s" % (encoded, encoded), credentials, "Sec-Fetch-Site: cross-site", *lines,
                           content_type="application/x-www-form-urlencoded")))
    clean(raw(vm, post("/api/launch", "num_vms=" + encoded, credentials, "Idempotency-Key: <script>evil()</script>", *lines,
                       content_type="application/x-www-form-urlencoded")))
    clean(raw(vm, head("GET", "/", "Host: <script>evil()</script>", "X-Forwarded-Host: evil", "X-Forwarded-Proto: evil", *lines)))
    clean(raw(vm, head("<script>evil()</script>", "/", *lines)))


def test_values_of_a_vm_are_text_on_every_page(vm):
    script = "<script>evil()</script>"
    logs = {"log_stream": VM, "messages": [script, "\x1b]0;evil\x07", "a\r\nSet-Cookie: evil=1"]}
    assert vm.post("/api/vm-logs", json=logs).status_code == 200
    assert vm.post("/api/vm-metrics/" + VM, json={script: script, "cloud_init_duration_seconds": 1}).status_code in (200, 422)
    vm.post("/api/agent/heartbeat", json={"hostname": VM, "boot_id": script, "generation": 0, "uptime": 1})
    for path in ("/admin", "/admin/instances", "/admin/logs/" + VM, "/admin/vms/" + VM):
        page = vm.get(path, admin=True, headers={"Accept": "text/html"})
        assert page.status_code in (200, 404) and script not in page.text and "evil" not in str(page.headers)
    said = vm.get("/api/vm-logs/" + VM, admin=True)
    assert said.headers["Content-Type"].startswith(("application/json", "text/plain")) and said.headers["X-Content-Type-Options"] == "nosniff"


CHANGES = ["/api/launch", "/destroy", "/api/operations/1/cancel", "/api/admin/vms/%s/release" % VM, "/api/request_vm"]


@pytest.mark.parametrize("path", CHANGES)
@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=b"])
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_another_sites_form_with_cached_credentials(vm, path, content_type, accept):
    """What a browser sends when a hostile page posts a form: password or cookie come along, the origin gives it away."""
    session = vm.admin_session(json=False)
    assert session.get(vm.url + "/admin").status_code == 200
    before = vm.sql("select count(*) as n from operations where kind <> 'reconcile'")
    for credentials in ({"auth": vm.admin}, {"cookies": session.cookies.get_dict()}):
        for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": vm.url + ".evil.example"},
                        {"Origin": vm.url.replace("127.0.0.1", "127.0.0.1@evil.example")}, {"Sec-Fetch-Site": "cross-site"},
                        {"Sec-Fetch-Site": "cross-site", "Origin": vm.url}, {"Sec-Fetch-Site": "same-site"}):
            answer = vm.post(path, data="num_vms=1&yes=1&email=a@b.c", headers={"Accept": accept, "Content-Type": content_type, **headers}, **credentials)
            assert answer.status_code == 403, (headers, answer.status_code)
    assert vm.sql("select count(*) as n from operations where kind <> 'reconcile'") == before and vm.vm(VM)["email"] is None
    session.close()


# --- limits by address and what stands in the log -----------------------------------------------------------------------


PASSWORD = "correct horse battery"
# Its hash at the least cost: ten wrong ones must fit into a minute on any machine.
HASH = "$2b$04$abcdefghijklmnopqrstuuqREtd3VJD2QVZbuFskFSLk6eRIrQoOS"


def wrong_log_ins(lab, forwarded, times=14):
    codes = []
    for number in range(times):
        headers = {"X-Forwarded-For": forwarded(number)} if forwarded(number) else {}
        codes.append(lab.get("/admin", auth=("admin", "wrong%d" % number), headers=headers).status_code)
    return codes


def test_forwarded_addresses_of_strangers_are_not_believed(new_lab):
    """Without a trusted proxy a header buys no new tries."""
    lab = new_lab(name="spoof", config={"app": {"admin_password": HASH}})
    lab.config["app"]["admin_password"] = PASSWORD
    codes = wrong_log_ins(lab, lambda number: "203.0.113.%d" % number)
    assert codes[:10] == [401] * 10 and codes[-1] == 429
    assert "203.0.113." not in lab.log()


def test_a_trusted_proxy_tells_the_address(new_lab):
    # behind a proxy the lab can be reached from elsewhere, so the choices are asked for
    lab = new_lab(name="proxy", config={
        "listen": {"trusted_proxies": ["127.0.0.1", "198.51.100.7"]}, "app": {"admin_password": HASH},
        "security": {"access_code": "aloud", "client_auth": "open"}})
    lab.config["app"]["admin_password"] = PASSWORD
    assert wrong_log_ins(lab, lambda number: "203.0.113.%d" % number) == [401] * 14, "each address has tries of its own"
    # what the client itself wrote stands to the left of what the proxy saw
    codes = wrong_log_ins(lab, lambda number: "10.9.8.%d, 203.0.113.200" % number)
    assert codes[:10] == [401] * 10 and codes[-1] == 429
    assert wrong_log_ins(lab, lambda number: "203.0.113.200, 198.51.100.7", 1) == [429], "a chain of trusted proxies is followed"
    for nonsense in ("", ",", "x", "999.1.1.1", "::1, ,", "203.0.113.201 evil", "unix", ", " * 3000, "2001:db8::1%eth0", "<script>"):
        answer = lab.get("/healthz", headers={"X-Forwarded-For": nonsense})
        assert answer.status_code == 200, nonsense
    assert "evil" not in lab.log() and "<script>" not in lab.log()
    assert lab.get("/admin", auth=("admin", PASSWORD), headers={"X-Forwarded-For": "203.0.113.250"}).status_code == 200


def test_a_whole_class_behind_one_address_gets_in(new_lab):
    """80 people at once, some of whom mistype the word: all get a seat, though all come from one address."""
    lab = new_lab(name="class", config={"security": {"access_code": "aloud"}})
    for number in range(80):
        lab.add_vm("vm-%d" % number)

    def claim(number):
        with lab.session() as session:
            ask = lambda word: session.post(lab.url + "/api/request_vm", headers=JSON, timeout=PATIENCE,
                                            json={"email": "p%d@school.example" % number, "crd_command": CRD, "access_code": word}).status_code
            return [ask("alowd")] * (number % 2) + [ask("aloud")]

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(claim, range(80)))
    assert all(codes[-1] == 200 for codes in answers), answers
    assert lab.sql("select count(distinct hostname) as n from vms where email is not null")[0]["n"] == 80


def test_what_strangers_say_is_capped_and_escaped_in_the_log(vm):
    mark = len(vm.log())
    raw(vm, head("GET", "/" + "a" * 9000 + "/needle-1"))
    raw(vm, head("GET", "/%1b%5b2J%0d%0aforged%20line/needle-2"))
    raw(vm, head("GET", "/\x1b[2J\x9b31m\xff/needle-3"))
    vm.post("/api/request_vm", json={"email": "a\x1b[2Jb\r\nforged line", "crd_command": "\x1b]0;x\x07"}, headers=JSON)
    vm.post("/api/vm-status", json={"hostname": VM, "status": "x\nforged line " + "y" * 100000})
    vm.get("/admin", auth=("forged\nline", "\x1b[2J"))
    fine(vm)
    added = vm.log()[mark:]
    assert "\x1b" not in added and "\x9b" not in added and "\r" not in added and "\x07" not in added
    for line in added.splitlines():
        assert len(line.encode()) < 2100 and re.match(r"[0-9TZ:.-]+ (debug|info|warning|error) \w+: ", line), line[:200]
        assert not line.startswith("forged")
