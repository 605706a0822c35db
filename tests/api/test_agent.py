"""The real agent against a stand-in of the allocator: what it asks, what it runs, what it remembers over kill -9.

The stand-in is a few lines of http.server whose answers a test sets while it runs; start-host is a script in front of
the PATH that writes down its arguments and its input. No test depends on how fast anything is.
"""

import http.server
import json
import os
import pathlib
import queue
import re
import shutil
import signal
import socketserver
import subprocess
import sys
import tempfile
import threading
import time

import pytest

from lab import BUILD, COMPLAINTS, PATIENCE, Process, wait_until

CODE = "4/0AanRRrtCODEcode-code_code"
COMMAND = "DISPLAY= /opt/google/chrome-remote-desktop/start-host --code=\"%s\" --redirect-url=\"x\" --name=$(hostname)"
PIN = "482913"
REDIRECT = "--redirect-url=https://remotedesktop.google.com/_/oauthredirect"
BLANK_EVERY = 0.2


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        allocator = self.server.allocator
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        allocator.note(self.path, body, dict(self.headers))
        if self.path == "/vm_startup":
            return self.wait_for_seat(allocator, body)
        status = allocator.statuses.get(self.path, 200)
        if self.path == "/api/vm-logs" and status == 200:
            allocator.store_lines(body)
        self.answer(status, {"message": "taken"} if status == 200 else {"error": "no", "code": "no"})

    def answer(self, status, body):
        data = json.dumps(body).encode() if not isinstance(body, bytes) else body
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def wait_for_seat(self, allocator, body):
        """Blanks until there is a newer assignment, as the allocator does it: a streamed answer."""
        status = allocator.statuses.get(self.path, 200)
        if status != 200:
            return self.answer(status, {"error": "no", "code": "no"})
        if allocator.raw_assignment is not None:
            return self.answer(200, allocator.raw_assignment)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while not allocator.closed:
            seat = allocator.assignment
            if seat and (seat.get("generation") is None or seat["generation"] > body.get("generation", -1)):
                return self.chunk(json.dumps(seat).encode(), last=True)
            self.chunk(b" ")
            time.sleep(BLANK_EVERY)
        self.close_connection = True

    def chunk(self, data, last=False):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        if last:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *words):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass  # an agent that was killed


class UnixServer(Server):
    address_family = getattr(__import__("socket"), "AF_UNIX")

    def server_bind(self):
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", 0

    def get_request(self):
        request, _ = super().get_request()
        return request, ("unix", 0)


class Allocator:
    """What the agent sees. Tests set `assignment` and `statuses`, and read `requests` and `lines`."""

    def __init__(self, socket_path=None):
        self.assignment = None
        self.raw_assignment = None
        self.statuses = {}
        self.requests = []
        self.batches = {}
        self.lines = []
        self.lock = threading.Lock()
        self.socket_path = socket_path
        self.port = 0
        self.server = None
        self.start()

    def start(self):
        self.closed = False
        if self.socket_path:
            self.socket_path.unlink(missing_ok=True)
            self.server = UnixServer(str(self.socket_path), Handler)
        else:
            self.server = Server(("127.0.0.1", self.port), Handler)
            self.port = self.server.server_address[1]
        self.server.allocator = self
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self):
        self.closed = True
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self):
        return "unix:%s" % self.socket_path if self.socket_path else "http://127.0.0.1:%d" % self.port

    def note(self, path, body, headers):
        with self.lock:
            self.requests.append((path, body, headers))

    def store_lines(self, body):
        with self.lock:
            known = self.batches.setdefault(body["batch_id"], body["messages"])
            assert known == body["messages"], "a batch was sent again with other lines"
            self.lines = [line for batch in self.batches.values() for line in batch]

    def bodies(self, path):
        with self.lock:
            return [body for asked, body, _ in self.requests if asked == path]

    def assign(self, generation=1, command=None, pin=PIN, **more):
        seat = {"status": "success", "hostname": "vm-1", "email": "a@b.c", "pin": pin, "command": command or COMMAND % CODE}
        if generation is not None:
            seat["generation"] = generation
        self.assignment = {**seat, **more}


RECORDER = """#!%s
import json, os, sys, time
lines = [sys.stdin.readline(), sys.stdin.readline()]
record = {"argv": sys.argv[1:], "input": lines, "display": os.environ.get("DISPLAY"),
          "token": [name for name in os.environ if "TOKEN" in name]}
with open(%r, "a") as out:
    out.write(json.dumps(record) + "\\n")
while os.path.exists(%r):
    time.sleep(0.02)
print("started with", *sys.argv[1:], flush=True)
sys.exit(int(open(%r).read()) if os.path.exists(%r) else 0)
"""


class Agent:
    """One agent in a directory of its own, with a recording start-host and a recording on_assigned."""

    def __init__(self, directory, allocator):
        self.directory, self.allocator = directory, allocator
        self.bin = directory / "bin"
        self.bin.mkdir()
        self.record, self.hold, self.status = directory / "record", directory / "hold", directory / "status"
        for place in (directory, self.bin):
            place.chmod(0o777)
        self.script("start-host", RECORDER % (sys.executable, *(str(p) for p in (self.record, self.hold, self.status, self.status))))
        self.script("assigned", "#!/bin/sh\necho \"$LABLINK_GENERATION\" >>%s/assigned.record\n" % directory)
        self.token = directory / "token"
        self.token.write_text("secret-token-of-vm-1\n")
        self.token.chmod(0o600)
        self.log_file = directory / "boot.log"
        self.output = directory / "agent.out"
        self.process = None
        self.environment = {
            "PATH": "%s:/usr/bin:/bin" % self.bin,
            "ALLOCATOR_URL": allocator.url,
            "VM_NAME": "vm-1",
            "SUBJECT_SOFTWARE": "software-%s" % directory.name,
            "LABLINK_CLIENT_TOKEN_FILE": str(self.token),
            "LABLINK_CLIENT_LOG_FILES": str(self.log_file),
            "LABLINK_CLIENT_STATE_FILE": str(directory / "state/state.json"),
            "LABLINK_CLIENT_START_HOST": "start-host",
            "LABLINK_CLIENT_ON_ASSIGNED": str(self.bin / "assigned"),
            "LABLINK_CLIENT_HEARTBEAT": "1s",
            "LABLINK_CLIENT_INUSE_INTERVAL": "200ms",
            "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "detect_leaks=1"),
            "UBSAN_OPTIONS": os.environ.get("UBSAN_OPTIONS", "halt_on_error=1:print_stacktrace=1"),
        }

    def script(self, name, text):
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def argv(self, *words, program="lablink-client"):
        return [str(BUILD / program), *words]

    def start(self, *words, program="lablink-client"):
        with open(self.output, "ab") as out:
            self.process = subprocess.Popen(
                self.argv(*(words or (("run",) if program == "lablink-client" else ())), program=program), env=self.environment,
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.directory, start_new_session=True)
        return self

    def call(self, *words, **more):
        return subprocess.run(self.argv(*words), env={**self.environment, **more}, capture_output=True, text=True, timeout=PATIENCE)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            status = self.process.wait(PATIENCE)
            assert status == 0, "the agent ended with %s:\n%s" % (status, self.log())
        found = COMPLAINTS.search(self.log())
        assert not found, self.log()[-6000:]

    def log(self):
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def hosts(self):
        """Every run of start-host so far."""
        return [json.loads(line) for line in self.record.read_text().splitlines()] if self.record.exists() else []

    def assigned(self):
        path = self.directory / "assigned.record"
        return path.read_text().split() if path.exists() else []

    def carried_out(self):
        path = self.directory / "state/state.json"
        return json.loads(path.read_text())["generation"] if path.exists() else 0


@pytest.fixture
def allocator():
    allocator = Allocator()
    yield allocator
    if not allocator.closed:
        allocator.stop()


@pytest.fixture
def agent(allocator):
    directory = pathlib.Path(tempfile.mkdtemp(prefix="lablink-test-agent-", dir="/tmp"))
    agent = Agent(directory, allocator)
    try:
        yield agent
        agent.stop()
    finally:
        if agent.process and agent.process.poll() is None:
            agent.kill()
        shutil.rmtree(directory, ignore_errors=True)


def soon(condition, agent):
    return wait_until(condition, PATIENCE, lambda: "the agent said:\n%s" % agent.log()[-4000:])


# --- the assignment ----------------------------------------------------------------------------------------------------


def test_waits_then_runs_start_host_and_the_program(agent, allocator):
    agent.start()
    soon(lambda: allocator.bodies("/vm_startup"), agent)
    assert allocator.bodies("/vm_startup")[0] == {"hostname": "vm-1", "generation": 0}
    assert not agent.hosts()
    allocator.assign(7)
    soon(lambda: agent.carried_out() == 7, agent)
    assert agent.hosts() == [{
        "argv": ["--code=" + CODE, REDIRECT, "--name=vm-1"], "input": [PIN + "\n"] * 2, "display": "", "token": []}]
    assert agent.assigned() == ["7"]
    soon(lambda: allocator.bodies("/vm_startup")[-1]["generation"] == 7, agent)


def test_proves_itself_by_its_token(agent, allocator):
    agent.start()
    soon(lambda: len(allocator.requests) > 2, agent)
    assert {headers.get("Authorization") for _, _, headers in allocator.requests} == {"Bearer secret-token-of-vm-1"}
    assert b"secret-token" not in b"".join(path.read_bytes() for path in agent.directory.glob("state/*"))
    assert "secret-token" not in agent.log()


def test_a_newer_code_runs_again(agent, allocator):
    agent.start()
    allocator.assign(1)
    soon(lambda: agent.carried_out() == 1, agent)
    allocator.assign(2, COMMAND % "4/0Bnewer_code-99")
    soon(lambda: agent.carried_out() == 2, agent)
    assert [run["argv"][0] for run in agent.hosts()] == ["--code=" + CODE, "--code=4/0Bnewer_code-99"]


def test_kill_9_does_not_run_the_same_generation_twice(agent, allocator):
    agent.start()
    allocator.assign(3)
    soon(lambda: agent.carried_out() == 3, agent)
    for _ in range(3):
        agent.kill()
        before = len(allocator.bodies("/vm_startup"))
        agent.start()
        soon(lambda: len(allocator.bodies("/vm_startup")) > before, agent)
        assert allocator.bodies("/vm_startup")[-1]["generation"] == 3
    allocator.assign(4)
    soon(lambda: agent.carried_out() == 4, agent)
    assert len(agent.hosts()) == 2 and agent.assigned() == ["3", "4"]


def test_kill_9_during_start_host_loses_nothing(agent, allocator):
    agent.hold.touch()
    allocator.assign(5)
    agent.start()
    soon(agent.hosts, agent)
    agent.kill()
    agent.hold.unlink()
    agent.start()
    soon(lambda: agent.carried_out() == 5, agent)
    assert len(agent.hosts()) == 2, "start-host dies with the agent and is run again"
    assert agent.assigned() == ["5"]


def test_kill_9_between_the_two_steps_runs_start_host_once(agent, allocator):
    hold = agent.directory / "hold-program"
    agent.script("assigned", "#!/bin/sh\necho x >>%s/assigned.record\nwhile [ -e %s ]; do sleep 0.05; done\n" % (agent.directory, hold))
    hold.touch()
    allocator.assign(5)
    agent.start()
    soon(agent.assigned, agent)
    agent.kill()
    hold.unlink()
    agent.start()
    soon(lambda: agent.carried_out() == 5, agent)
    assert len(agent.hosts()) == 1 and len(agent.assigned()) == 2


def test_an_allocator_without_generations_is_not_carried_out_twice(agent, allocator):
    """The deployed one repeats its answer; another code is another assignment."""
    allocator.assign(None)
    agent.start()
    soon(agent.assigned, agent)
    soon(lambda: "repeats what was carried out" in agent.log(), agent)
    agent.kill()
    agent.start()
    soon(lambda: agent.log().count("repeats what was carried out") == 2, agent)
    assert len(agent.hosts()) == 1


@pytest.mark.parametrize("command", [
    "start-host --code=$(touch /tmp/lablink-was-here)",
    "start-host --code=`id`aaaaaaaaaaaa",
    "start-host --code=4/0AanRR;reboot;aaaaaa",
    "start-host --code=short",
    "start-host --code=" + "a" * 513,
    "start-host --code=%2F%2Fcopied-from-address",
    "start-host",
    " ",
])
def test_a_hostile_code_is_refused_and_the_next_one_taken(agent, allocator, command):
    allocator.assign(1)
    allocator.assignment["command"] = command
    agent.start()
    soon(lambda: agent.carried_out() == 1, agent)
    assert not agent.hosts() and not agent.assigned()
    assert "is refused" in agent.log()
    allocator.assign(2)
    soon(lambda: agent.carried_out() == 2, agent)
    assert len(agent.hosts()) == 1


def test_without_a_code_the_desktop_is_used_in_the_browser(agent, allocator):
    allocator.assign(1)
    allocator.assignment["command"] = ""
    agent.start()
    soon(lambda: agent.carried_out() == 1, agent)
    assert not agent.hosts() and agent.assigned()
    allocator.assign(2)  # and a code may come later
    soon(lambda: agent.hosts(), agent)


@pytest.mark.parametrize("said, outcome", [
    ("Couldn't start host: OAuth error.", "oauth"), ("Couldn't start host: Permission denied.", "permission"),
    ("Couldn't start host: Registration error.", "registration"), ("Couldn't start host.", "failed"), (None, "done"),
])
def test_what_start_host_said_is_told(agent, allocator, said, outcome):
    if said:
        agent.script("start-host", "#!/bin/sh\necho \"%s\" >&2\nexit 1\n" % said)
    allocator.assign(3)
    agent.start()
    soon(lambda: allocator.bodies("/api/vm-metrics/vm-1"), agent)
    soon(lambda: agent.carried_out() == 3, agent)
    assert allocator.bodies("/api/vm-metrics/vm-1") == [{"crd_generation": 3, "crd_outcome": outcome}]


@pytest.mark.parametrize("pin", ["12345", "12345678901", "12a456", "123456\n123456", "--pin=1234"])
def test_a_hostile_pin_is_refused(agent, allocator, pin):
    allocator.assign(1, pin=pin)
    agent.start()
    soon(lambda: agent.carried_out() == 1, agent)
    assert not agent.hosts()


@pytest.mark.parametrize("answer", [b"nonsense", b"{}", b"[]", b'{"status":"error"}', b'{"status":"success"}', b"",
                                    b'{"status":"success","hostname":"vm-2","pin":"123456","command":"x --code=aaaaaaaaaa"}'])
def test_an_answer_that_is_none_stops_nothing(agent, allocator, answer):
    allocator.raw_assignment = answer
    agent.start()
    soon(lambda: "asking again in a minute" in agent.log(), agent)
    assert agent.carried_out() == 0 and not agent.hosts()
    assert agent.process.poll() is None


def test_a_failing_start_host_is_told_and_a_new_code_tried(agent, allocator):
    agent.status.write_text("1")
    agent.status.chmod(0o644)
    agent.start()
    allocator.assign(1)
    soon(lambda: agent.carried_out() == 1, agent)
    assert "a new code is needed" in agent.log() and agent.assigned() == ["1"]
    agent.status.unlink()
    allocator.assign(2)
    soon(lambda: agent.carried_out() == 2, agent)


def test_without_start_host_the_program_runs(agent, allocator):
    (agent.bin / "start-host").unlink()
    agent.start()
    allocator.assign(1)
    soon(lambda: agent.carried_out() == 1, agent)
    assert agent.assigned() == ["1"]


def test_secrets_are_masked(agent, allocator):
    agent.start()
    allocator.assign(1)
    soon(lambda: agent.carried_out() == 1, agent)
    agent.log_file.write_text("traced: start-host --code=%s\nthe PIN is %s.\nharmless 1%s1\n" % (CODE, PIN, PIN))
    soon(lambda: any("harmless" in line for line in allocator.lines), agent)
    soon(lambda: any("started with" in line for line in allocator.lines), agent)
    everything = "\n".join(allocator.lines) + agent.log()
    assert CODE not in everything
    assert PIN not in everything.replace("harmless 1%s1" % PIN, "")
    assert "the PIN is ***." in allocator.lines


# --- an allocator that is not there ------------------------------------------------------------------------------------


def test_allocator_down_then_up(agent, allocator):
    allocator.stop()
    agent.start()
    soon(lambda: "waiting for a seat: no good answer" in agent.log(), agent)
    allocator.start()
    allocator.assign(1)
    soon(lambda: agent.carried_out() == 1, agent)
    allocator.stop()
    soon(lambda: agent.log().count("waiting for a seat: no good answer") == 2, agent)
    allocator.start()
    allocator.assign(2)
    soon(lambda: agent.carried_out() == 2, agent)
    assert len(agent.hosts()) == 2


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503])
def test_refusals_end_nothing(agent, allocator, status):
    for path in ("/vm_startup", "/api/agent/heartbeat", "/api/vm-logs", "/api/update_inuse_status", "/api/gpu_health"):
        allocator.statuses[path] = status
    agent.start()
    soon(lambda: {path for path, _, _ in allocator.requests} >= set(allocator.statuses), agent)
    allocator.statuses.clear()
    allocator.assign(1)
    soon(lambda: agent.carried_out() == 1, agent)


def test_unix_socket(agent, allocator):
    local = Allocator(agent.directory / "allocator.sock")
    try:
        agent.environment["ALLOCATOR_URL"] = local.url
        agent.start()
        local.assign(1)
        soon(lambda: agent.carried_out() == 1, agent)
        assert not allocator.requests
    finally:
        local.stop()


# --- in use, GPU, heartbeat, status ------------------------------------------------------------------------------------


def test_in_use_is_told_at_start_and_on_change(agent, allocator):
    says = lambda: [body["status"] for body in allocator.bodies("/api/update_inuse_status")]
    agent.start()
    soon(lambda: says() == [False], agent)
    software = agent.script(agent.environment["SUBJECT_SOFTWARE"], "#!/bin/sh\nread word\n")
    running = subprocess.Popen([software], stdin=subprocess.PIPE)
    soon(lambda: says() == [False, True], agent)
    agent.kill()
    agent.start()
    soon(lambda: says() == [False, True, True], agent)
    running.stdin.close()  # a zombie is not in use
    soon(lambda: says() == [False, True, True, False], agent)
    running.wait()


def test_the_end_is_told_at_once(agent, allocator):
    """The next look would be in an hour; the end of the process itself says so."""
    says = lambda: [body["status"] for body in allocator.bodies("/api/update_inuse_status")]
    agent.environment["LABLINK_CLIENT_INUSE_INTERVAL"] = "1h"
    software = agent.script(agent.environment["SUBJECT_SOFTWARE"], "#!/bin/sh\nread word\n")
    running = subprocess.Popen([software], stdin=subprocess.PIPE)
    wait_until(lambda: Process(running.pid).command.endswith(software.name))
    agent.start()
    soon(lambda: says() == [True], agent)
    running.kill()
    soon(lambda: says() == [True, False], agent)
    running.wait()


@pytest.mark.parametrize("script,word", [(None, "N/A"), ("exit 0", "Healthy"), ("exit 9", "Unhealthy")])
def test_gpu_health(agent, allocator, script, word):
    if script:
        agent.script("nvidia-smi", "#!/bin/sh\n%s\n" % script)
    if word == "N/A" and shutil.which("nvidia-smi", path=agent.environment["PATH"]):
        pytest.skip("this machine has nvidia-smi")
    agent.start()
    soon(lambda: allocator.bodies("/api/gpu_health"), agent)
    assert allocator.bodies("/api/gpu_health")[0] == {"hostname": "vm-1", "gpu_status": word}


def test_heartbeat(agent, allocator):
    agent.start()
    soon(lambda: len(allocator.bodies("/api/agent/heartbeat")) >= 2, agent)
    beat = allocator.bodies("/api/agent/heartbeat")[0]
    assert beat["hostname"] == "vm-1" and beat["generation"] == 0 and beat["uptime"] > 0
    assert re.fullmatch(r"[0-9a-f-]{36}", beat["boot_id"])
    agent.kill()
    agent.environment["LABLINK_CLIENT_HEARTBEAT"] = "1h"
    agent.start()
    allocator.assign(4)  # told as soon as it is carried out
    soon(lambda: allocator.bodies("/api/agent/heartbeat")[-1]["generation"] == 4, agent)


def test_status_at_start_where_no_boot_script_tells_it(agent, allocator):
    allocator.statuses["/api/vm-status"] = 503
    agent.start("--status", "running", "run")
    soon(lambda: allocator.bodies("/api/vm-status"), agent)
    allocator.statuses.clear()
    soon(lambda: len(allocator.bodies("/api/vm-status")) >= 2, agent)
    assert allocator.bodies("/api/vm-status")[-1] == {"hostname": "vm-1", "status": "running"}


def test_reports_of_boot_scripts(agent, allocator):
    assert agent.call("report", "status", "initializing").returncode == 0
    assert allocator.bodies("/api/vm-status") == [{"hostname": "vm-1", "status": "initializing"}]
    done = agent.call("report", "metrics", "cloud_init_start=1732500000.5", "cloud_init_duration_seconds=12", "note=fine")
    assert done.returncode == 0, done.stderr
    assert allocator.bodies("/api/vm-metrics/vm-1") == [
        {"cloud_init_start": 1732500000.5, "cloud_init_duration_seconds": 12, "note": "fine"}]
    allocator.statuses["/api/vm-status"] = 503
    failed = agent.call("report", "status", "running")
    assert failed.returncode == 1 and "HTTP 503" in failed.stderr
    assert agent.call("report", "metrics").returncode == 2
    assert agent.call("report", "status").returncode == 2
    assert agent.call("run", VM_NAME="").returncode == 2


# --- log lines ---------------------------------------------------------------------------------------------------------


def mine(allocator):
    """The lines of the file alone: not the agent's own."""
    return [line for line in list(allocator.lines) if "lablink-client:" not in line]


def append(path, lines):
    with open(path, "a") as out:
        for line in lines:
            out.write(line + "\n")


def test_lines_arrive_in_order_once_over_kill_9_rotation_and_truncation(agent, allocator):
    expected = []

    def write(n, tag):
        lines = ["%s %d %s" % (tag, i, "x" * (i % 70)) for i in range(n)]
        append(agent.log_file, lines)
        expected.extend(lines)

    write(3000, "before")
    agent.start()
    soon(lambda: mine(allocator), agent)
    agent.kill()
    write(200, "while away")
    agent.start()
    soon(lambda: mine(allocator) == expected, agent)
    agent.log_file.rename(agent.directory / "boot.log.1")
    append(agent.directory / "boot.log.1", ["late"])
    expected.append("late")
    write(5, "new file")
    soon(lambda: mine(allocator) == expected, agent)
    agent.kill()
    write(5, "rotated while away")
    agent.log_file.rename(agent.directory / "boot.log.2")
    write(5, "newer file")
    agent.start()
    soon(lambda: mine(allocator) == expected, agent)
    os.truncate(agent.log_file, 0)
    write(2, "truncated")
    soon(lambda: mine(allocator) == expected, agent)


def test_a_batch_without_an_answer_is_sent_again_under_its_id(agent, allocator):
    allocator.statuses["/api/vm-logs"] = 503
    append(agent.log_file, ["one", "two"])
    agent.start()
    soon(lambda: allocator.bodies("/api/vm-logs"), agent)
    agent.kill()
    append(agent.log_file, ["three"])
    first = allocator.bodies("/api/vm-logs")[0]
    seen = len(allocator.bodies("/api/vm-logs"))
    agent.start()
    soon(lambda: len(allocator.bodies("/api/vm-logs")) > seen, agent)
    assert allocator.bodies("/api/vm-logs")[-1] == first
    allocator.statuses.clear()
    soon(lambda: mine(allocator) == ["one", "two", "three"], agent)
    assert first["log_stream"] == "vm-1"


def test_a_refused_batch_does_not_stop_the_next(agent, allocator):
    allocator.statuses["/api/vm-logs"] = 422
    append(agent.log_file, ["one"])
    agent.start()
    soon(lambda: any("one" in body["messages"] for body in allocator.bodies("/api/vm-logs")), agent)
    soon(lambda: "lines dropped, the allocator refuses them" in agent.log(), agent)
    allocator.statuses.clear()
    append(agent.log_file, ["two"])
    soon(lambda: "two" in mine(allocator), agent)


def test_bytes_that_are_no_text_arrive(agent, allocator):
    agent.log_file.write_bytes(b"a\0b\xff\nlong " + b"y" * 40000 + b"\nend\n")
    agent.start()
    soon(lambda: "end" in mine(allocator), agent)
    lines = mine(allocator)
    assert lines[0] == "a\ufffdb\ufffd"
    assert "".join(lines[1:-1]) == "long " + "y" * 40000


def test_its_own_lines_are_shipped(agent, allocator):
    agent.start()
    soon(lambda: any("the agent of vm-1 starts" in line for line in allocator.lines), agent)


# --- as it is run --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("program,paths", [
    ("subscribe", {"/vm_startup", "/api/vm-metrics/vm-1"}),  # the second tells what became of the code
    ("update_inuse_status", {"/api/update_inuse_status"}),
    ("check_gpu", {"/api/gpu_health"}),
])
def test_deployed_names_run_one_job(agent, allocator, program, paths):
    if not (BUILD / program).exists():
        pytest.skip("this build has no %s" % program)
    del agent.environment["ALLOCATOR_URL"], agent.environment["SUBJECT_SOFTWARE"]
    agent.start("allocator.host=127.0.0.1", "allocator.port=%d" % allocator.port, "client.software=no-such-software", program=program)
    soon(lambda: allocator.requests, agent)
    allocator.assign(1)
    if program == "subscribe":
        soon(lambda: agent.carried_out() == 1, agent)
    said = lambda: {path for path, _, _ in allocator.requests}
    soon(lambda: said() >= paths, agent)
    assert said() == paths


def test_a_second_agent_with_the_same_state_gives_way(agent, allocator):
    agent.start()
    soon(lambda: allocator.requests, agent)
    second = agent.call("run")
    assert second.returncode == 1 and "another agent runs" in second.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_runs_unprivileged_and_without_a_place_to_write(agent, allocator):
    """The state cannot be kept, and that is said; the assignment is carried out all the same."""
    closed = agent.directory / "closed"
    closed.mkdir(mode=0o755)
    agent.environment["LABLINK_CLIENT_STATE_FILE"] = str(closed / "state.json")
    agent.token.chmod(0o644)
    allocator.assign(1)
    with open(agent.output, "ab") as out:
        agent.process = subprocess.Popen(agent.argv("run"), env=agent.environment, stdout=out, stderr=out, user=65534, group=65534,
                                         extra_groups=[], cwd="/")
    soon(lambda: agent.assigned() == ["1"], agent)
    assert "nothing is remembered" in agent.log()


def test_memory(agent, allocator):
    """An upper bound far above what it takes, so that only a real change shows."""
    agent.start()
    soon(lambda: len(allocator.bodies("/api/agent/heartbeat")) >= 2, agent)
    if b"libasan" in pathlib.Path("/proc/%d/maps" % agent.process.pid).read_bytes():
        pytest.skip("a sanitized build")
    assert Process(agent.process.pid).pss_kb() < 20 * 1024
