#!/usr/bin/env python3
"""Prints how many requests a second the lab answers, beside a bare epoll loop and pgbench of the same run.

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
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from lab import BUILD, CRD, Lab  # noqa: E402

VMS = 64  # rows that telemetry and reads go round through
# Label, path, body (None: GET), what pgbench does for comparison
ENDPOINTS = [
    ("GET /healthz", "/healthz", None, None),
    ("GET /api/unassigned_vms_count", "/api/unassigned_vms_count", None, "select"),
    ("GET /api/vm-status/<host>", "/api/vm-status/vm-%V", None, "select"),
    ("POST /api/vm-status", "/api/vm-status", '{"hostname": "vm-%V", "status": "running"}', "update"),
    ("POST /api/request_vm", "/api/request_vm", json.dumps({"email": "p%N@example.org", "crd_command": CRD}), "update"),
]
SCRIPTS = {
    "select": "\\set n random(0, %d)\nselect hostname, status from vms where hostname = 'vm-' || :n;\n" % (VMS - 1),
    "update": "\\set n random(0, %d)\nupdate vms set status = 'running' where hostname = 'vm-' || :n;\n" % (VMS - 1),
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
    """The VMs that reads and telemetry name, taken by somebody, and a pool that no claim of this run can empty."""
    lab.sql("insert into vms (hostname, status, email, crd_command, pin, generation) select 'vm-' || n, 'running', "
            "'seat' || n || '@example.org', %%s, '123456', 1 from generate_series(0, %d) n" % (VMS - 1), CRD)
    lab.sql("insert into vms (hostname, status) select 'pool-' || n, 'available' from generate_series(1, 60000) n")
    lab.sql("analyze vms")


def measure(args):
    rows = []
    with epoll_loop() as url:
        floor = wrk(url, "/healthz", None, args)
    rows.append({"what": "bare epoll loop", **floor})
    with Lab(name="bench", sets=["security.client_auth=open"]) as lab:
        fill(lab)
        base = {}
        for kind in SCRIPTS:
            base[kind] = pgbench(lab, kind, args)
            rows.append({"what": "pgbench, one-row %s" % kind, "rate": base[kind]})
        for label, path, body, kind in ENDPOINTS:
            result = wrk(lab.url, path, body, args)
            if result["refused"] or result["broken"]:
                sys.exit("bench: %s: %d refused, %d broken of %d" % (label, result["refused"], result["broken"], result["requests"]))
            rows.append({
                "what": label, **result, "of_epoll": result["rate"] / floor["rate"],
                "of_pgbench": result["rate"] / base[kind] if kind else None, "pgbench": kind})
        web = lab.role("web")
        rows.append({"what": "web process afterwards", "pss_kb": sum(process.pss_kb() for process in web)})
    return rows


def show(rows):
    print("%-32s %11s %8s %8s  %s" % ("", "requests/s", "p50 ms", "p99 ms", "beside the same run's"))
    for row in rows:
        if "rate" not in row:
            print("%-32s %8.1f MB" % (row["what"], row["pss_kb"] / 1024))
            continue
        beside = []
        if row.get("of_epoll"):
            beside.append("%.2f epoll loop" % row["of_epoll"])
        if row.get("of_pgbench"):
            beside.append("%.2f pgbench %s" % (row["of_pgbench"], row["pgbench"]))
        times = ["%8.2f" % (row[name] / 1000) if name in row else " " * 8 for name in ("p50", "p99")]
        print("%-32s %11s %s %s  %s" % (row["what"], format(round(row["rate"]), ","), *times, ", ".join(beside)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=3, help="for each line (at most 30)")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--json", help="writes the rows there, too")
    args = parser.parse_args()
    args.seconds = max(1, min(args.seconds, 30))
    rows = measure(args)
    show(rows)
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
