"""Every endpoint x (good, each bad input, unknown host, wrong method, wrong type, HTML and JSON answers), as one table.

The payloads marked `deployed` are those that the Python LabLink's clients send, word for word.
"""

import itertools
import json
import random
import re
import string

import pytest

from lab import CODE, CRD

JSON = {"Accept": "application/json"}
VM = "lablink-vm-test-1"
UNKNOWN = "lablink-vm-test-404"
numbers = itertools.count(1)


def email():
    """One that no other test used: claims are limited by e-mail."""
    return "person%d@example.org" % next(numbers)


class Case:
    """One request and what must come back. `json` is sent as JSON, `form` as a form, `data` as it is."""

    def __init__(self, name, method, path, status, code=None, admin=False, vm=True, headers=None, says=None, **body):
        self.name, self.method, self.path, self.status, self.code = name, method, path, status, code
        self.admin, self.vm, self.headers, self.says, self.body = admin, vm, headers or {}, says, body

    def send(self, lab):
        words = {"headers": {**JSON, **self.headers}, "admin": self.admin}
        if "json" in self.body:
            words["json"] = self.body["json"]
        if "form" in self.body:
            words["data"] = self.body["form"]
        if "data" in self.body:
            words["data"] = self.body["data"]
            words["headers"].setdefault("Content-Type", "application/json")
        return lab.request(self.method, self.path, **words)


def vm_post(path, field, good, missing, wrong, **more):
    """The rows that every POST of a VM has: `good` and `wrong` are bodies without the host name."""
    name = path.strip("/").replace("/", "-")
    host = lambda body, hostname=VM: {field: hostname, **body}
    for index, body in enumerate(good):
        yield Case("%s good %d" % (name, index), "POST", path, 200, json=host(body), **more)
    yield Case(name + " unknown host", "POST", path, 404, "unknown-vm", json=host(good[0], UNKNOWN), **more)
    for index, body in enumerate(missing):
        yield Case("%s missing %d" % (name, index), "POST", path, 400, "missing-field", json=host(body), **more)
    for index, body in enumerate(wrong):
        yield Case("%s wrong %d" % (name, index), "POST", path, 422, json=host(body), **more)
    yield Case(name + " no host", "POST", path, 400, "missing-field", json=good[0], **more)
    for index, hostile in enumerate(["../etc/passwd", "a b", "-vm", "x" * 256, "vm\u0000", "vm\n", "<script>", "ü", 7, ["a"], {}]):
        yield Case("%s hostile host %d" % (name, index), "POST", path, 422, json=host(good[0], hostile), **more)
    yield from bad_json(name, path)
    yield Case(name + " GET", "GET", path, 405, **more) if path != "/api/vm-status" else Case(name + " PUT", "PUT", path, 405, **more)


def bad_json(name, path):
    for index, (text, status) in enumerate([
        (b"{", 400), (b"", 400), (b"[]", 400), (b"null", 400), (b"7", 400), (b'"text"', 400), (b"{} {}", 400), (b'{"a": "\xff"}', 400),
        (b'{"a": 1, "a": 2}', 400), (b'{"a":' * 40 + b"1" + b"}" * 40, 400), (b"{'a': 1}", 400), (b'{"a": NaN}', 400),
        (b'{"hostname": "\\ud800"}', 400), (b" " * (17 << 20 if path == "/api/vm-logs" else 2 << 20) + b"{}", 413),
    ]):
        yield Case("%s bad json %d" % (name, index), "POST", path, status, data=text)
    yield Case(name + " other type", "POST", path, 415, data=b"<a/>", headers={"Content-Type": "text/xml"})
    yield Case(name + " no type", "POST", path, 400, data=b"{}", headers={"Content-Type": ""})  # taken as JSON


CASES = [
    # --- VMs: status (specification 5, 6; `deployed` words) ---
    *vm_post("/api/vm-status", "hostname",
             [{"status": word} for word in ("initializing", "running", "error", "available", "assigned", "unknown")],
             [{}, {"status": None}],
             [{"status": word} for word in ("", "Running", "booted", 1, True, [], {}, "running\u0000")]),
    # --- VMs: in use ---
    *vm_post("/api/update_inuse_status", "hostname", [{"status": True}, {"status": False}], [{}, {"status": None}],
             [{"status": word} for word in ("true", 1, 0, [], {})]),
    # --- VMs: GPU health; deployed clients send the words ---
    *vm_post("/api/gpu_health", "hostname",
             [{"gpu_status": word} for word in (True, False, "Healthy", "Unhealthy", "N/A", "healthy", "n/a")],
             [{}, {"gpu_status": None}], [{"gpu_status": word} for word in ("", "good", 1, [], {})]),
    # --- VMs: heartbeat ---
    *vm_post("/api/agent/heartbeat", "hostname",
             [{}, {"boot_id": "b0b5b2f0-0000-4000-8000-000000000000", "generation": 3, "uptime": 12.5}], [],
             [{"boot_id": 1}, {"boot_id": "x" * 65}, {"generation": "1"}, {"generation": -1}, {"generation": 1.5},
              {"uptime": "1"}, {"uptime": -1}]),
    # --- VMs: logs ---
    *vm_post("/api/vm-logs", "log_stream",
             [{"log_group": "lablink", "messages": ["one", "two"]}, {"messages": []}, {"messages": ["x"], "batch_id": "b-1"},
              {"messages": ["nul \u0000 and \x1b[31mred"]}],
             [{}, {"messages": None}],
             [{"messages": "text"}, {"messages": [1]}, {"messages": [["a"]]}, {"messages": {}}, {"messages": ["x"], "batch_id": 1},
              {"messages": ["x"], "batch_id": ""}, {"messages": ["x"], "batch_id": "y" * 129}, {"messages": ["x"] * 10001}]),
    # --- VMs: waiting ---
    Case("startup unknown host", "POST", "/vm_startup", 404, "unknown-vm", json={"hostname": UNKNOWN}),
    Case("startup no host", "POST", "/vm_startup", 400, "missing-field", json={}),
    Case("startup wrong host", "POST", "/vm_startup", 422, "bad-hostname", json={"hostname": "a/b"}),
    Case("startup wrong generation", "POST", "/vm_startup", 422, "wrong-type", json={"hostname": VM, "generation": "1"}),
    Case("startup negative generation", "POST", "/vm_startup", 422, "wrong-type", json={"hostname": VM, "generation": -1}),
    Case("startup GET", "GET", "/vm_startup", 405),
    *bad_json("startup", "/vm_startup"),
    # --- VMs: metrics ---
    Case("metrics iso", "POST", "/api/vm-metrics/" + VM, 200, json={
        "cloud_init_start": "2026-11-25T03:30:22Z", "cloud_init_end": "2026-11-25T03:31:22.5+00:00", "cloud_init_duration_seconds": 60.5}),
    Case("metrics deployed epoch 1", "POST", "/api/vm-metrics/" + VM, 200, json={
        "cloud_init_start": 1764041422, "cloud_init_end": 1764041482, "cloud_init_duration_seconds": 60}),
    Case("metrics deployed epoch 2", "POST", "/api/vm-metrics/" + VM, 200, json={
        "container_start_time": 1764041482, "container_end_time": 1764041490, "container_startup_duration_seconds": 8}),
    Case("metrics unknown key", "POST", "/api/vm-metrics/" + VM, 200, json={"something_new": {"deep": [1, None]}}),
    Case("metrics unknown host", "POST", "/api/vm-metrics/" + UNKNOWN, 404, "unknown-vm", json={"cloud_init_start": 1764041422}),
    Case("metrics empty", "POST", "/api/vm-metrics/" + VM, 400, json={}),
    Case("metrics nonsense time", "POST", "/api/vm-metrics/" + VM, 422, "bad-metric", json={"cloud_init_start": "yesterday"}),
    Case("metrics nonsense duration", "POST", "/api/vm-metrics/" + VM, 422, "bad-metric", json={"cloud_init_duration_seconds": "x"}),
    Case("metrics negative duration", "POST", "/api/vm-metrics/" + VM, 422, "bad-metric", json={"cloud_init_duration_seconds": -1}),
    Case("metrics too large", "POST", "/api/vm-metrics/" + VM, 422, "bad-metric", json={"note": "x" * 20000}),
    Case("metrics huge number", "POST", "/api/vm-metrics/" + VM, 422, "bad-metric", json={"note": [1e300]}),
    Case("metrics boolean", "POST", "/api/vm-metrics/" + VM, 422, "bad-metric", json={"container_start_time": True}),
    Case("metrics GET", "GET", "/api/vm-metrics/" + VM, 405),
    *bad_json("metrics", "/api/vm-metrics/" + VM),
    # --- reading VMs ---
    Case("status one", "GET", "/api/vm-status/" + VM, 200),
    Case("status one unknown", "GET", "/api/vm-status/" + UNKNOWN, 404, "unknown-vm"),
    Case("status all", "GET", "/api/vm-status", 200),
    Case("status one POST", "POST", "/api/vm-status/" + VM, 405, json={}),
    Case("count", "GET", "/api/unassigned_vms_count", 200),
    Case("count POST", "POST", "/api/unassigned_vms_count", 405, json={}),
    Case("logs one", "GET", "/api/vm-logs/" + VM, 200),
    Case("logs unknown", "GET", "/api/vm-logs/" + UNKNOWN, 404, "unknown-vm"),
    Case("logs bad tail", "GET", "/api/vm-logs/%s?tail=x" % VM, 422),
    Case("logs negative tail", "GET", "/api/vm-logs/%s?tail=-1" % VM, 422),
    Case("logs bad after", "GET", "/api/vm-logs/%s?after=1x" % VM, 422),
    # --- raw paths: never another route ---
    *[Case("path " + path, "GET", path, 400) for path in (
        "/api/vm-logs/a%2Fb", "/api/vm-logs/a%00b", "/api/vm-logs/..%2f..%2fetc", "/api/vm-logs/../vm-status", "/api/vm-status/%ff",
        "/static/../etc/passwd", "/%2e%2e/admin")],
    Case("path unknown", "GET", "/nothing/here", 404),
    Case("path api unknown", "GET", "/api/nothing", 404),
    Case("path trailing slash", "GET", "/api/vm-status/", 404),
    Case("path double slash", "GET", "//admin", 404),
    # --- participants ---
    Case("claim json", "POST", "/api/request_vm", 200, json=lambda: {"email": email(), "crd_command": CRD}),
    Case("claim form", "POST", "/api/request_vm", 200, form=lambda: {"email": email(), "crd_command": CRD}),
    Case("claim none free", "POST", "/api/request_vm", 503, "no-seat-free", vm=False, json=lambda: {"email": email(), "crd_command": CRD}),
    Case("claim no email", "POST", "/api/request_vm", 400, "missing-field", json={"crd_command": CRD}),
    Case("claim no command", "POST", "/api/request_vm", 400, "missing-field", json=lambda: {"email": email()}),
    *[Case("claim email %d" % index, "POST", "/api/request_vm", 422, "bad-email", json={"email": word, "crd_command": CRD})
      for index, word in enumerate(("nobody", "@x", "x@", "a@b@c", "a b@c.d", "a\tb@c.d", "a@" + "x" * 260, "   ", "a\u007f@b.c"))],
    *[Case("claim command %d" % index, "POST", "/api/request_vm", 422, "bad-command", json={"email": "hostile@example.org", "crd_command": word})
      for index, word in enumerate((
          "start-host", "--code=short", "--code=x;touch /tmp/pwned", "--code=\"4/0Abc$(id)xxxxxx\"", "--code=`id`aaaaaaaaaaaa",
          "--code=" + "a" * 513, "--code=4/0Abcdefghij\u00e9", "--code"))],
    *[Case("claim type %d" % index, "POST", "/api/request_vm", 422, "wrong-type", json=body) for index, body in enumerate((
        {"email": 1, "crd_command": CRD}, {"email": "a@b.c", "crd_command": [CRD]}, {"email": {}, "crd_command": CRD},
        {"email": "a@b.c\u0000", "crd_command": CRD}))],
    Case("claim GET", "GET", "/api/request_vm", 405),
    Case("claim text", "POST", "/api/request_vm", 415, data=b"email=a", headers={"Content-Type": "text/plain"}),
    Case("claim big form", "POST", "/api/request_vm", 413, data=b"email=" + b"a" * (2 << 20), headers={"Content-Type": "application/x-www-form-urlencoded"}),
    # --- administrators: 405 before 401 before the body ---
    *[Case("admin unauthorized " + path, method, path, 401, "log-in") for method, path in (
        ("GET", "/admin"), ("GET", "/admin/create"), ("GET", "/admin/instances"), ("GET", "/admin/instances/delete"),
        ("GET", "/admin/logs/" + VM), ("GET", "/admin/operations"), ("GET", "/admin/operations/1"), ("POST", "/api/launch"),
        ("POST", "/destroy"), ("GET", "/api/operations"), ("GET", "/api/operations/1"), ("GET", "/api/operations/1/output"),
        ("POST", "/api/operations/1/cancel"), ("GET", "/api/events"), ("POST", "/api/admin/vms/%s/release" % VM))],
    *[Case("admin method " + path, method, path, 405) for method, path in (
        ("POST", "/admin"), ("DELETE", "/admin/instances"), ("GET", "/api/launch"), ("GET", "/destroy"), ("PUT", "/api/operations/1"),
        ("POST", "/api/events"), ("GET", "/api/admin/vms/%s/release" % VM))],
    *[Case("admin page " + path, "GET", path, 200, admin=True) for path in (
        "/admin", "/admin/create", "/admin/instances", "/admin/instances/delete", "/admin/logs/" + VM, "/admin/operations", "/api/operations")],
    Case("admin logs unknown", "GET", "/admin/logs/" + UNKNOWN, 404, "unknown-vm", admin=True),
    Case("operation unknown", "GET", "/api/operations/999999", 404, "unknown-operation", admin=True),
    Case("operation no number", "GET", "/api/operations/x", 404, "unknown-operation", admin=True),
    Case("operation page unknown", "GET", "/admin/operations/999999", 404, "unknown-operation", admin=True),
    Case("output unknown", "GET", "/api/operations/999999/output", 404, "unknown-operation", admin=True),
    Case("cancel unknown", "POST", "/api/operations/999999/cancel", 404, "unknown-operation", admin=True, json={}),
    Case("launch missing", "POST", "/api/launch", 400, "missing-field", admin=True, json={}),
    *[Case("launch number %d" % index, "POST", "/api/launch", 422, admin=True, json={"num_vms": word})
      for index, word in enumerate((0, -1, 1.5, "x", "1x", True, [], 10 ** 6, 10 ** 30 // 10 ** 12, "999999999999999999999", "0x10"))],
    Case("launch form zero", "POST", "/api/launch", 422, "bad-number", admin=True, form={"num_vms": "0"}),
    Case("release unknown", "POST", "/api/admin/vms/%s/release" % UNKNOWN, 404, "unknown-vm", admin=True, json={"yes": True}),
    Case("release unconfirmed", "POST", "/api/admin/vms/%s/release" % VM, 422, "not-confirmed", admin=True, json={}),
    Case("release no seat", "POST", "/api/admin/vms/%s/release" % VM, 409, "no-seat", admin=True, json={"yes": True}),
    # --- health ---
    Case("healthz", "GET", "/healthz", 200),
    Case("readyz", "GET", "/readyz", 200),
    Case("home", "GET", "/", 200),
]
assert len({case.name for case in CASES}) == len(CASES), "two cases share a name"


def snapshot(lab):
    """What no refused request may change."""
    vms = lab.sql('select hostname, email, crd_command, pin, generation, status, in_use, healthy, metrics, needs_reset from "%s" order by 1' % lab.table)
    return vms, lab.sql("select count(*) as n from vm_log_lines"), lab.sql("select count(*) as n from operations where kind <> 'reconcile'")


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_endpoint(lab, case):
    if case.vm:
        lab.add_vm(VM)
    for kind in ("json", "form"):
        if callable(case.body.get(kind)):
            case.body[kind] = case.body[kind]()
    before = snapshot(lab)
    answer = case.send(lab)
    expected = case.status
    if case.path == "/api/vm-status" and case.code == "unknown-vm":
        expected = 200  # `open` mode: a word from an unknown VM makes it known
    assert answer.status_code == expected, answer.text
    if answer.status_code == 405:
        assert answer.headers["Allow"], "a 405 says what is allowed"
    if answer.status_code == 401:
        assert answer.headers["WWW-Authenticate"].startswith("Basic")
    if answer.status_code >= 400:
        said = answer.json()
        assert set(said) >= {"error", "code"} and said["error"], said
        if case.code:
            assert said["code"] == case.code, said
        assert snapshot(lab) == before, "a refused request changed something"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/admin", "/admin/create", "/admin/instances", "/admin/instances/delete", "/admin/logs/" + VM,
                                  "/admin/operations", "/nothing", "/admin/operations/999999"])
def test_page_is_html_without_a_word_about_json(lab, path):
    lab.add_vm(VM)
    for accept in ("text/html,application/xhtml+xml,*/*;q=0.8", "*/*", None):
        answer = lab.get(path, admin=True, headers={"Accept": accept})
        assert answer.headers["Content-Type"].startswith("text/html"), accept
        assert "<html" in answer.text and "</html>" in answer.text
        policy = answer.headers["Content-Security-Policy"]
        assert "unsafe-inline" not in policy and "default-src 'none'" in policy
        assert "<script>" not in answer.text and " style=" not in answer.text and " onclick=" not in answer.text
    answer = lab.get(path, admin=True, headers={"Accept": "application/json;q=0.9, text/html;q=0.5"})
    assert answer.headers["Content-Type"].startswith("application/json")
    answer.json()


def test_the_form_is_shown_again_under_200(lab):
    answer = lab.post("/api/request_vm", data={"email": "<b>nobody</b>", "crd_command": CRD})
    assert answer.status_code == 200 and "&lt;b&gt;nobody" in answer.text and "<b>nobody" not in answer.text
    answer = lab.post("/api/request_vm", data={"email": email(), "crd_command": CRD})
    assert answer.status_code == 200 and "No machine is free" in answer.text


def test_head_and_options(lab):
    for path in ("/", "/healthz", "/api/vm-status"):
        answer = lab.request("HEAD", path)
        assert answer.status_code == 200 and answer.content == b""
    assert lab.request("OPTIONS", "/healthz").status_code == 405


def test_word_of_an_unknown_vm_makes_it_known(lab):
    assert lab.post("/api/vm-status", json={"hostname": "newcomer", "status": "running"}).status_code == 200
    assert lab.vm("newcomer")["status"] == "running"
    assert lab.get("/api/vm-status").json() == [{"hostname": "newcomer", "status": "running"}]


def test_gpu_words(lab):
    lab.add_vm(VM)
    for word, healthy in ((True, True), ("Unhealthy", False), ("N/A", None), ("HEALTHY", True), (False, False)):
        assert lab.post("/api/gpu_health", json={"hostname": VM, "gpu_status": word}).status_code == 200
        assert lab.vm(VM)["healthy"] is healthy


def test_metrics_do_not_grow_for_ever(lab):
    lab.add_vm("vm-1")
    for number in range(30):
        noise = "".join(random.choices(string.ascii_letters, k=9000))
        assert lab.post("/api/vm-metrics/vm-1", json={"note-%d" % number: noise}).status_code == 200
    metrics = lab.vm("vm-1")["metrics"]
    assert len(json.dumps(metrics)) < 100000 and "note-29" in metrics


def test_a_piece_of_a_log_is_small_however_long_its_lines(lab):
    """One request cannot make the lab hold 160 MB, and the whole log can be read all the same."""
    lab.add_vm("vm-1")
    lines = ["%04d %s" % (number, "x" * 15000) for number in range(600)]
    assert lab.post("/api/vm-logs", json={"log_stream": "vm-1", "messages": lines}).status_code == 200
    got, last = "", 0
    while True:
        answer = lab.get("/api/vm-logs/vm-1?after=%d" % last)
        assert answer.status_code == 200 and len(answer.content) < 3 << 20
        if not answer.json()["logs"]:
            break
        got, last = got + answer.json()["logs"], answer.json()["last"]
    assert got.split("\n")[:-1] == lines
    tail = lab.get("/api/vm-logs/vm-1?tail=10000").json()
    assert tail["last"] == 600 and tail["logs"].endswith(lines[-1] + "\n") and len(tail["logs"]) < 3 << 20
    assert lab.get("/api/vm-logs/vm-1").json()["logs"] == got


def test_metrics_are_merged(lab):
    lab.add_vm(VM, terraform_timing_seconds=10)
    url = "/api/vm-metrics/" + VM
    assert lab.post(url, json={"cloud_init_start": 1764041422, "cloud_init_duration_seconds": 60}).status_code == 200
    assert lab.post(url, json={"container_startup_duration_seconds": 8, "new_key": "kept"}).status_code == 200
    vm = lab.vm(VM)
    assert vm["metrics"]["cloud_init_start"].startswith("2025-11-25T") and vm["metrics"]["new_key"] == "kept"
    assert float(vm["total_startup_time_seconds"]) == 78
    assert lab.post(url, json={"cloud_init_duration_seconds": -5, "new_key": "lost"}).status_code == 422
    assert lab.vm(VM)["metrics"]["new_key"] == "kept"


def test_logs_in_and_out(lab):
    lab.add_vm(VM)
    url = "/api/vm-logs/" + VM
    post = lambda **body: lab.post("/api/vm-logs", json={"log_stream": VM, **body})
    assert lab.get(url).json()["logs"] == ""
    assert post(messages=["one", "two"], batch_id="a").status_code == 200
    assert post(messages=["one", "two"], batch_id="a").status_code == 200  # stored once
    assert post(messages=["three", "run --code=4/0AanRRrtCODEcode", "nul \x00 end", "pin"]).status_code == 200
    said = lab.get(url).json()
    assert said["hostname"] == VM and said["last"] == 6
    lines = said["logs"].splitlines()
    assert lines[:3] == ["one", "two", "three"] and "CODEcode" not in lines[3] and "\ufffd" in lines[4]
    assert lab.get(url + "?tail=2").json()["logs"].splitlines() == lines[-2:]
    assert lab.get(url + "?after=4").json()["logs"].splitlines() == lines[4:]
    assert lab.get(url + "?after=6").json() == {"hostname": VM, "logs": "", "last": 6}


@pytest.mark.parametrize("sent, stored", [
    (b"bad \xff byte", "bad \ufffd byte"), (b"half \\ud83d pair", "half \ufffd pair"), (b"whole \\ud83d\\ude00", "whole \U0001f600"),
    (b"raw \x00 nul", "raw \ufffd nul"), (b"\x1b[31mred", "red")], ids=["byte", "surrogate", "pair", "nul", "control"])
def test_no_log_is_lost_for_a_byte(lab, sent, stored):
    lab.add_vm(VM)
    raw = b'{"log_stream": "%s", "messages": ["%s"]}' % (VM.encode(), sent)
    answer = lab.post("/api/vm-logs", data=raw, headers={"Content-Type": "application/json"})
    assert answer.status_code == 200, answer.text
    assert lab.get("/api/vm-logs/" + VM).json()["logs"] == stored + "\n"


def test_pin_is_masked_in_logs(lab):
    lab.add_vm(VM, email="a@b.c", pin="918273")
    lab.post("/api/vm-logs", json={"log_stream": VM, "messages": ["the PIN is 918273."]})
    assert "918273" not in lab.get("/api/vm-logs/" + VM).text


def test_long_history_is_streamed_whole(lab):
    lab.add_vm(VM)
    sent = ["line %d \"quoted\" \\ ü" % number for number in range(3000)]
    for at in range(0, 3000, 1000):
        assert lab.post("/api/vm-logs", json={"log_stream": VM, "messages": sent[at:at + 1000]}).status_code == 200
    said = lab.get("/api/vm-logs/" + VM).json()
    assert said["logs"].splitlines() == sent and said["last"] == 3000


def test_crd_command_is_rebuilt(lab):
    lab.add_vm(VM)
    hostile = "rm -rf / ; --code=%s ; echo --code \"4/0LAST-one_wins\" && reboot" % CODE
    assert lab.post("/api/request_vm", json={"email": email(), "crd_command": hostile}, headers=JSON).status_code == 200
    command = lab.vm(VM)["crd_command"]
    assert "4/0LAST-one_wins" in command and CODE not in command
    assert not any(word in command for word in ("rm ", ";", "&&", "reboot", "$("))


def test_body_may_be_chunked_and_multipart(lab):
    lab.add_vm(VM)
    answer = lab.post("/api/vm-status", data=iter([b'{"hostname": "', VM.encode(), b'", "status": "running"}']),
                      headers={"Content-Type": "application/json"})
    assert answer.status_code == 200
    answer = lab.post("/api/request_vm", files={"email": (None, email()), "crd_command": (None, CRD)}, headers=JSON)
    assert answer.status_code == 200, answer.text
    answer = lab.post("/api/request_vm", files={"email": ("x.txt", b"a"), "crd_command": (None, CRD)}, headers=JSON)
    assert answer.status_code in (400, 415, 422), answer.text


def test_smuggling_closes_the_connection(lab):
    lab.add_vm(VM)
    head = ("POST /api/vm-status HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 5\r\n"
            "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    said = lab.raw(head)
    assert said.count(b"HTTP/1.1 200") == 0, said


@pytest.mark.parametrize("path", ["/api/vm-status/%zz", "/api/vm-status/%", "/api/vm-status/a%2", "/api/vm-status/a%0"])
def test_broken_encodings(lab, path):
    assert lab.raw("GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path).startswith(b"HTTP/1.1 400")


def test_static_files(lab):
    page = lab.get("/").text
    found = re.findall(r'(?:href|src)="(/static/[^"]+)"', page)
    assert any(path.endswith(".css") or ".css?" in path for path in found) and found
    for path in found:
        answer = lab.get(path)
        assert answer.status_code == 200 and answer.headers["ETag"] and answer.content
        again = lab.get(path, headers={"If-None-Match": answer.headers["ETag"]})
        assert again.status_code == 304 and not again.content
        plain = lab.get(path, headers={"Accept-Encoding": "identity"})
        assert plain.content == answer.content and "Content-Encoding" not in plain.headers


def test_ready_tells_each_part(lab):
    said = lab.get("/readyz").json()
    assert said["status"] == "ready" and said["database"]["code"] == "ready" and said["listener"]["code"] == "ready"
    assert "code" in said["provider"]
    assert json.loads(lab.get("/healthz").text)["status"] == "ok"
