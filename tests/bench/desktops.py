#!/usr/bin/env python3
"""Prints what desktops cost the allocator: many of them beside websockify in the same run, tunnels that wait, and how fast
HTTP is answered while some desktops flood.

  desktops.py [--desktops 200] [--tunnels 1000] [--seconds 6] [--json FILE]

One process plays all agents and browsers; measured are the allocator's web process and websockify's processes alone.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import pathlib
import resource
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

from desktop_net import PROTOCOL, handshake  # noqa: E402
from lab import BUILD, Lab, all_processes, wait_until  # noqa: E402

CHANGE = 12500  # bytes of one change of a screen: a clock's
FLOODS = 20


class Wire:
    """A socket after its handshake, and the frames that came."""

    def __init__(self, connection):
        self.connection, self.buffer = connection, b""

    def take(self):
        while True:
            if len(self.buffer) >= 2:
                size, at = self.buffer[1] & 127, 2
                if size == 126 and len(self.buffer) >= 4:
                    size, at = int.from_bytes(self.buffer[2:4], "big"), 4
                if size < 126 or at == 4:
                    if len(self.buffer) >= at + size:
                        payload, self.buffer = self.buffer[at : at + size], self.buffer[at + size :]
                        return payload
            piece = self.connection.recv(4096)
            assert piece, "the allocator ended a connection"
            self.buffer += piece


def framed(data):
    """A frame as the agent sends it, masked with 0, which changes no byte; of 126 to 65535 bytes."""
    return b"\x82\xfe" + len(data).to_bytes(2, "big") + bytes(4) + data


def agent_head(hostname):
    return ["X-Lablink-Hostname: " + hostname, "Sec-WebSocket-Protocol: " + PROTOCOL]


def spare(lab, hostname, control):
    """The waiting connection that the allocator asks for next."""
    while True:
        asked = json.loads(control.take())
        if "spare" in asked:
            data, status, _ = handshake(lab, "/api/agent/data/" + asked["spare"]["id"], agent_head(hostname))
            assert status == 101
            return Wire(data)


def tunnel(lab, hostname):
    """Control connection and waiting spare of one agent."""
    control = Wire(handshake(lab, "/api/agent/tunnel", agent_head(hostname))[0])
    return control, spare(lab, hostname, control)


def add_vms(lab, count):
    lab.sql("insert into vms (hostname, status, email, crd_command, pin) select 'vm-' || n, 'running', 'p' || n || '@example.org', 'c', '123456'"
            " from generate_series(1, %d) n" % count)
    lab.sql("insert into desktop_cookies (hash, vm_id, tenancy) select encode(sha256(rpad(hostname, 43, 'x')::bytea), 'hex'), id, tenancy from vms")


def session(lab, number):
    """A browser and its desktop, joined, with the next spare waiting: connections of agent, page and desktop."""
    hostname = "vm-%d" % number
    control, data = tunnel(lab, hostname)
    page, status, _ = handshake(lab, "/desktop/ws", ["Cookie: lablink_seat=" + hostname.ljust(43, "x")])
    assert status == 101 and b"start" in data.take()
    data.connection.sendall(framed(b"c" * CHANGE))  # a desktop that says nothing is given up
    control.next = spare(lab, hostname, control)
    return control, page, data.connection


def seconds_used(processes):
    # in nanoseconds: hundreds of processes that each take less than a clock tick are not free
    return sum(int(pathlib.Path("/proc/%d/schedstat" % process.pid).read_text().split()[0]) for process in processes) / 1e9


def kb_used(processes):
    return sum(process.pss_kb() for process in processes)


def beat(sources, sinks, seconds, data):
    """Each source sends `data` once a second, spread over it; sinks are emptied. Returns the bytes that came."""
    selector = selectors.DefaultSelector()
    for sink in sinks:
        sink.setblocking(False)
        selector.register(sink, selectors.EVENT_READ)
    came, began, sent = 0, time.monotonic(), 0
    while time.monotonic() - began < seconds:
        due = int((time.monotonic() - began) * len(sources))
        while sent < due:
            sources[sent % len(sources)].sendall(data)
            sent += 1
        for key, _ in selector.select(0.005):
            with contextlib.suppress(BlockingIOError):
                came += len(key.fileobj.recv(65536))
    selector.close()
    return came


class Relay:
    """One of those that are compared: its processes, and the sockets at both of its ends."""

    def __init__(self, name, processes, sources, sinks, change, empty=0):
        self.name, self.processes, self.sources, self.sinks, self.change, self.empty = name, processes, sources, sinks, change, empty
        self.cpu = self.came = 0

    def measure(self):
        before = seconds_used(self.processes)
        self.came += beat(self.sources, self.sinks, 1, self.change)
        self.cpu += seconds_used(self.processes) - before


@contextlib.contextmanager
def bare(args):
    """A program that does nothing but recv and send, so that one sees what the kernel takes."""
    program = BUILD / "tests/bench/bench-relay"
    if not program.exists():
        print("bench: %s is not built: the line that shows the kernel's share is left out" % program)
        yield None
        return
    relay = subprocess.Popen([program], stdout=subprocess.PIPE, text=True)
    try:
        address = ("127.0.0.1", int(relay.stdout.readline()))
        pairs = [(socket.create_connection(address), socket.create_connection(address)) for _ in range(args.desktops)]
        yield Relay("bare relay", [process for process in all_processes() if process.pid == relay.pid], *zip(*pairs), b"c" * CHANGE)
    finally:
        relay.kill()
        relay.wait()


@contextlib.contextmanager
def ours(args):
    with Lab(name="bench") as lab:
        add_vms(lab, args.desktops)
        web = lab.role("web")
        empty = kb_used(web)
        controls, pages, datas = zip(*(session(lab, number) for number in range(1, args.desktops + 1)))
        yield Relay("relay", web, datas, pages, framed(b"c" * CHANGE), empty)
        for connection in [*pages, *datas, *(control.connection for control in controls)]:
            connection.close()


class Source(threading.Thread):
    """A desktop for websockify: a unix socket that takes connections."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(1000)
        self.taken = []
        self.start()

    def run(self):
        while True:
            self.taken.append(self.listener.accept()[0])


@contextlib.contextmanager
def theirs(args):
    program = shutil.which("websockify")
    if not program:
        print("bench: websockify is missing (tools/install-packages bench): the line to compare with is left out")
        yield None
        return
    directory = tempfile.mkdtemp(prefix="lablink-bench-")
    source = Source(directory + "/desktop")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([program, "--unix-target=" + directory + "/desktop", "127.0.0.1:%d" % port], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        place = type("Place", (), {"port": port})
        wait_until(lambda: _listens(port))
        source.taken.clear()
        pages = [handshake(place, "/", ["Sec-WebSocket-Protocol: binary", "Origin: http://127.0.0.1"])[0] for _ in range(args.desktops)]
        wait_until(lambda: len(source.taken) >= args.desktops)
        family = [process for process in all_processes() if process.pid == server.pid or process.ppid == server.pid]
        yield Relay("websockify", family, source.taken[-args.desktops :], pages, b"c" * CHANGE)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        shutil.rmtree(directory, ignore_errors=True)


def relays(args, rows):
    """All beside each other, a second in turn, so that whatever else the machine does troubles them alike."""
    with ours(args) as lab, bare(args) as least, theirs(args) as other:
        there = [relay for relay in (least, lab, other) if relay]
        for _ in range(args.seconds):
            for relay in there:
                relay.measure()
        for relay in there:
            rows.append({"what": "%d desktops, %s" % (args.desktops, relay.name), "cpu": relay.cpu / args.seconds * 1000,
                         "kb": kb_used(relay.processes) - relay.empty, "mb": relay.came / args.seconds / 1e6})


def _listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def idle(args, rows):
    with Lab(name="bench") as lab:
        add_vms(lab, args.tunnels)
        web = lab.role("web")
        empty = kb_used(web)
        began = time.monotonic()
        tunnels = [tunnel(lab, "vm-%d" % number) for number in range(1, args.tunnels + 1)]
        took = time.monotonic() - began
        time.sleep(1)
        before = seconds_used(web)
        time.sleep(args.seconds)
        rows.append({"what": "%d tunnels with a spare each, idle" % args.tunnels, "cpu": (seconds_used(web) - before) / args.seconds * 1000,
                     "kb": kb_used(web) - empty, "took": took})
        for control, data in tunnels:
            control.connection.close(), data.connection.close()


def pour(sources, data):
    """A process: sends without end, one source after the other."""
    for source in sources:
        source.setblocking(False)
    left = {source: memoryview(b"") for source in sources}
    while True:
        for source in sources:
            with contextlib.suppress(BlockingIOError):
                left[source] = left[source] or memoryview(data)
                left[source] = left[source][source.send(left[source]) :]


def drink(sinks, counter):
    """A process: reads without end."""
    selector = selectors.DefaultSelector()
    for sink in sinks:
        selector.register(sink, selectors.EVENT_READ)
    room = bytearray(1 << 20)
    while True:
        for key, _ in selector.select():
            counter.value += key.fileobj.recv_into(room)


def asking(lab, seconds):
    """Milliseconds of GET /healthz on one connection, sorted."""
    times = []
    with socket.create_connection(("127.0.0.1", lab.port)) as connection:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            began = time.monotonic()
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
            answer = b""
            while b"}" not in answer:
                answer += connection.recv(4096)
            times.append((time.monotonic() - began) * 1000)
            time.sleep(0.002)
    return sorted(times)


def flood(args, rows):
    with Lab(name="bench") as lab:
        add_vms(lab, FLOODS)
        sessions = [session(lab, number) for number in range(1, FLOODS + 1)]
        quiet = asking(lab, args.seconds)
        counter = multiprocessing.Value("Q", 0, lock=False)
        workers = [multiprocessing.Process(target=pour, args=([data for _, _, data in sessions], framed(b"f" * 60000)), daemon=True),
                   multiprocessing.Process(target=drink, args=([page for _, page, _ in sessions], counter), daemon=True)]
        for worker in workers:
            worker.start()
        before, began = counter.value, time.monotonic()
        busy = asking(lab, args.seconds)
        rate = (counter.value - before) / (time.monotonic() - began) / 1e6
        for worker in workers:
            worker.kill()
            worker.join()
        for what, times in (("HTTP beside %d idle relays" % FLOODS, quiet), ("HTTP while %d relays flood" % FLOODS, busy)):
            rows.append({"what": what, "p50": times[len(times) // 2], "p99": times[int(len(times) * 0.99)], "mb": rate if times is busy else 0})
        for control, page, data in sessions:
            control.connection.close(), page.close(), data.close()


def show(rows):
    for row in rows:
        words = ["%-40s" % row["what"]]
        if "cpu" in row:
            words.append("CPU %7.1f ms/s" % row["cpu"])
        if "kb" in row:
            words.append("memory %8.1f MB" % (row["kb"] / 1024))
        if "p99" in row:
            words.append("p50 %6.2f ms  p99 %6.2f ms" % (row["p50"], row["p99"]))
        if row.get("mb"):
            words.append("%.1f MB/s" % row["mb"])
        if "took" in row:
            words.append("connected in %.2f s" % row["took"])
        print("  ".join(words))
    relay, bare, websockify = [next((row for row in rows if row["what"].endswith(", " + name)), None) for name in ("relay", "bare relay", "websockify")]
    if bare:
        print("beside a bare relay: %.2f times its CPU" % (relay["cpu"] / bare["cpu"]))
    if websockify:
        print("beside websockify: %.3f of its CPU (goal 0.1), %.4f of its memory (goal 0.01)" % (
            relay["cpu"] / websockify["cpu"], max(relay["kb"], 1) / websockify["kb"]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--desktops", type=int, default=200)
    parser.add_argument("--tunnels", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=6, help="for each line")
    parser.add_argument("--json", help="writes the rows there, too")
    args = parser.parse_args()
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    rows = []
    for part in (relays, idle, flood):
        part(args, rows)
    show(rows)
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
