#!/usr/bin/env python3
"""Prints how fast the lab is and what it needs, beside a bare epoll loop and pgbench of the same run.

  bench.py [--seconds 3] [--connections 64] [--json FILE]

Everything happens on loopback, against a lab of its own, for a few seconds a line. How to read it: docs/benchmarks.md.
"""

import argparse
import contextlib
import glob
import json
import os
import pathlib
import re
import resource
import shutil
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "load")]

import first_frame  # noqa: E402
from collect import collecting  # noqa: E402
from lab import BUILD, CRD, Lab, wait_until  # noqa: E402
from swarm import Swarm, memory_kb, percentile, post  # noqa: E402

VMS = 64  # rows that telemetry and reads go round through
# Label, path, body (None: GET), what pgbench does for comparison
LINES = 500  # of a batch of log lines
LINE = "2026-01-01 12:00:00 INFO something that a program on a VM has to say, about one hundred characters, %d"
WAITERS, RUSH = 2000, 1000
# No claim of a run can empty it.
POOL = "insert into vms (hostname, status) select 'pool-' || n, 'available' from generate_series(1, 60000) n; analyze vms"
# Label, path, body (None: GET), what pgbench does for comparison, the share of that (of the epoll loop's rate without) that is wanted
ENDPOINTS = [
    ("GET /healthz", "/healthz", None, None, 0.9),
    ("GET /api/unassigned_vms_count", "/api/unassigned_vms_count", None, "select", 0.6),
    ("GET /api/vm-status/<host>", "/api/vm-status/vm-%V", None, "select", 0.6),
    ("POST /api/vm-status", "/api/vm-status", '{"hostname": "vm-%V", "status": "running"}', "update", 5),
    ("POST /api/agent/heartbeat", "/api/agent/heartbeat", '{"hostname": "vm-%V", "uptime": 1}', "update", 5),
    ("POST /api/request_vm", "/api/request_vm", json.dumps({"email": "p%N@example.org", "crd_command": CRD}), "update", None),
]
SCRIPTS = {
    "select": "\\set n random(0, %d)\nselect hostname, status from vms where hostname = 'vm-' || :n;\n" % (VMS - 1),
    "update": "\\set n random(0, %d)\nupdate vms set status = 'running' where hostname = 'vm-' || :n;\n" % (VMS - 1),
    # What the lines of a batch cost without HTTP, JSON, numbers and masking: a table of the same shape.
    "insert": "insert into bench_lines (vm_id, message) values %s;\n" % ", ".join("(1, '%s')" % (LINE % n) for n in range(LINES)),
}


def wrk(url, path, body, args):
    environ = dict(os.environ, BENCH_PATH=path, BENCH_VMS=str(VMS))
    environ.pop("BENCH_BODY", None)
    if body:
        environ["BENCH_BODY"] = body
    done = subprocess.run(
        ["wrk", "-t1", "-c%d" % args.connections, "-d%ds" % args.seconds, "-s", str(HERE / "load.lua"), url],
        env=environ, capture_output=True, text=True, timeout=args.seconds + 60)
    match = re.search(r"^RESULT (.*)$", done.stdout, re.M)
    if done.returncode or not match:
        sys.exit("bench: wrk failed:\n%s%s" % (done.stdout, done.stderr))
    result = json.loads(match.group(1))
    result["rate"] = result["requests"] * 1e6 / result["microseconds"]
    return result


def pgbench(lab, kind, args):
    """Transactions a second of one statement, prepared, on eight connections."""
    program = shutil.which("pgbench") or next(iter(sorted(glob.glob("/usr/lib/postgresql/*/bin/pgbench"), reverse=True)), None)
    if not program:
        sys.exit("bench: pgbench is missing: tools/install-packages bench")
    script = lab.directory / ("%s.sql" % kind)
    script.write_text(SCRIPTS[kind])
    done = subprocess.run(
        [program, "-n", "-M", "prepared", "-c", "8", "-j", "1", "-T", str(args.seconds), "-f", str(script),
         "-h", str(lab.state / "db/run"), "-U", "lablink", "lablink_db"],
        capture_output=True, text=True, timeout=args.seconds + 60)
    match = re.search(r"^tps = ([\d.]+)", done.stdout, re.M)
    if done.returncode or not match:
        sys.exit("bench: pgbench failed:\n%s%s" % (done.stdout, done.stderr))
    return float(match.group(1))


@contextlib.contextmanager
def epoll_loop():
    program = BUILD / "tests/bench/bench-epoll"
    with subprocess.Popen([str(program)], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield "http://127.0.0.1:%d" % int(process.stdout.readline())
        finally:
            process.kill()


def fill(lab):
    """A class of five hundred: the VMs that reads and telemetry name, taken by somebody, and the others free."""
    lab.sql("insert into vms (hostname, status, email, crd_command, pin, generation) select 'vm-' || n, 'running', "
            "'seat' || n || '@example.org', %%s, '123456', 1 from generate_series(0, %d) n" % (VMS - 1), CRD)
    lab.sql("insert into vms (hostname, status) select 'few-' || n, 'available' from generate_series(1, 436) n")
    lab.sql("create table bench_lines (vm_id int not null, line bigserial, at timestamptz not null default now(),"
            " message text not null, primary key (vm_id, line))")
    lab.sql("analyze vms")


def log_lines(lab, base, args):
    """Batches of 500 lines, in lines a second beside those of bare inserts."""
    body = json.dumps({"log_group": "g", "log_stream": "vm-%V", "messages": [LINE % n for n in range(LINES)]})
    result = wrk(lab.url, "/api/vm-logs", body, args)
    check("POST /api/vm-logs", result)
    result["rate"] *= LINES
    return {"what": "POST /api/vm-logs, lines", **result, "of_pgbench": result["rate"] / base["insert"], "pgbench": "insert", "goal": 0.5}


def rush(lab):
    """A thousand people within a second."""
    with Swarm(lab.port, RUSH) as swarm:
        answers = swarm.exchange([
            post("/api/request_vm", {"email": "rush%d@example.org" % n, "crd_command": CRD}) for n in range(RUSH)], every=1 / RUSH)
    if any(answer.status != 200 for answer in answers):
        sys.exit("bench: a claim of the rush was refused")
    p99 = percentile([answer.seconds for answer in answers], 99) * 1e3
    return {"what": "p99 of 1,000 claims in a second", "value": p99, "unit": "ms", "below": 50}


def waiters(lab):
    """What one waiting VM costs the web process."""
    lab.sql("insert into vms (hostname, status) select 'wait-' || n, 'running' from generate_series(0, %d) n" % (WAITERS - 1))
    web = lab.role("web")[0]
    before = memory_kb(web)
    with lab.database() as database, Swarm(lab.port, WAITERS) as swarm:
        for n in range(WAITERS):
            swarm.send(n, post("/vm_startup", {"hostname": "wait-%d" % n}))
        heard = "select count(*) as n from vm_presence p join vms v on v.id = p.vm_id where hostname like 'wait-%'"
        wait_until(lambda: database.execute(heard).fetchone()["n"] == WAITERS, 120)
        time.sleep(1)
        each = (memory_kb(web) - before) / WAITERS
    return {"what": "memory of a waiting VM", "value": each, "unit": "KB", "below": None}


def resident_mb(process):
    with open("/proc/%d/status" % process.pid) as stream:
        return next(int(line.split()[1]) for line in stream if line.startswith("VmRSS:")) / 1024


def first_answer(lab):
    """Milliseconds from exec to the first 200, with a PostgreSQL that runs already (that of another lab)."""
    url = "postgresql://lablink@/lablink_db?host=%s" % (lab.state / "db/run")
    other = Lab(name="bench-start", config={"db": {"url": url}}, sets=["security.client_auth=open"])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        other.port = taken.getsockname()[1]
    times = []
    try:
        for _ in range(5):
            began = time.monotonic()
            other.start(wait=False)
            while True:
                try:
                    if other.raw(b"GET /api/unassigned_vms_count HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1 200"):
                        break
                except OSError:
                    time.sleep(0.002)
                if time.monotonic() > began + 30:
                    sys.exit("bench: the second allocator does not answer:\n%s" % other.log()[-2000:])
            times.append(time.monotonic() - began)
            other.wait_ready()
            other.interrupt()
    finally:
        other.remove()
    return {"what": "start to the first answer from rows", "value": percentile(times, 50) * 1e3, "unit": "ms", "below": 100}


def check(label, result):
    if result["refused"] or result["broken"]:
        sys.exit("bench: %s: %d refused, %d broken of %d" % (label, result["refused"], result["broken"], result["requests"]))


def measure(args):
    rows = []
    with epoll_loop() as url:
        floor = wrk(url, "/healthz", None, args)
    rows.append({"what": "bare epoll loop", **floor})
    with Lab(name="bench", sets=["security.client_auth=open"]) as lab:
        web = lab.role("web")[0]
        idle = {"what": "web process, idle (RSS)", "value": resident_mb(web), "unit": "MB", "below": 20}
        fill(lab)
        base = {}
        for kind in SCRIPTS:
            base[kind] = pgbench(lab, kind, args) * (LINES if kind == "insert" else 1)
            rows.append({"what": "pgbench, %s" % ("500-row insert, rows" if kind == "insert" else "one-row " + kind), "rate": base[kind]})
        for label, path, body, kind, goal in ENDPOINTS:
            if path == "/api/request_vm":
                lab.sql(POOL)
            result = wrk(lab.url, path, body, args)
            check(label, result)
            rows.append({
                "what": label, **result, "of_epoll": result["rate"] / floor["rate"],
                "of_pgbench": result["rate"] / base[kind] if kind else None, "pgbench": kind, "goal": goal})
        claims = rush(lab)  # before the lines: a commit would wait for what those leave to the disk
        rows.append(log_lines(lab, base, args))
        rows += [claims, idle, waiters(lab), {"what": "web process, afterwards (RSS)", "value": resident_mb(web), "unit": "MB", "below": None}]
        rows.append(first_answer(lab))
    return rows


def reached(row):
    """The goal and whether it is reached, as words; "" without one."""
    if row.get("below"):
        return "goal < %d %s: %s" % (row["below"], row["unit"], "reached" if row["value"] < row["below"] else "NOT reached")
    if row.get("least"):
        return "goal >= %d %s: %s" % (row["least"], row["unit"], "reached" if row["value"] >= row["least"] else "NOT reached")
    if not row.get("goal"):
        return ""
    share = row["of_pgbench"] if row.get("pgbench") else row["of_epoll"]
    return "goal >= %.1f: %s" % (row["goal"], "reached" if share >= row["goal"] else "NOT reached")


def show(rows, head=True):
    if head:
        print("%-36s %11s %8s %8s  %s" % ("", "a second", "p50 ms", "p99 ms", "beside the same run's"))
    for row in rows:
        if "rate" not in row:
            print("%-36s %8.1f %s%s" % (row["what"], row["value"], row["unit"], " " * 23 + reached(row) if reached(row) else ""))
            continue
        beside = []
        if row.get("of_epoll"):
            beside.append("%.2f epoll loop" % row["of_epoll"])
        if row.get("of_pgbench"):
            beside.append("%.2f pgbench %s" % (row["of_pgbench"], row["pgbench"]))
        if reached(row):
            beside.append(reached(row))
        times = ["%8.2f" % (row[name] / 1000) if name in row else " " * 8 for name in ("p50", "p99")]
        print("%-36s %11s %s %s  %s" % (row["what"], format(round(row["rate"]), ","), *times, ", ".join(beside)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=3, help="for each line (at most 30)")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--collect-mb", type=int, default=256, help="of participants' files that are collected; 0: none")
    parser.add_argument("--json", help="writes the rows there, too")
    args = parser.parse_args()
    args.seconds = max(1, min(args.seconds, 30))
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    rows = measure(args)
    if args.collect_mb:
        rows += collecting(args.collect_mb)
    show(rows)
    frames = first_frame.rows()  # last, and after the rest was printed: a browser may fail
    show(frames, head=False)
    rows += frames
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
