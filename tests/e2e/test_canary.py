"""Planted secrets: one whole workshop, and then every place that should not hold them is searched."""

import contextlib
import glob
import http.server
import json
import os
import pathlib
import stat
import subprocess
import threading

from lab import CRD, CODE, wait_until
from workshop import JSON, claim, code_of, records, running

PASSWORD = "Planted-password-7319"
ACCESS_CODE = "planted-word-said-aloud"
LOG_TOKEN = "planted-log-token-" + "x" * 30
PIN = "7319264850"  # ten digits: six stand in many a number
AWS_KEY = "planted/aws/secret/access/key"
SET_KEY, SET_SECRET, SET_TOKEN = "AKIDPLANTEDCANARY", "planted/secret/key/set+on/the=page", "planted-session-token/" + "y" * 500
OTHERS_SECRET = "planted-secret-of-another-program"


def searched(place, text, secrets):
    found = [name for name, secret in secrets.items() if secret in text]
    assert not found, "%s holds %s" % (place, found)


def readable_by_all(top):
    """Files below `top` that any user of the machine can reach and read."""
    for entry in os.scandir(top):
        mode = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode) and mode & stat.S_IXOTH:
            yield from readable_by_all(entry.path)
        elif stat.S_ISREG(mode) and mode & stat.S_IROTH:
            yield pathlib.Path(entry.path)


def dump(lab):
    (program, *_) = sorted(glob.glob("/usr/lib/postgresql/*/bin/pg_dump"), reverse=True)
    done = subprocess.run([program, "-h", str(lab.state / "db/run"), "-U", "lablink", lab.config.get("db", {}).get("dbname", "lablink_db")],
                          capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stderr
    return done.stdout


class Sts(http.server.BaseHTTPRequestHandler):
    """Accepts whatever credentials come."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.tokens.append(self.headers["X-Amz-Security-Token"])
        body = b"<R><GetCallerIdentityResult><Arn>arn:aws:iam::1:user/x</Arn><UserId>x</UserId><Account>1</Account></GetCallerIdentityResult></R>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


@contextlib.contextmanager
def sts():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sts) as server:
        server.tokens = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def process_texts(lab):
    for process in lab.processes():
        if process.pid == lab.process.pid or process.program == "lablink-runner":
            environ = ""  # theirs are told apart below
        else:
            try:
                environ = pathlib.Path("/proc/%d/environ" % process.pid).read_text(errors="replace")
            except OSError:
                continue
        yield process, process.command, environ


def test_no_planted_secret_is_found_where_it_is_not_needed(workshop):
    with sts() as server:
        look_everywhere(workshop, server)


def look_everywhere(workshop, server):
    lab = workshop(name="canary", app={"admin_password": PASSWORD, "pin": PIN},
                   security={"access_code": ACCESS_CODE, "log_token": LOG_TOKEN, "client_auth": "token"})
    # secrets of the environment in which somebody starts the lab
    lab.interrupt()
    lab.environment = {"AWS_SECRET_ACCESS_KEY": AWS_KEY, "OTHER_SECRET": OTHERS_SECRET, "AWS_ENDPOINT_URL": "http://127.0.0.1:%d" % server.server_address[1]}
    lab.start()
    keys = {"aws_access_key_id": SET_KEY, "aws_secret_access_key": SET_SECRET, "aws_token": SET_TOKEN}
    answer = lab.post("/api/admin/set-aws-credentials", data=keys, admin=True)
    assert answer.status_code == 200 and server.tokens[-1] == SET_TOKEN, answer.text
    searched("the answer to AWS credentials", answer.text, {"key": SET_KEY, "secret": SET_SECRET, "token": SET_TOKEN})
    lab.launch(2)
    running(lab, 2)

    tokens = {}
    for path in sorted((lab.state / "local").glob("*.json")):
        assert stat.S_IMODE(path.parent.stat().st_mode) & 0o077 == 0
        token = json.loads(path.read_text()).get("token")
        if token:
            tokens["token of " + path.stem] = token
    assert len(tokens) == 2, list((lab.state / "local").iterdir())

    seats = {}
    for number in (1, 2):
        body = {"email": "canary%d@example.org" % number, "crd_command": CRD.replace(CODE, code_of(number)), "access_code": ACCESS_CODE}
        answer = lab.post("/api/request_vm", json=body, headers=JSON)
        assert answer.status_code == 200, answer.text
        seats[number] = answer
        searched("a participant's answer", answer.text, {
            "password": PASSWORD, "access code": ACCESS_CODE, "log token": LOG_TOKEN, "other's code": code_of(3 - number),
            "other's e-mail": "canary%d@" % (3 - number), **tokens})
    assert claim(lab, 3).status_code == 403, "without the word"
    for number, seat in seats.items():
        wait_until(lambda: records(lab, seat.json()["hostname"]), 60, "start-host was called")
    lab.get("/admin", auth=("admin", "wrong"))
    lab.post("/api/vm-logs", json={"log_stream": seats[1].json()["hostname"], "messages": ["--code=%s pin %s" % (code_of(1), PIN)]},
             headers={"Authorization": "Bearer " + LOG_TOKEN})

    common = {"password": PASSWORD, "access code": ACCESS_CODE, "log token": LOG_TOKEN, "AWS key": AWS_KEY, "other's": OTHERS_SECRET, "AWS secret that was set": SET_SECRET,
              "AWS key that was set": SET_KEY, "AWS token that was set": SET_TOKEN, **tokens}
    personal = {"PIN": PIN, "code 1": code_of(1), "code 2": code_of(2)}

    searched("the allocator's log", lab.log(), {**common, **personal})
    texts = list(process_texts(lab))
    assert {"lablink-allocator", "postgres", "lablink-client"} <= {process.program for process, _, environ in texts if environ}
    for process, command, environ in texts:
        searched("the arguments of %r" % process, command, {**common, **personal})
        searched("the environment of %r" % process, environ, {**common, **personal})
    for path in ("/", "/healthz", "/readyz", "/api/vm-status", "/api/unassigned_vms_count", "/api/vm-status/" + seats[1].json()["hostname"]):
        for accept in ("text/html", "application/json"):
            searched(path, lab.get(path, headers={"Accept": accept}).text, {**common, **personal, "e-mail": "canary1@", "e-mail 2": "canary2@"})
    for path in ("/admin", "/admin/instances", "/api/operations", "/api/vm-logs/" + seats[1].json()["hostname"], "/api/operations/1/output"):
        for accept in ("text/html", "application/json"):
            searched(path, lab.get(path, admin=True, headers={"Accept": accept}).text, common)
    log = lab.get("/api/vm-logs/" + seats[1].json()["hostname"], admin=True).text
    assert "pin ******" in log
    searched("a VM's log", log, {**common, **personal})
    for path in readable_by_all(lab.state):
        searched(path, path.read_bytes()[: 4 << 20].decode("latin-1"), {**common, **personal})

    # the PIN and the code are shown to their holder and sent to the machine, so the database has them while the seat is held
    searched("a dump of the database", dump(lab), common)
    lab.destroy()
    searched("a dump after the workshop", dump(lab), {**common, **personal, "e-mail": "canary1@", "e-mail 2": "canary2@"})
    searched("the allocator's log at the end", lab.log(), {**common, **personal})
