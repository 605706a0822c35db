"""AWS for tests: moto's server behind a door that checks what moto does not, the signature of each request.

    with AwsServer({"AKIDTEST": "secret"}) as aws:
        subprocess.run([...], env={**environ, **aws.environment("AKIDTEST")})
        aws.calls("sts")                      # what came: service, action, headers, body
        aws.fail("PutLogEvents", 503, times=2)

The door recomputes AWS Signature Version 4 from the request as it came over the wire. A wrong one is answered as AWS
answers it, and remembered: leaving the block demands that none was wrong but those that a test had asked for.
"""

import hashlib
import hmac
import http.client
import http.server
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.parse

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
AUTHORIZATION = re.compile(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$")
ACCOUNT = "123456789012"
# moto's server on a port that the kernel chooses, which it prints.
MOTO = """
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
print(server.port, flush=True)
server.serve_forever()
"""


def packages():
    done = subprocess.run([str(ROOT / "tools/python-packages"), "moto"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip("moto could not be installed, so nothing was tried against a server: %s" % done.stderr.strip()[-300:])
    return done.stdout.strip()


def _hmac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signature(secret, method, target, headers, names, body, scope):
    """The signature as AWS computes it; `headers` is a list of pairs as they came."""
    date, region, service = scope
    path, _, query = target.partition("?")
    pairs = sorted(tuple(piece.partition("=")[::2]) for piece in query.split("&") if piece)
    lines = []
    for name in names:
        values = [" ".join(value.split()) for key, value in headers if key.lower() == name]
        lines.append("%s:%s\n" % (name, ",".join(values)))
    payload = hashlib.sha256(body).hexdigest()
    canonical = "\n".join([method, path, "&".join("%s=%s" % pair for pair in pairs), "".join(lines), ";".join(names), payload])
    when = dict((key.lower(), value) for key, value in headers)["x-amz-date"]
    text = "\n".join(["AWS4-HMAC-SHA256", when, "%s/%s/%s/aws4_request" % scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + secret).encode()
    for part in (date, region, service, "aws4_request"):
        key = _hmac(key, part)
    return _hmac(key, text).hex()


class Call:
    """One request that came, with the service and the action that it asked for."""

    def __init__(self, method, target, headers, body):
        self.method, self.target, self.headers, self.body = method, target, headers, body
        self.head = {key.lower(): value for key, value in headers}
        self.at = time.time()
        found = AUTHORIZATION.match(self.head.get("authorization", ""))
        self.key, self.date, self.region, self.service, names, self.signature = found.groups() if found else (None,) * 6
        self.names = names.split(";") if names else []
        self.session = self.head.get("x-amz-security-token")
        form = urllib.parse.parse_qs(body.decode("utf-8", "replace")) if self.service in ("sts", "ec2") else {}
        self.form = {key: values[0] for key, values in form.items()}
        target_header = self.head.get("x-amz-target", "")
        self.action = self.form.get("Action") or target_header.rpartition(".")[2] or "%s %s" % (method, target.split("?")[0])

    @property
    def json(self):
        return json.loads(self.body)


class _Door(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_one(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        call = Call(self.command, self.path, list(self.headers.items()), body)
        self.server.owner.answer(self, call)

    do_GET = do_PUT = do_POST = do_HEAD = handle_one

    def send(self, status, body, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


class AwsServer:
    def __init__(self, keys, sessions=None):
        """keys: secret of each access key id; sessions: the token that must come with a key."""
        self.keys, self.sessions = dict(keys), dict(sessions or {})
        self.requests, self.wrong, self.faults = [], [], []
        self.lock = threading.Lock()
        self.process = self.door = None

    def __enter__(self):
        place = packages()
        environ = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": place, "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/nonexistent",
                   "AWS_EC2_METADATA_DISABLED": "true"}
        self.process = subprocess.Popen([sys.executable, "-c", MOTO], env=environ, cwd="/", stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        port = self.process.stdout.readline()
        assert port, "moto's server did not start"
        self.moto_port = int(port)
        self.door = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Door)
        self.door.daemon_threads = True
        self.door.owner = self
        threading.Thread(target=self.door.serve_forever, daemon=True).start()
        self.url = "http://127.0.0.1:%d" % self.door.server_address[1]
        return self

    def __exit__(self, kind, value, trace):
        self.door.shutdown()
        self.door.server_close()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        if kind is None:
            assert not self.wrong, "wrongly signed: %r" % self.wrong

    def reset(self):
        with self.lock:
            self.requests.clear()
            self.faults.clear()
            self.wrong.clear()
        self.moto("POST", "/moto-api/reset")

    def environment(self, key=None, session=None, region="us-west-2"):
        """For a program that shall find this server; with a key, its credentials too."""
        found = {"AWS_ENDPOINT_URL": self.url, "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.url, "AWS_REGION": region}
        if key:
            found.update(AWS_ACCESS_KEY_ID=key, AWS_SECRET_ACCESS_KEY=self.keys[key])
        if session:
            found["AWS_SESSION_TOKEN"] = session
        return found

    # --- what a test asks for ------------------------------------------------------------------------------------------

    def fail(self, action, status, body=b"", times=1, headers=(), wait=None):
        """The next `times` requests whose action contains `action` are answered so; status 0: the line is cut. `wait`: an
        event that is awaited first."""
        with self.lock:
            self.faults.append({"action": action, "status": status, "body": body if isinstance(body, bytes) else body.encode(),
                                "times": times, "headers": list(headers), "wait": wait})

    def calls(self, service=None, action=None):
        with self.lock:
            return [call for call in self.requests if service in (None, call.service) and (action is None or action in call.action)]

    # --- answering -----------------------------------------------------------------------------------------------------

    def answer(self, handler, call):
        with self.lock:
            self.requests.append(call)
            fault = next((fault for fault in self.faults if fault["times"] and fault["action"] in call.action), None)
            if fault:
                fault["times"] -= 1
        if fault:
            if fault["wait"]:
                fault["wait"].wait(120)
            if not fault["status"]:
                handler.close_connection = True
                handler.connection.shutdown(socket.SHUT_RDWR)
                return
            return handler.send(fault["status"], fault["body"], fault["headers"])
        if not call.target.startswith("/latest/"):
            refusal = self.check(call)
            if refusal:
                return handler.send(*refusal)
        handler.send(*self.moto(call.method, call.target, call.body, call.headers))

    def check(self, call):
        """The answer that refuses the request, or None."""
        secret = self.keys.get(call.key)
        if secret is None:
            return self.error(call, 403, "InvalidClientTokenId", "The security token included in the request is invalid.")
        if self.sessions.get(call.key) != call.session:
            return self.error(call, 403, "InvalidClientTokenId", "The security token included in the request is invalid.")
        right = signature(secret, call.method, call.target, call.headers, call.names, call.body, (call.date, call.region, call.service))
        missing = {"host", "x-amz-date"} - set(call.names)
        if call.service == "s3" and call.head.get("x-amz-content-sha256") != hashlib.sha256(call.body).hexdigest():
            missing.add("x-amz-content-sha256")
        if right != call.signature or missing:
            with self.lock:
                self.wrong.append((call.action, sorted(missing)))
            return self.error(call, 403, "SignatureDoesNotMatch", "The request signature we calculated does not match; x-amz-security-token:%s" % call.session)
        return None

    def error(self, call, status, code, message):
        if call.service == "logs":
            return status, json.dumps({"__type": code, "message": message}).encode(), [("Content-Type", "application/x-amz-json-1.1")]
        text = "<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error></ErrorResponse>" % (code, message)
        return status, text.encode(), [("Content-Type", "text/xml")]

    def moto(self, method, target, body=b"", headers=()):
        connection = http.client.HTTPConnection("127.0.0.1", self.moto_port, timeout=120)
        kept = {key: value for key, value in headers if key.lower() not in ("connection", "content-length")}
        connection.request(method, target, body=body, headers=kept)
        answer = connection.getresponse()
        data = answer.read()
        skipped = ("connection", "content-length", "transfer-encoding", "date", "server")
        found = answer.status, data, [(key, value) for key, value in answer.getheaders() if key.lower() not in skipped]
        connection.close()
        return found

    # --- what is at AWS ------------------------------------------------------------------------------------------------

    def boto(self, service, region="us-west-2"):
        """A boto3 client of moto itself, past the door."""
        place = packages()
        if place not in sys.path:
            sys.path.append(place)
        import boto3

        return boto3.client(service, region_name=region, endpoint_url="http://127.0.0.1:%d" % self.moto_port,
                            aws_access_key_id="test", aws_secret_access_key="test")

    def log_lines(self, group, stream):
        found, logs, token = [], self.boto("logs"), None
        while True:
            words = {"nextToken": token} if token else {}
            page = logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True, **words)
            found += [event["message"] for event in page["events"]]
            if not page["events"] or page["nextForwardToken"] == token:
                return found
            token = page["nextForwardToken"]
