"""terraform/client-vms/boot.sh boots machines against a real allocator (cloud_machine.py says what is stood in for)."""

import base64
import contextlib
import datetime
import hashlib
import hmac
import http.server
import json
import re
import threading

import pytest

from cloud_machine import Machine, user_data
from lab import wait_until

HOST = "lablink-vm-test-1"
TOKEN = "token-of-this-machine-and-no-other-0123456789"
# What breaks a script into which values are pasted.
HOSTILE = "it's \"quoted\" $(touch /etc/pwned) `touch /etc/pwned`; touch /etc/pwned\n${HOME} \\ %s é\t-- &&\n"
ONE_LINE = HOSTILE.partition("\n")[0]  # what the agent takes for a program's name


@pytest.fixture
def machine(lab):
    machines = []

    def start(settings=None, **words):
        made = Machine(user_data(**{"ALLOCATOR_URL": lab.url, "ALLOCATOR_HOST": "127.0.0.1", **(settings or {})}), **words)
        machines.append(made)
        return made.boot()

    yield start
    for made in machines:
        made.off()


def script(text):
    return base64.b64encode(text.encode()).decode()


def status(lab, expected, machine, host=HOST):
    return wait_until(lambda: (lab.vm(host) or {}).get("status") == expected and lab.vm(host), 120,
                      lambda: "%r\n%s" % (lab.vm(host), machine.log()))


def lines(lab, wanted, host=HOST):
    """The allocator's log of the VM, once `wanted` is in it."""
    def look():
        text = lab.get("/api/vm-logs/" + host, admin=True)
        text = text.json()["logs"] if text.status_code == 200 else ""
        assert wanted in text, text[-3000:]
        return text

    return wait_until(look, 120)


def not_pwned(machine):
    assert not (machine.etc / "pwned").exists()


def test_boots_with_every_value_hostile(lab, machine):
    lab.add_vm(HOST, status="initializing", token_hash=hashlib.sha256(TOKEN.encode()).hexdigest())
    booted = machine(
        {"CLIENT_TOKEN": TOKEN, "GPU_SUPPORT": "true", "TUTORIAL_REPO_TO_CLONE": HOSTILE, "SUBJECT_SOFTWARE": ONE_LINE,
         "IMAGE_NAME": "-image" + HOSTILE, "AWS_REGION": "us" + HOSTILE, "ALLOCATOR_HOST": HOSTILE,
         "STARTUP_SCRIPT": script("#!/bin/bash\necho 'custom: it runs'\necho \"custom: $SUBJECT_SOFTWARE\"\n")},
        before=b"a line that is no UTF-8: \xff\xfe, \"quoted\" \\ back \x00\x07 \x1b[31mred\x1b[0m\r\n\n" + b"x" * 300000 + b"\n"
        + b"".join(b"early line %d\n" % n for n in range(1200)),
    )
    assert booted.exit_status() == 0, booted.log()
    status(lab, "running", booted)
    not_pwned(booted)

    # the container: deployed variables, the token by a file, both GPU and network, nothing else
    (run,) = booted.calls("run")
    assert TOKEN not in "".join(map(repr, booted.calls("run")))
    environment = booted.container_environment()
    environment.pop("PATH")
    assert environment == {
        "ALLOCATOR_HOST": HOSTILE, "ALLOCATOR_URL": lab.url, "TUTORIAL_REPO_TO_CLONE": HOSTILE, "VM_NAME": HOST,
        "SUBJECT_SOFTWARE": ONE_LINE, "CLOUD_INIT_LOG_GROUP": "", "AWS_REGION": "us" + HOSTILE, "STARTUP_ON_ERROR": "continue",
        "LABLINK_LOGS_VIA": "direct", "LABLINK_CLIENT_TOKEN_FILE": "/run/secrets/lablink-client-token"}
    assert run[:2] == ["run", "-dit"] and run[-2:] == ["--", "-image" + HOSTILE]
    assert "--network host" in " ".join(run) and "--gpus all" in " ".join(run)
    assert "/etc/config:/docker_scripts:ro" in run and "/etc/lablink/client-token:/run/secrets/lablink-client-token:ro" in run
    assert booted.calls("pull") == [["pull", "--quiet", "--", "-image" + HOSTILE]]
    assert (booted.etc / "lablink/client-token").read_text() == TOKEN and (booted.etc / "lablink/client-token").stat().st_mode & 0o777 == 0o600
    assert any("nvidia-ctk runtime configure" in call for call in booted.other_calls())
    assert "iptables -I OUTPUT -d 169.254.169.254 -m owner ! --uid-owner 0 -j REJECT" in booted.other_calls()
    assert booted.calls("update")[-1][1:3] == ["--restart", "unless-stopped"]

    # the whole log, from cloud-init's first line to the script's last, each line once
    text = lines(lab, HOST + " runs")
    assert TOKEN not in text and TOKEN not in booted.log()
    said = text.splitlines()
    assert said[0].startswith("Cloud-init: the first line of all")
    assert [line for line in said if line.startswith("early line")] == ["early line %d" % n for n in range(1200)]
    assert "\"quoted\" \\ back" in said[1] and sum(line.startswith("x" * 1000) for line in said) == 3  # by 128 KiB
    assert "custom: it runs" in text and "container: is up" in text and sum("status running" in line for line in said) == 1
    wait_until(booted.said_everything, 60)

    # timings
    metrics = lab.vm(HOST)["metrics"]
    assert {"cloud_init_start", "cloud_init_end", "cloud_init_duration_seconds", "docker_pull_start", "docker_pull_end",
            "container_start_time", "container_end_time", "container_startup_duration_seconds"} <= set(metrics), metrics

    # the agent in the container proves itself by the token that came this way
    wait_until(lambda: lab.sql("select 1 from vm_presence p join vms v on v.id = p.vm_id where hostname = %s and heartbeat_at is not null", HOST),
               90, lambda: (booted.var / "log/agent.log").read_text())


def test_a_machine_without_docker_or_gpu_is_set_up(lab, machine):
    booted = machine({"GPU_SUPPORT": "true"}, without=("docker", "nvidia-ctk"), plan={"deaf_daemon": 2, "failing_pulls": 2}, blind=True)
    assert booted.exit_status() == 0, booted.log()
    status(lab, "running", booted)
    calls = [call for call in booted.other_calls() if call.startswith("apt-get")]
    assert [re.sub("-o [^ ]* ", "", call) for call in calls] == [
        "apt-get -q update", "apt-get -q update", "apt-get -q -y install --no-install-recommends docker.io"]
    assert all("DPkg::Lock::Timeout" in call for call in calls) and len(booted.calls("pull")) == 3
    assert "waiting for another installation to end" in booted.log() and "nvidia-smi does not see it" in booted.log()
    (run,) = booted.calls("run")
    assert "--gpus" not in run and "LABLINK_CLIENT_TOKEN_FILE" not in " ".join(run)


@pytest.mark.parametrize("plan, command, tries", [({"failing_pulls": 9}, "docker pull", 5), ({"failing_runs": 9}, "docker run", 1)])
def test_what_fails_is_told_with_its_line(lab, machine, plan, command, tries):
    booted = machine(plan=plan)
    assert booted.exit_status() == 1, booted.log()
    status(lab, "error", booted)
    told = re.search(r"error: line (\d+): exit status (\d+): (.*)", lines(lab, "error: line"))
    source = (booted.var / "stand-ins/user-data").read_text().splitlines()
    assert command in source[int(told[1]) - 1] and command in told[3], told
    assert len(booted.calls(command.split()[1])) == tries
    wait_until(booted.said_everything, 60)
    assert lab.vm(HOST)["status"] == "error" and "cloud_init_end" in lab.vm(HOST)["metrics"]


@pytest.mark.parametrize("text", ["[[ a == a ]] && echo custom: bash", "#!/bin/sh\n[[ a == a ]] && echo custom: bash",
                                  "#!/usr/bin/python3\nprint('custom: bash')"])
def test_a_startup_script_is_bashs_unless_it_says_otherwise(lab, machine, text):
    booted = machine({"STARTUP_ON_ERROR": "fail", "STARTUP_SCRIPT": script(text)})
    assert booted.exit_status() == 0, booted.log()
    assert "custom: bash" in booted.log()


@pytest.mark.parametrize("on_error, expected, code", [("continue", "running", 0), ("fail", "error", 1)])
def test_a_failing_startup_script(lab, machine, on_error, expected, code):
    booted = machine({"STARTUP_ON_ERROR": on_error, "STARTUP_SCRIPT": script("#!/bin/sh\necho 'custom: about to fail'\nexit 7\n")})
    assert booted.exit_status() == code, booted.log()
    status(lab, expected, booted)
    text = lines(lab, "ended with status 7")
    assert "custom: about to fail" in text
    if on_error == "fail":
        assert re.search(r"error: line \d+: the custom start-up script failed \(7\)", lines(lab, "error: line"))


def test_a_container_that_ends_at_once_is_an_error(lab, machine):
    # The image's own doing: no start-up script ran, so none left its status.
    booted = machine({"STARTUP_ON_ERROR": "fail", "STARTUP_SCRIPT": script("kill -9 $PPID\nsleep 60\n")})
    assert booted.exit_status() == 1, booted.log()
    status(lab, "error", booted)
    assert "the container ended with exit code" in lines(lab, "error: line")


def test_an_allocator_that_is_away_misses_nothing(new_lab, machine):
    lab = new_lab(name="away")
    lab.interrupt()
    booted = machine({"ALLOCATOR_URL": lab.url}, before=b"".join(b"early line %d\n" % n for n in range(700)))
    assert booted.exit_status() == 0, booted.log()
    assert not booted.said_everything()
    lab.start()
    status(lab, "running", booted)
    said = lines(lab, HOST + " runs").splitlines()
    assert [line for line in said if line.startswith("early line")] == ["early line %d" % n for n in range(700)]
    assert [line.split("status ")[1] for line in said if re.search("lablink-boot: status ", line)] == ["initializing", "running"]
    wait_until(booted.said_everything, 60)
    assert {"cloud_init_start", "cloud_init_end", "docker_pull_start"} <= set(lab.vm(HOST)["metrics"])


KEY, SECRET, SESSION = "ASIAEXAMPLE", "secret/with+signs=", "session/token+of=the/role"


class Amazon(http.server.BaseHTTPRequestHandler):
    """A stand-in for two addresses that only Amazon has: the instance's metadata (version 2 alone, as the module demands)
    and CloudWatch Logs, which here recomputes the signature of every call."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, code, body=""):
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_PUT(self):
        assert self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
        self.answer(200, "metadata-token")

    def do_GET(self):
        place = "/latest/meta-data/iam/security-credentials/"
        if self.headers["X-aws-ec2-metadata-token"] != "metadata-token":
            return self.answer(401)
        if self.path == place:
            return self.answer(200, "the-role")
        assert self.path == place + "the-role"
        self.answer(200, json.dumps({"Code": "Success", "AccessKeyId": KEY, "SecretAccessKey": SECRET, "Token": SESSION}, indent=2))

    def signature(self, body):
        words = dict(re.findall(r"(\w+)=([^ ,]+)", self.headers["Authorization"]))
        key, date, region, service, _ = words["Credential"].split("/")
        assert (key, region, service) == (KEY, "us-west-2", "logs")
        names = words["SignedHeaders"].split(";")
        assert "host" in names and "x-amz-date" in names
        canonical = "\n".join(["POST", "/", "", *("%s:%s" % (name, self.headers[name].strip()) for name in names), "", ";".join(names),
                               hashlib.sha256(body).hexdigest()])
        text = "\n".join(["AWS4-HMAC-SHA256", self.headers["X-Amz-Date"], "/".join([date, region, service, "aws4_request"]),
                          hashlib.sha256(canonical.encode()).hexdigest()])
        sign = lambda key, message: hmac.new(key, message.encode(), hashlib.sha256).digest()  # noqa: E731
        derived = sign(sign(sign(sign(("AWS4" + SECRET).encode(), date), region), service), "aws4_request")
        return words["Signature"] == sign(derived, text).hex()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        said, action = json.loads(body), self.headers["X-Amz-Target"]
        server = self.server
        server.actions.append(action)
        if not self.signature(body) or self.headers["X-Amz-Security-Token"] != SESSION:
            server.complaints.append("a signature is wrong")
            return self.answer(403, {"__type": "InvalidSignatureException"})
        if server.denied:
            return self.answer(400, {"__type": "AccessDeniedException", "Message": "no"})
        if action == "Logs_20140328.CreateLogStream":
            again = said["logStreamName"] in server.streams
            server.streams.setdefault(said["logStreamName"], [])
            return self.answer(400, {"__type": "ResourceAlreadyExistsException"}) if again else self.answer(200, {})
        assert action == "Logs_20140328.PutLogEvents"
        server.puts += 1
        if server.puts == 1:
            return self.answer(400, {"__type": "ThrottlingException", "message": "Rate exceeded"})
        events = said["logEvents"]
        now = datetime.datetime.now().timestamp() * 1000
        times = [event["timestamp"] for event in events]
        if not (0 < len(events) <= 10000 and sum(len(event["message"].encode()) + 26 for event in events) <= 1048576):
            server.complaints.append("a batch is too large")
        if times != sorted(times) or not all(event["message"] for event in events) or abs(now - times[0]) > 3600000:
            server.complaints.append("events are not as CloudWatch wants them")
        server.streams[said["logStreamName"]] += [event["message"] for event in events]
        server.group = said["logGroupName"]
        self.answer(200, {})


@contextlib.contextmanager
def amazon(denied=False):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Amazon)
    server.streams, server.actions, server.complaints, server.denied, server.puts, server.group = {}, [], [], denied, 0, None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = "http://127.0.0.1:%d" % server.server_port
    server.environment = {"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": url, "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": url}
    yield server
    server.shutdown()
    server.server_close()


def test_log_lines_go_to_cloudwatch(lab, machine):
    with amazon() as there:
        before = b"\n\n" + b"".join(b"early line %d\n" % n for n in range(700)) + b"quoted \"\\ \xc3\xa9\n"
        booted = machine({"CLOUD_INIT_LOG_GROUP": "group"}, before=before, environment=there.environment)
        assert booted.exit_status() == 0, booted.log()
        status(lab, "running", booted)
        wait_until(lambda: HOST + " runs" in "".join(there.streams.get(HOST, [])), 120, lambda: repr(there.actions))
        said = [line for line in there.streams[HOST] if "lablink-client:" not in line]
        assert there.complaints == [] and there.group == "group"
        assert said[:3] == ["Cloud-init: the first line of all", " ", " "] and 'quoted "\\ é' in said
        assert [line for line in said if line.startswith("early line")] == ["early line %d" % n for n in range(700)]
        wait_until(lambda: "lablink-client: the agent of" in "".join(there.streams[HOST]), 90, "the agent's lines come the same way")
        assert there.complaints == []
        direct = lab.get("/api/vm-logs/" + HOST, admin=True).json()["logs"]
        assert direct == "", "the forwarder brings them, not the VM"
        assert SECRET not in booted.log()


def test_log_lines_that_cloudwatch_refuses_go_to_the_allocator(lab, machine):
    with amazon(denied=True) as there:
        booted = machine({"CLOUD_INIT_LOG_GROUP": "group"}, environment=there.environment)
        assert booted.exit_status() == 0, booted.log()
        text = lines(lab, HOST + " runs")
        assert "Cloud-init: the first line of all" in text and "status initializing" in text and there.complaints == []
        assert "AccessDeniedException" in (booted.var / "log/lablink-boot-send_log.log").read_text()
