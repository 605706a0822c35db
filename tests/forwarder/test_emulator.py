"""The same program under Amazon's own runtime interface emulator, where that can be had (tools/lambda-emulator); the other
tests use the runtime API written in function.py."""

import json
import os
import signal
import socket
import subprocess
import tempfile

import pytest
import requests

from function import CONTROL, GROUP, PROGRAM, event
from lab import PATIENCE, ROOT, wait_until


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


@pytest.fixture(scope="module")
def emulator():
    found = subprocess.run([str(ROOT / "tools/lambda-emulator")], capture_output=True, text=True)
    if found.returncode == 3:
        pytest.skip("Lambda's emulator cannot be had: %s" % found.stderr.strip())
    assert found.returncode == 0, found.stderr
    return found.stdout.strip()


class Emulated:
    def __init__(self, emulator, environment):
        self.output = tempfile.TemporaryFile()
        self.url = None
        ports = free_port(), free_port()
        self.process = subprocess.Popen(
            [emulator, "--runtime-interface-emulator-address", "127.0.0.1:%d" % ports[0], "--runtime-api-address",
             "127.0.0.1:%d" % ports[1], str(PROGRAM)],
            env={"PATH": os.environ["PATH"], "AWS_LAMBDA_FUNCTION_TIMEOUT": "60", **environment},
            stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output, start_new_session=True)
        self.url = "http://127.0.0.1:%d/2015-03-31/functions/function/invocations" % ports[0]
        wait_until(lambda: self.listens(ports[0]), PATIENCE, self.log)

    def listens(self, port):
        assert self.process.poll() is None, self.log()
        with socket.socket() as it:
            return it.connect_ex(("127.0.0.1", port)) == 0

    def log(self):
        self.output.seek(0)
        return self.output.read().decode(errors="replace")

    def invoke(self, body):
        answer = requests.post(self.url, data=body, timeout=PATIENCE * 2)
        assert answer.status_code == 200, self.log()
        return answer.json()

    def close(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.output.close()


@pytest.fixture
def emulated(emulator, lab, front):
    it = Emulated(emulator, {"API_ENDPOINT": front.url, "LABLINK_SECURITY_LOG_TOKEN": lab.token})
    yield it
    it.close()


def test_under_the_emulator(emulated, lab, front):
    assert emulated.invoke(CONTROL)["statusCode"] == 200
    said = emulated.invoke(event("vm-1", ["one", "two"]))
    assert said["statusCode"] == 200
    assert json.loads(said["body"]) == {"log_group": GROUP, "log_stream": "vm-1", "log_count": 2}
    assert lab.lines() == ["one", "two"]
    assert "no JSON" in emulated.invoke(b"{}x")["errorMessage"]
    front.play = [(404, [])]
    assert "HTTP 404" in emulated.invoke(event("vm-1", ["three"], first=2))["errorMessage"]
    emulated.invoke(event("vm-1", ["one", "two"]))
    front.play = [(503, [])]
    emulated.invoke(event("vm-1", ["three"], first=2))
    lines = ["line %d" % n for n in range(10000)]
    assert json.loads(emulated.invoke(event("vm-1", lines, first=3))["body"])["log_count"] == 10000
    assert lab.lines() == ["one", "two", "three", *lines]
