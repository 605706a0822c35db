"""The log forwarder between CloudWatch Logs and a real allocator: whatever happens between them, each line is stored
once and in order, and what is not stored is told as a failure, so that AWS brings it again."""

import base64
import gzip
import json
import random
import re
import socket
import subprocess
import urllib.request

import pytest

from function import CONTROL, GROUP, PROGRAM, Function, content, event, failed, function, packed, stored, wrapped
from lab import wait_until

LINES = ["Installing dependencies...", "", "ünïcode \u2603 \U0001f600", 'quotes " and \\ and \t tab', "<b>markup</b>", "two\nlines"]


def test_lines_arrive_once_and_in_order(forwarder, lab, front):
    answer = stored(forwarder.invoke(event("vm-1", LINES)))
    assert answer == {"log_group": GROUP, "log_stream": "vm-1", "log_count": len(LINES)}
    assert lab.lines() == LINES
    path, headers, body, _ = front.seen[0]
    assert path == "/api/vm-logs" and headers["Authorization"] == "Bearer " + lab.token
    assert headers["Content-Type"] == "application/json"
    assert {name: body[name] for name in ("log_group", "log_stream", "messages")} == {
        "log_group": GROUP, "log_stream": "vm-1", "messages": LINES}
    # AWS brings an event again whenever it likes.
    again = forwarder.runtime.begin(event("vm-1", LINES))
    stored(forwarder.wait(again))
    assert lab.lines() == LINES and front.seen[1][2] == body
    stored(forwarder.invoke(event("vm-1", ["the next"], first=len(LINES))))
    assert lab.lines() == [*LINES, "the next"]


def test_probes_and_empty_events_are_no_lines(forwarder, lab, front):
    assert stored(forwarder.invoke(CONTROL))["log_count"] == 0
    assert stored(forwarder.invoke(event("vm-1", [])))["log_count"] == 0
    assert not front.seen and not lab.lines()


def test_ten_thousand_lines_in_one_event(forwarder, lab, front):
    """Cut into batches; a failure between two of them, and AWS's repetition, change nothing about each line being there once."""
    random.seed(6)
    lines = ["%d %s" % (n, "x" * random.randrange(20, 300)) for n in range(10000)]
    body = event("vm-1", lines)
    front.play = ["pass", (413, [])]
    assert "of 10000 lines are stored" in failed(forwarder.invoke(body, request_id="same"))
    first = len(lab.lines())
    assert 0 < first < 10000 and lab.lines() == lines[:first]
    assert stored(forwarder.invoke(body, request_id="same"))["log_count"] == 10000
    assert lab.lines() == lines
    posted = [len(json.dumps(seen[2], ensure_ascii=False)) for seen in front.seen]
    assert max(posted) < 1 << 20, posted
    ids = [seen[2]["batch_id"] for seen in front.seen]
    assert ids[0] == ids[2] and len(set(ids)) == len(ids) - 2


def test_large_lines_fit(forwarder, lab):
    """A line of CloudWatch's own limit, of what JSON writes six times as long (and the allocator drops), between others."""
    lines = ["before", "x" * 100 + "\x01" * (256 << 10), "é" * (512 << 10), "after"]
    assert stored(forwarder.invoke(event("vm-1", lines)))["log_count"] == 4
    kept = lab.lines()
    assert kept[0] == "before" and kept[3] == "after"
    assert re.fullmatch(r"x{100} \.\.\. \(\d+ bytes cut\)", kept[1])
    assert kept[2].startswith("é" * 7000) and kept[2].endswith(" bytes cut)")


def test_events_without_ids(forwarder, lab):
    """AWS repeats a failed invocation under its id; the same lines under another are other lines."""
    body = event("vm-1", ["a", "b"], ids=False)
    for request_id in ("one", "one", "two"):
        stored(forwarder.invoke(body, request_id=request_id))
    assert lab.lines() == ["a", "b", "a", "b"]


def test_texts_that_json_does_not_hold(forwarder, lab):
    text = json.dumps(content("vm-1", ["half \ud800 pair", "nul \0 inside"])).encode()
    text = text.replace(b"half", b"half \xff\xfe")
    stored(forwarder.invoke(wrapped(packed(text))))
    assert lab.lines() == ["half \ufffd\ufffd \ufffd pair", "nul \ufffd inside"]


def test_what_is_no_event_fails_and_the_function_lives_on(forwarder, lab, front):
    good = gzip.compress(json.dumps(content("vm-1", ["x"] * 100)).encode())
    damaged = bytearray(good)
    damaged[len(good) // 2] ^= 0xFF
    bomb = gzip.compress(b'{"logEvents":[' + b" " * (200 << 20), 9)
    many = packed(b'{"logEvents":[' + b"0," * (3 << 20) + b"0]}")
    b64 = lambda data: wrapped(base64.b64encode(bytes(data)).decode())  # noqa: E731
    without = lambda name: wrapped(packed({key: value for key, value in content("vm-1", ["x"]).items() if key != name}))  # noqa: E731
    for body, word in [
        (b"", "no JSON"), (b"{", "no JSON"), (b"[]", "awslogs.data"), (b"{}", "awslogs.data"),
        (b'{"awslogs": {"data": 7}}', "awslogs.data"), (b"[" * 100000, "no JSON"),
        (wrapped("***"), "base64"), (wrapped(""), "cut off"), (b64(b"no gzip"), "damaged"),
        (b64(good[:-1]), "cut off"), (b64(good[: len(good) // 2]), "cut off"), (b64(good[:5]), "cut off"),
        (b64(damaged), "damaged"), (b64(good + b"rest"), "follows"), (b64(bomb), "more than"),
        (wrapped(many), "values"), (wrapped(packed(b"no json")), "no JSON"), (wrapped(packed([])), "logGroup"),
        (without("logGroup"), "logGroup"), (without("logStream"), "logStream"), (without("logEvents"), "logEvents"),
        (wrapped(packed(content("vm-1", [7]))), "no message"), (event("vm-1", ["x"], messageType="OTHER"), "messageType"),
        (wrapped(packed({**content("vm-1", []), "logEvents": [1]})), "no message"),
        (wrapped("A" * (9 << 20)), "larger than"),
    ]:
        failed(forwarder.invoke(body), word)
    assert not front.seen
    # Two members make one file; zeros behind it are padding; a missing type is data.
    halves = json.dumps(content("vm-1", ["whole"])).encode()
    stored(forwarder.invoke(b64(gzip.compress(halves[:50]) + gzip.compress(halves[50:]) + b"\0\0")))
    untyped = content("vm-1", ["x"], first=1)
    del untyped["messageType"]
    stored(forwarder.invoke(wrapped(packed(untyped))))
    assert lab.lines() == ["whole", "x"]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_passes_is_tried_again(forwarder, lab, front, status):
    front.play = [(status, [("Retry-After", "1")] if status == 429 else []), (status, [])]
    stored(forwarder.invoke(event("vm-1", ["x"])))
    assert len(front.seen) == 3 and lab.lines() == ["x"]
    if status == 429:
        assert front.seen[1][3] - front.seen[0][3] >= 1
    assert len({seen[2]["batch_id"] for seen in front.seen}) == 1


@pytest.mark.parametrize("status", [204, 301, 400, 401, 404, 413, 422])
def test_what_stays_fails_at_once(forwarder, lab, front, status):
    front.play = [(status, [("Location", "http://127.0.0.1:1/")] if status == 301 else [])]
    sentence = failed(forwarder.invoke(event("vm-1", ["x"])), "HTTP %d" % status)
    assert len(front.seen) == 1 and not lab.lines()
    assert {204: "", 301: "API_ENDPOINT", 401: "LABLINK_SECURITY_LOG_TOKEN"}.get(status, "said by the test") in sentence
    stored(forwarder.invoke(event("vm-1", ["x"])))
    assert lab.lines() == ["x"]


def test_unknown_vm(forwarder, lab):
    """404 until its row is there; then AWS's repetition stores it."""
    body = event("vm-2", ["early"])
    assert "vm-2" in failed(forwarder.invoke(body, request_id="early"), "HTTP 404")
    lab.add_vm("vm-2")
    stored(forwarder.invoke(body, request_id="early"))
    assert lab.lines("vm-2") == ["early"]


def test_no_time_left(forwarder, lab, front):
    """The deadline ends the tries, before Lambda would end the function; a Retry-After beyond it is not waited for."""
    front.play = [(503, [])] * 1000
    failed(forwarder.invoke(event("vm-1", ["x"]), seconds=3), "no time left for another try")
    front.play = [(503, [("Retry-After", "100000")])]
    failed(forwarder.invoke(event("vm-1", ["x"])), "no time left for another try: HTTP 503")
    failed(forwarder.invoke(event("vm-1", ["x"]), seconds=0), "no time")
    front.play = []
    stored(forwarder.invoke(event("vm-1", ["x"])))
    assert lab.lines() == ["x"]


def test_stored_but_not_answered(forwarder, lab, front):
    """The connection breaks, or the time ends, after the allocator has committed: the repetition is known by its id."""
    front.play = ["drop", "drop"]
    stored(forwarder.invoke(event("vm-1", ["x"])))
    assert len(front.seen) == 3
    front.play = ["swallow"]
    body = event("vm-1", ["y"], first=1)
    failed(forwarder.invoke(body, seconds=3, request_id="slow"), "no time left for another try")
    front.play = []
    stored(forwarder.invoke(body, request_id="slow"))
    assert lab.lines() == ["x", "y"]


def test_killed_between_storing_and_telling(forwarder, lab, front):
    front.play = ["swallow"]
    body = event("vm-1", ["x"])
    forwarder.runtime.begin(body, request_id="killed")
    wait_until(lambda: lab.lines() == ["x"])
    forwarder.kill()
    forwarder.start()
    stored(forwarder.invoke(body, request_id="killed"))
    assert lab.lines() == ["x"]


def test_allocator_away_and_back(lab, new_lab):
    """Refused connections are tried until the invocation's time ends; an allocator that comes back in it gets the lines."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, not listening: refused, and nobody else's
        with function("http://127.0.0.1:%d" % closed.getsockname()[1], lab.token) as it:
            failed(it.invoke(event("vm-1", ["x"]), seconds=3), "no time left for another try")
    other = new_lab(config={"security": {"client_auth": "token", "log_token": lab.token}}, name="away")
    other.add_vm("vm-1")
    with function(other.url + "/api/vm-logs", lab.token) as it:
        stored(it.invoke(event("vm-1", ["before"])))
        other.interrupt()
        waiting = it.runtime.begin(event("vm-1", ["after"], first=1))
        wait_until(lambda: "try 1" in it.log())
        other.start()
        stored(it.wait(waiting))
    assert other.get("/api/vm-logs/vm-1", admin=True).json()["logs"] == "before\nafter\n"


def test_wrong_or_missing_token(lab):
    for token in ("wrong", None):
        with function(lab.url + "/api/vm-logs", token) as it:
            failed(it.invoke(event("vm-1", ["x"])), "LABLINK_SECURITY_LOG_TOKEN")
    assert not lab.lines()


def test_endpoint_as_deployed(lab, tmp_path, new_lab):
    """Without a scheme and a token it is http; without a path, /api/vm-logs; the token may stand in a file."""
    token = tmp_path / "token"
    token.write_text(lab.token + "\n")
    token.chmod(0o600)
    with function(lab.url, LABLINK_SECURITY_LOG_TOKEN_FILE=str(token)) as it:
        stored(it.invoke(event("vm-1", ["by file"])))
    assert lab.lines() == ["by file"]
    other = new_lab(name="open")  # on loopback: client_auth open
    other.add_vm("vm-1")
    with function(other.url.replace("http://", "") + "/api/vm-logs") as it:
        stored(it.invoke(event("vm-1", ["no scheme"])))
    deployed_python(other, ["as the deployed function posts", "x"])
    assert other.get("/api/vm-logs/vm-1", admin=True).json()["logs"] == "no scheme\nas the deployed function posts\nx\n"


def deployed_python(lab, messages):
    """What the Python function of deployed labs sends: no token, no batch id."""
    body = json.dumps({"log_group": GROUP, "log_stream": "vm-1", "messages": messages}).encode()
    request = urllib.request.Request(lab.url + "/api/vm-logs", body, {"Content-Type": "application/json"}, method="POST")
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 200 and json.load(answer)["message"]


@pytest.mark.parametrize("environment, word", [
    ({}, "API_ENDPOINT is not set"), ({"API_ENDPOINT": ""}, "API_ENDPOINT is not set"),
    ({"API_ENDPOINT": "ftp://host/"}, "http://"), ({"API_ENDPOINT": "http://user:geheim@host/"}, "user name"),
    ({"API_ENDPOINT": "http://exa mple/"}, "no address"),
    ({"API_ENDPOINT": "host", "LABLINK_SECURITY_LOG_TOKEN": "two\nlines"}, "blank"),
    ({"API_ENDPOINT": "host", "LABLINK_SECURITY_LOG_TOKEN_FILE": "/nonexistent"}, "/nonexistent"),
])
def test_cannot_start(environment, word):
    it = Function(environment)
    try:
        said, kind = it.runtime.init_error.get(timeout=60)
        assert word in said["errorMessage"] and kind == "Forwarder.Configuration"
        assert it.process.wait(60) == 1
        assert "geheim" not in it.log() + said["errorMessage"] and "two" not in it.log()
    finally:
        it.close()


def test_outside_lambda():
    done = subprocess.run([str(PROGRAM)], env={"API_ENDPOINT": "http://h/"}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "AWS_LAMBDA_RUNTIME_API" in done.stderr
    page = subprocess.run([str(PROGRAM), "--man"], capture_output=True, text=True, timeout=60).stdout
    assert page.startswith(".") and "API_ENDPOINT" in page


def test_runtime_gone(lab):
    """Lambda starts it anew: it ends by itself."""
    it = Function({"API_ENDPOINT": lab.url})
    try:
        assert it.runtime.asked.wait(60)
        it.runtime.waiting.put(None)
        assert it.process.wait(60) == 1
        assert "runtime" in it.log()
    finally:
        it.close()
