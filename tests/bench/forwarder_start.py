#!/usr/bin/env python3
"""Prints how long the log forwarder takes from its exec to its first request for an invocation.

  forwarder_start.py [--build DIR] [--times 30] [--json FILE]

What is started is the content of the zip: its program by its own loader, with its own libraries, so that no root directory
of its own is needed. The files are in memory from the second start on, of which the first is told apart. Processor time is
what the process itself took until then: it hardly depends on what else the machine does.
"""

import argparse
import json
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import tempfile
import time
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
GOAL_MS = 20


def unpack(build, place):
    """The program's command line."""
    archive = place / "forwarder.zip"
    subprocess.run([str(ROOT / "tools/make-lambda"), "--build", build, "--output", str(archive)], check=True, stdout=subprocess.DEVNULL)
    with zipfile.ZipFile(archive) as files:
        files.extractall(place)
    loader, = (place / "lib").glob("ld-linux-*")
    for path in (loader, place / "bootstrap"):
        path.chmod(0o755)
    return [str(loader), "--library-path", str(place / "lib"), str(place / "bootstrap")]


def start(argv, listener):
    """(milliseconds of wall time, of processor time) until the first request has come."""
    environment = {"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:%d" % listener.getsockname()[1], "LAMBDA_TASK_ROOT": os.path.dirname(argv[-1]),
                   "API_ENDPOINT": "https://lab.example.org", "LABLINK_SECURITY_LOG_TOKEN": "t" * 43}
    at = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, environment)
    connection = None
    try:
        connection, _ = listener.accept()
        request = connection.recv(65536)
        wall = time.perf_counter() - at
    finally:
        os.kill(pid, signal.SIGKILL)
        used = os.wait4(pid, 0)[2]
        if connection:
            connection.close()
    assert request.startswith(b"GET /2018-06-01/runtime/invocation/next "), request
    return wall * 1e3, (used.ru_utime + used.ru_stime) * 1e3


def main():
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--build", default=os.environ.get("LABLINK_BUILD", str(ROOT / "build")))
    words.add_argument("--times", type=int, default=30)
    words.add_argument("--json")
    given = words.parse_args()
    with tempfile.TemporaryDirectory() as place, socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(60)
        argv = unpack(given.build, pathlib.Path(place))
        first, *others = [start(argv, listener) for _ in range(given.times + 1)]
    wall, processor = [sorted(column) for column in zip(*others)]
    result = {"first_ms": first[0], "p50_ms": statistics.median(wall), "max_ms": wall[-1], "processor_p50_ms": statistics.median(processor),
              "processor_max_ms": processor[-1], "goal_ms": GOAL_MS}
    print("the log forwarder's start, %d times: p50 %.1f ms, at most %.1f ms (the first %.1f ms); processor time p50 %.1f ms, at most "
          "%.1f ms; wanted: below %d ms" % (given.times, result["p50_ms"], result["max_ms"], result["first_ms"], result["processor_p50_ms"],
                                            result["processor_max_ms"], GOAL_MS))
    if given.json:
        pathlib.Path(given.json).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
