"""The log forwarder as AWS Lambda runs it: the runtime API on this machine, the program, and subscription events.

Runtime is an equal of the Lambda runtime API (version 2018-06-01) written here: it hands out invocations with a deadline
and takes what the function says of them. Where Amazon's own emulator (aws-lambda-rie) is at hand, test_emulator.py runs
the same program against it.
"""

import base64
import contextlib
import gzip
import http.server
import json
import queue
import re
import subprocess
import tempfile
import threading
import time
import uuid

import lab as labs

PROGRAM = labs.BUILD / "lablink-log-forwarder"
GROUP = "lablink-cloud-init-test"
BASE = "/2018-06-01/runtime/"
# Long enough that no deadline of the function comes by itself, however busy the machine is.
LONG = 600


def packed(content):
    return base64.b64encode(gzip.compress(content if isinstance(content, bytes) else json.dumps(content).encode(), mtime=0)).decode()


def wrapped(data):
    return json.dumps({"awslogs": {"data": data}}).encode()


def content(stream, messages, ids=True, first=0, **more):
    """What CloudWatch Logs packs for a subscription; ids look like its own: 56 digits."""
    events = []
    for number, message in enumerate(messages, first):
        event = {"id": "%056d" % (36 << 180 | number), "timestamp": 1731542400000 + number, "message": message}
        if not ids:
            del event["id"]
        events.append(event)
    return {
        "messageType": "DATA_MESSAGE", "owner": "123456789012", "logGroup": GROUP, "logStream": stream,
        "subscriptionFilters": ["lablink_lambda_log_filter"], "logEvents": events, **more,
    }


def event(stream, messages, **more):
    return wrapped(packed(content(stream, messages, **more)))


CONTROL = wrapped(packed({
    "messageType": "CONTROL_MESSAGE", "owner": "CloudwatchLogs", "logGroup": "", "logStream": "", "subscriptionFilters": [],
    "logEvents": [{"id": "", "timestamp": 1731542400000, "message": "CWL CONTROL MESSAGE: Checking health of destination Firehose."}],
}))


class Invocation:
    def __init__(self, body, seconds, request_id):
        self.body, self.seconds, self.id = body, seconds, request_id or str(uuid.uuid4())
        self.done = threading.Event()
        self.outcome = self.said = self.error_type = None  # outcome: "response" or "error"

    def finish(self, outcome, said, error_type=None):
        self.outcome, self.said, self.error_type = outcome, said, error_type
        self.done.set()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        runtime = self.server.owner
        if self.path != BASE + "invocation/next":
            return self.answer(404)
        runtime.asked.set()
        invocation = runtime.waiting.get()
        if invocation is None:
            self.close_connection = True
            return None
        runtime.handed[invocation.id] = invocation
        deadline = int((time.time() + invocation.seconds) * 1000)
        return self.answer(200, invocation.body, [
            ("Content-Type", "application/json"), ("Lambda-Runtime-Aws-Request-Id", invocation.id),
            ("Lambda-Runtime-Deadline-Ms", str(deadline)), ("Lambda-Runtime-Trace-Id", "Root=1-0-0"),
            ("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-west-2:123456789012:function:lablink_log_processor_test"),
        ])

    def do_POST(self):
        runtime = self.server.owner
        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        kind = self.headers.get("Lambda-Runtime-Function-Error-Type")
        self.answer(202, b'{"status":"OK"}')
        if self.path == BASE + "init/error":
            return runtime.init_error.put((said, kind))
        request_id, outcome = re.fullmatch(re.escape(BASE) + r"invocation/([^/]+)/(response|error)", self.path).groups()
        return runtime.handed.pop(request_id).finish(outcome, said, kind)


class Runtime(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.owner = self
        self.waiting, self.init_error, self.handed, self.asked = queue.Queue(), queue.Queue(), {}, threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        self.address = "127.0.0.1:%d" % self.server_port

    def handle_error(self, *_):
        pass  # a function that was killed

    def begin(self, body, seconds=LONG, request_id=None):
        invocation = Invocation(body, seconds, request_id)
        self.waiting.put(invocation)
        return invocation

    def close(self):
        self.waiting.put(None)
        self.shutdown()
        self.server_close()


class Function:
    """The program in a runtime. `argv`: another way to start it; `environment`: its variables."""

    def __init__(self, environment, argv=None):
        self.runtime = Runtime()
        self.output = tempfile.TemporaryFile()
        self.argv = argv or [str(PROGRAM)]
        self.environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin", "AWS_LAMBDA_RUNTIME_API": self.runtime.address, "_HANDLER": "bootstrap",
            "AWS_LAMBDA_FUNCTION_NAME": "lablink_log_processor_test", "LAMBDA_TASK_ROOT": "/var/task", "TZ": ":UTC",
            "ASAN_OPTIONS": "detect_leaks=1", "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1", **environment,
        }
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.argv, env=self.environment, stdin=subprocess.DEVNULL, stdout=self.output,
                                        stderr=self.output, start_new_session=True)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def invoke(self, body, seconds=LONG, request_id=None):
        return self.wait(self.runtime.begin(body, seconds, request_id))

    def wait(self, invocation):
        end = time.monotonic() + 4 * labs.PATIENCE
        while not invocation.done.wait(0.1):
            assert self.process.poll() is None, "the function ended with %s:\n%s" % (self.process.returncode, self.log())
            assert time.monotonic() < end, "no outcome:\n%s" % self.log()
        return invocation

    def log(self):
        self.output.seek(0)
        return self.output.read().decode(errors="replace")

    def close(self):
        self.kill()
        self.runtime.close()
        log = self.log()
        self.output.close()
        assert not labs.COMPLAINTS.search(log), log


@contextlib.contextmanager
def function(endpoint, token=None, argv=None, **environment):
    environment = {"API_ENDPOINT": endpoint, **environment}
    if token:
        environment["LABLINK_SECURITY_LOG_TOKEN"] = token
    it = Function(environment, argv)
    try:
        yield it
    finally:
        it.close()


def stored(invocation):
    """The answer's body of an invocation that must have gone well."""
    assert invocation.outcome == "response", invocation.said
    assert invocation.said["statusCode"] == 200
    return json.loads(invocation.said["body"])


def failed(invocation, word=""):
    """The sentence of an invocation that must have failed."""
    assert invocation.outcome == "error", invocation.said
    assert word in invocation.said["errorMessage"], invocation.said
    assert invocation.error_type == "Forwarder." + invocation.said["errorType"]
    return invocation.said["errorMessage"]


class Front(http.server.ThreadingHTTPServer):
    """Stands before an allocator and does with each request what `play` says: a status (with headers) is answered at once
    and the allocator hears nothing; "swallow" passes it on and never answers; "drop" passes it on and closes; "hold"
    waits for `released` and closes; "pass", and whatever comes after the last word, passes it on."""

    daemon_threads = True

    class Handler(Handler):
        def do_POST(self):
            self.server.take(self)

    def __init__(self, behind, tls=None):
        """`tls`: a server's SSL context, to be spoken to by https."""
        super().__init__(("127.0.0.1", 0), Front.Handler)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.behind, self.play, self.seen, self.lock = behind, [], [], threading.Lock()
        self.released = threading.Event()
        self.scheme = "https" if tls else "http"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self):
        return "%s://127.0.0.1:%d" % (self.scheme, self.server_port)

    def handle_error(self, *_):
        pass

    def take(self, request):
        body = request.rfile.read(int(request.headers["Content-Length"]))
        with self.lock:
            word = self.play.pop(0) if self.play else "pass"
            self.seen.append((request.path, dict(request.headers), json.loads(body), time.monotonic()))
        status, headers = word if isinstance(word, tuple) else (word, [])
        if isinstance(status, int):
            return request.answer(status, b'{"error": "said by the test", "code": "test"}', headers)
        if word != "hold":
            answer = self.behind.session().post(self.behind.url + request.path, data=body, headers={
                name: value for name, value in request.headers.items() if name in ("Content-Type", "Authorization", "Accept")}, timeout=60)
        if word in ("swallow", "hold"):
            self.released.wait()
        if word != "pass":
            request.close_connection = True
            return None
        return request.answer(answer.status_code, answer.content, [("Content-Type", "application/json")])

    def close(self):
        self.released.set()
        self.shutdown()
        self.server_close()

