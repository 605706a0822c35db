"""Memory under hostile requests, on the program as it is shipped: it grows by what is allowed for, and comes back."""

import contextlib
import json
import resource
import socket

from lab import PATIENCE, SANITIZED, wait_until

MB = 1024
IDLE, HALF_SENT, DEAF, BOMBS = 3000, 150, 40, 200


def resident(lab):
    (web,) = lab.role("web")
    return web.pss_kb()


def connect(lab, data=b""):
    connection = socket.create_connection(("127.0.0.1", lab.port), PATIENCE)
    connection.settimeout(5)
    with contextlib.suppress(OSError):  # what is refused half-way is not read to its end
        connection.sendall(data)
    return connection


def test_memory_is_bounded_and_comes_back(new_lab):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    lab = new_lab(name="memory")
    lab.add_vm("vm-1")
    lab.get("/")
    before = resident(lab)
    head = "POST /api/vm-logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    held = []
    try:
        held += [connect(lab) for _ in range(min(IDLE, hard - 500))]
        # 150 bodies of 1 MB, of which the last byte never comes
        held += [connect(lab, (head % (1 << 20)).encode() + b" " * ((1 << 20) - 1)) for _ in range(HALF_SENT)]
        for _ in range(DEAF):
            connection = connect(lab)
            connection.setblocking(False)
            held.append(connection)
            with contextlib.suppress(OSError):
                for _ in range(2000):
                    connection.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert lab.get("/healthz").status_code == 200
        during = resident(lab)
    finally:
        for connection in held:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    bomb = json.dumps({"hostname": "vm-1", "status": "running", "x": [[0] * 300] * 100})
    for text in (bomb, '{"a":' * 10000, "[" + "1," * 32000 + "1]", json.dumps({"k%d" % number: number for number in range(30000)})):
        for _ in range(BOMBS // 4):
            assert lab.post("/api/vm-status", data=text, headers={"Content-Type": "application/json"}).status_code in (200, 400)
    # a sanitizer's own memory is not measured
    if not SANITIZED:
        assert during < before + 160 * MB, "64 MB of bodies and some KB a connection: %d KB, then %d" % (before, during)
        wait_until(lambda: resident(lab) < before + 60 * MB, 60, lambda: "%d KB, then %d, now %d" % (before, during, resident(lab)))
    print("resident: %d KB, %d under attack, %d afterwards" % (before, during, resident(lab)))
