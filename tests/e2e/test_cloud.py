"""The provider `terraform` with a real engine: launch, launch again, destroy, and everything that goes wrong on the way."""

import contextlib
import fcntl
import json
import os
import re
import subprocess
import threading

import pytest
import requests

import cloud as clouds
from aws_server import AwsServer
from cloud import Cloud, begin, buttons, end, engines, hostnames, instances, names, output_text, outputs, provider, repair
from lab import BUILD, CRD, ROOT, SANITIZED, wait_until
from workshop import running


@pytest.fixture
def lab(new_lab, cloud):
    return new_lab(config=cloud.config(), name="cloud")


# --- as it should be -------------------------------------------------------------------------------------------------


def on_a_terminal(lab, *words, **environment):
    """What the command line writes to a terminal."""
    ours, its = os.openpty()
    with subprocess.Popen([str(BUILD / "lablink"), "--state-dir", str(lab.state), *words], stdin=subprocess.DEVNULL, stdout=its,
                          stderr=subprocess.DEVNULL, env={**lab.environ(), "TERM": "xterm", **environment}):
        os.close(its)
        said = b""
        try:
            while chunk := os.read(ours, 65536):
                said += chunk
        except OSError:  # its end is closed
            os.close(ours)
    return said.decode()


def test_launch_more_and_destroy(lab, cloud):
    cloud.tell("say", "\x1b[31mred <b>\x1b[0m and \x1b]0;title\x07\x1b[2J\x1b[999999mplain\n")
    operation = lab.launch(2)
    assert operation["progress"]["done"] == operation["progress"]["total"] == 2
    assert hostnames(lab) == names(1, 2) == cloud.machines()
    for vm in lab.vms():
        assert vm["launched"] and vm["token_hash"]
        assert vm["terraform_timing_start"] <= vm["terraform_timing_end"] and vm["terraform_timing_seconds"] >= 0
    text = output_text(lab, operation["id"])
    assert "lablink_vm[1]: Creation complete" in text and "red <b> and plain" in text and "\x1b" not in text
    coloured, watch = "\x1b[0;31mred <b>\x1b[0m and plain", ("operation", "watch", str(operation["id"]))
    kept = lab.get("/api/operations/%s/output" % operation["id"], admin=True).json()["lines"]
    assert [line["ansi"].endswith(coloured) for line in kept if "ansi" in line] == [True, True]
    page = lab.get("/admin/operations/%s" % operation["id"], admin=True).text
    assert '<span class="sgr-31">red &lt;b&gt;</span> and plain\n' in page and "\x1b" not in page
    assert coloured in on_a_terminal(lab, *watch) and "\x1b[0;31m" not in on_a_terminal(lab, *watch, NO_COLOR="1")
    assert "\x1b" not in lab.cli(*watch).stdout and "\x1b" not in str(lab.cli(*watch, "--output", "json"))
    tokens = json.loads((cloud.directory / "tokens").read_text())
    assert sorted(tokens) == names(1, 2) and all(token not in text for token in tokens.values())

    lab.launch(1)
    assert hostnames(lab) == names(1, 2, 3) == cloud.machines()
    made = [call for call in cloud.calls() if call.startswith("make")]
    assert sorted(made) == ["make %s" % name for name in names(1, 2, 3)], "those that existed are left alone"
    assert outputs(lab)["vm_instance_names"] == names(1, 2, 3)
    assert json.loads((cloud.directory / "tokens").read_text()).items() >= tokens.items(), "and keep their secrets"
    secret = [path for path in (lab.state / "terraform").rglob("*") if path.is_file() and path.stat().st_mode & 0o077]
    assert (lab.state / "terraform").stat().st_mode & 0o077 == 0, secret

    lab.destroy()
    assert lab.vms() == [] and cloud.machines() == [] and instances(lab) == {}
    lab.launch(1)
    assert hostnames(lab) == names(1) == cloud.machines()


def test_real_sandboxes(new_lab, tmp_path):
    """The module as it is shipped: its command makes sandboxes, which report and take a seat."""
    if os.geteuid() != 0:
        pytest.fail("sandboxes need root")
    cloud = Cloud(tmp_path, real=True)
    lab = new_lab(config=cloud.config(machine={"software": "terminal"}), name="boxes")
    lab.launch(2)
    running(lab, 2)
    assert hostnames(lab) == names(1, 2)
    with open(lab.state / "runner.lock") as lock:
        wait_until(lambda: fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB) is None, 60, "no sandbox holds the runner's lock")
    seat = lab.post("/api/request_vm", json={"email": "a@example.org", "crd_command": CRD}, headers={"Accept": "application/json"})
    assert seat.status_code == 200 and seat.json()["hostname"] in names(1, 2)
    lab.restart()
    # its machine dies by itself: the lab can grow all the same
    for process in lab.vm_processes():
        with contextlib.suppress(OSError):
            name = subprocess.run(["nsenter", "-t", str(process.pid), "-u", "hostname"], capture_output=True, text=True).stdout.strip()
            if name == seat.json()["hostname"]:
                process.kill()
    lab.launch(1)
    running_rows = wait_until(lambda: [vm for vm in lab.vms() if vm["status"] in ("running", "assigned")][2:], 120)
    assert running_rows and lab.vm(seat.json()["hostname"])["email"] == "a@example.org"
    # released: the same name, a fresh machine, a new secret
    before = lab.vm(seat.json()["hostname"])
    answer = lab.post("/api/admin/vms/%s/release" % before["hostname"], json={"yes": True}, admin=True)
    assert answer.status_code in (200, 303), answer.text
    def fresh():
        vm = lab.vm(before["hostname"])
        return not vm["needs_reset"] and vm["token_hash"] != before["token_hash"] and vm["status"] == "running"
    wait_until(fresh, 120, lambda: repr(lab.vm(before["hostname"])))
    lab.destroy()
    assert lab.vms() == [] and not lab.vm_processes() and not lab.vm_names_on_disk()


HOSTILE = [
    'quote " inside', "${var.region}", "$${escaped}", "$$${both}", "%{ if true }x%{ endif }", "%%{x}", "back\\slash\\n", "line\nbreak",
    "cr\rlf\r\n", "tab\tstop", "caf\u00e9 \u65e5\u672c \U0001f42d", "'single'", "`tick`", "$(touch /tmp/x)", "; rm -rf /", "#comment",
    "/* c */", "<<EOT\nx\nEOT", '"', '""', "\\", "\\\\", "$", "%", "${", "%{", "{}", "[1, 2]", "true", "null", " lead and trail ",
    "\u2028sep\u2029", "\x01\x1f\x7f", "a=b", "\u00a0nbsp", "x" * 5000,
]


def test_hostile_values(tmp_path):
    """Written as the driver writes terraform.runtime.tfvars, read by the engine, and back."""
    quoted = subprocess.run([str(BUILD / "tests/unit/provider/hcl_print"), *HOSTILE], capture_output=True, text=True, check=True)
    lines = quoted.stdout.splitlines()
    lines = quoted.stdout.split("\n")[:-1]
    assert len(lines) == len(HOSTILE)
    (tmp_path / "terraform.runtime.tfvars").write_text("".join("v%d = %s\n" % pair for pair in enumerate(lines)))
    (tmp_path / "main.tf").write_text("".join(
        'variable "v%d" {\n type = string\n}\noutput "o%d" {\n value = var.v%d\n}\n' % (n, n, n) for n in range(len(HOSTILE))))
    run = lambda *words: subprocess.run(
        [clouds.engine(), *words], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TF_IN_AUTOMATION": "1"})
    run("init", "-input=false")
    run("apply", "-auto-approve", "-input=false", "-var-file=terraform.runtime.tfvars")
    told = json.loads(run("output", "-json").stdout)
    assert [told["o%d" % n]["value"] for n in range(len(HOSTILE))] == HOSTILE


def test_hostile_configuration(new_lab, cloud):
    """The same through a whole lab; and exactly the specification's keys."""
    values = {"image": HOSTILE[0] + HOSTILE[1] + HOSTILE[4], "machine_type": HOSTILE[15], "ami_id": HOSTILE[10], "software": HOSTILE[3]}
    (cloud.module / "echo.tf").write_text(
        "".join('output "echo_%s" {\n value = var.%s\n}\n' % (key, key) for key in ("image_name", "machine_type", "client_ami_id", "subject_software")))
    lab = new_lab(config=cloud.config(machine=values), name="hostile")
    lab.launch(1)
    told = outputs(lab)
    assert told["echo_image_name"] == values["image"] and told["echo_machine_type"] == values["machine_type"]
    assert told["echo_client_ami_id"] == values["ami_id"] and told["echo_subject_software"] == values["software"]
    text = (lab.state / "terraform/module/terraform.runtime.tfvars").read_text()
    assert [line.split(" = ")[0] for line in text.splitlines()] == [
        "allocator_ip", "allocator_url", "machine_type", "image_name", "repository", "client_ami_id", "subject_software", "resource_suffix",
        "gpu_support", "cloud_init_output_log_group", "region", "startup_on_error"]


def test_into_a_vm(new_lab, cloud, tmp_path):
    """By ssh, from the module's outputs; the key is root's alone, and goes with the VMs."""
    (cloud.module / "key.tf").write_text('output "lablink_private_key_pem" {\n value = "PRIVATE"\n sensitive = true\n}\n')
    text = (cloud.module / "outputs.tf").read_text()
    (cloud.module / "outputs.tf").write_text(text.replace('[for vm in terraform_data.lablink_vm : ""]', '["192.0.2.7", "-oProxyCommand=x"]'))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/ssh").write_text("#!/bin/sh\nfor word; do echo \"[$word]\"; done; exit 7\n")
    (tmp_path / "bin/ssh").chmod(0o755)
    lab = new_lab(config=cloud.config(), name="it's an ssh", path=[tmp_path / "bin"])
    lab.launch(2)
    key = lab.state / "terraform/key.pem"
    assert key.read_text() == "PRIVATE" and key.stat().st_mode & 0o777 == 0o600
    inside = lambda name: lab.cli("--config", str(lab.config_file), "vm", "exec", name, "--", "echo", "it's", check=False)
    done = inside("lablink-vm-dev-1")
    assert done.returncode == 7, done.stderr
    words = done.stdout.splitlines()
    assert words[words.index("[-F]") + 1] == "[none]", "nobody's own settings"
    option = '[%%s "%s"]' % str(lab.state / "terraform/%s").replace("'", "\\'")
    assert option % ("IdentityFile", "key.pem") in words
    assert option % ("UserKnownHostsFile", "known_hosts/lablink-vm-dev-1") in words
    assert words[words.index("[-p]") + 1] == "[22]"
    assert "[192.0.2.7]" in words and "[StrictHostKeyChecking=accept-new]" in words
    assert words[-1].endswith(" 'echo' 'it'\\''s']")
    assert inside("lablink-vm-dev-2").returncode == 126, "an address is no option"
    assert "no VM called" in inside("lablink-vm-dev-9").stderr
    lab.destroy()
    assert not key.exists() and not (lab.state / "terraform/tokens.json").exists()


# --- what a launch may not do ----------------------------------------------------------------------------------------


def test_plan_that_takes_away_is_refused(lab, cloud):
    lab.launch(2)
    text = (cloud.module / "main.tf").read_text()
    (cloud.module / "main.tf").write_text(text.replace(
        'resource "terraform_data" "lablink_vm" {', 'resource "terraform_data" "lablink_vm" {\n  triggers_replace = "changed"'))
    operation = end(lab, lab.launch(1, wait=False)["id"], "failed")
    assert "would take away or replace" in operation["error"] and "lablink-vm-dev-1" in operation["error"]
    assert hostnames(lab) == names(1, 2) == cloud.machines()
    (cloud.module / "main.tf").write_text(text)
    lab.launch(1)
    assert hostnames(lab) == names(1, 2, 3)


def test_token_mode_needs_the_variable(new_lab, cloud):
    text = (cloud.module / "variables.tf").read_text()
    (cloud.module / "variables.tf").write_text(re.sub(r'variable "vm_tokens" \{.*?\n\}\n', "", text, flags=re.S))
    lab = new_lab(config=cloud.config(security={"client_auth": "token"}), name="tokenless")
    operation = end(lab, lab.launch(1, wait=False)["id"], "failed")
    assert "vm_tokens" in operation["error"] and lab.vms() == [] and cloud.calls() == []
    wait_until(lambda: provider(lab)["code"] == "module-without-tokens", 60)
    lab.config["security"]["client_auth"] = "open"
    lab.restart()
    lab.launch(1)
    assert lab.vms()[0]["token_hash"] is None, "a VM that cannot have a secret is not asked for it"


# --- what goes wrong -------------------------------------------------------------------------------------------------


def test_failing_apply_keeps_what_was_made(lab, cloud):
    cloud.tell("fail-lablink-vm-dev-2")
    operation = end(lab, lab.launch(3, wait=False)["id"], "failed")
    assert "launched 2 of 3 VMs" in operation["error"] and operation["result"]["vms"] == names(1, 3)
    assert "no capacity for lablink-vm-dev-2" in output_text(lab, operation["id"])
    assert hostnames(lab) == names(1, 3) == cloud.machines() and sorted(instances(lab)) == names(1, 3)
    # a number too small to fill the gap is told, not carried out; and then the gap is filled
    cloud.forget("fail-lablink-vm-dev-2")
    lab.launch(2)
    assert hostnames(lab) == names(1, 2, 3, 4) and cloud.machines() == names(1, 2, 3, 4)


def test_gap_above_what_is_asked(lab, cloud):
    for number in (1, 2):
        cloud.tell("fail-lablink-vm-dev-%d" % number)
    end(lab, lab.launch(4, wait=False)["id"], "failed")
    assert cloud.machines() == names(3, 4)
    for number in (1, 2):
        cloud.forget("fail-lablink-vm-dev-%d" % number)
    operation = end(lab, lab.launch(1, wait=False)["id"], "failed")
    assert "Launch 2 or more" in operation["error"] and hostnames(lab) == names(3, 4)
    lab.launch(2)
    assert cloud.machines() == names(1, 2, 3, 4)


def test_cancel(lab, cloud):
    number = begin(lab, cloud, 3, "lablink-vm-dev-3")
    wait_until(lambda: lab.operation(number)["progress"]["done"] == 2, 60)
    page = lambda: lab.get("/admin/operations/%d" % number, admin=True, headers={"Accept": "text/html"}).text
    assert "Cancel this operation" in page()
    lab.post("/api/operations/%d/cancel" % number, admin=True, headers={"Accept": "application/json"})
    ended = end(lab, number, "cancelled")
    assert ended["result"]["vms"] == names(1, 2) and hostnames(lab) == names(1, 2)
    assert not engines(lab) and sorted(instances(lab)) == names(1, 2)
    assert "was cancelled" in page() and "Cancelling: the engine is asked to stop" in page() and "Cancel this" not in page()
    cloud.let_go()
    lab.launch(1)
    assert hostnames(lab) == names(1, 2, 3)


def test_engine_is_killed(lab, cloud):
    number = begin(lab, cloud, 3, "lablink-vm-dev-2")
    wait_until(lambda: lab.operation(number)["progress"]["done"] == 2, 60)
    for engine in engines(lab):
        engine.kill()
    ended = end(lab, number, "failed")
    assert "killed by signal 9" in ended["error"] and "what exists is not known" in ended["error"] and "lablink repair" in output_text(lab, number)
    assert hostnames(lab) == names(1, 2, 3), "what may exist keeps its row"
    assert provider(lab)["code"] == "interrupted-apply" and "lablink repair" in lab.cli("status").stdout
    assert buttons(lab, "/admin/operations/%d" % number) == buttons(lab, "/admin") == ["refresh", "retry", "unlock"]
    cloud.let_go()
    assert lab.post("/api/admin/repair", admin=True, data={"action": "retry", "_key": "once"}, headers={"Accept": "text/html"}).ok
    assert buttons(lab, "/admin/operations/%d" % number) == buttons(lab, "/admin") == []
    assert hostnames(lab) == names(1, 2, 3) == cloud.machines() == sorted(instances(lab))
    assert provider(lab)["code"] == "ready"
    lab.launch(1)
    assert cloud.machines() == hostnames(lab) == names(1, 2, 3, 4)


def test_runner_is_killed(lab, cloud):
    """Its engine goes on to the end; nothing else changes anything until then, and afterwards all is as it should be."""
    number = begin(lab, cloud, 3, "lablink-vm-dev-2")
    lab.kill("runner")
    assert len(engines(lab)) == 1
    cloud.let_go()
    wait_until(lambda: not engines(lab), 60)
    assert cloud.machines() == names(1, 2, 3)
    assert end(lab, number, "interrupted")["error"]
    wait_until(lambda: provider(lab)["code"] == "ready", 60)
    assert hostnames(lab) == names(1, 2, 3)
    wait_until(lambda: all(vm["terraform_timing_end"] for vm in lab.vms()), 60, "times are found by the next look")
    lab.launch(1)
    assert hostnames(lab) == names(1, 2, 3, 4)


def test_all_are_killed_and_repaired(lab, cloud):
    """Engine, runner and allocator at once: the next start finds the apply and offers repairs."""
    number = begin(lab, cloud, 3, "lablink-vm-dev-1")
    pending = lab.state / "terraform/pending.json"
    assert json.loads(pending.read_text())["names"] == names(1, 2, 3)
    lab.kill("runner")
    for engine in engines(lab):
        engine.kill()
    lab.kill("supervisor")
    wait_until(lambda: not lab.role("web"), 60)
    cloud.let_go()
    lab.start()
    assert end(lab, number, "interrupted")
    wait_until(lambda: provider(lab)["code"] == "interrupted-apply", 60)
    assert "lablink repair" in provider(lab)["hint"] and hostnames(lab) == names(1, 2, 3)
    assert "repair" in end(lab, lab.launch(1, wait=False)["id"], "failed")["error"]
    repair(lab, "retry")
    assert hostnames(lab) == names(1, 2, 3) == cloud.machines() == sorted(instances(lab)) and not pending.exists()
    wait_until(lambda: provider(lab)["code"] == "ready", 60)


def test_repair_by_refresh(lab, cloud):
    """Left at what exists: rows of what was never made go, and the command line says what happened."""
    lab.launch(1)
    number = begin(lab, cloud, 2, "lablink-vm-dev-3")
    lab.kill("runner")
    for engine in engines(lab):
        engine.kill()
    pending = lab.state / "terraform/pending.json"
    told = json.loads(pending.read_text())
    told["names"].append("lablink-vm-dev-9")
    pending.write_text(json.dumps(told))
    cloud.let_go()
    end(lab, number, "interrupted")
    wait_until(lambda: provider(lab)["code"] == "interrupted-apply", 60)
    done = lab.cli("repair", "refresh")
    assert "lablink-vm-dev-9 is not in the engine's state" in done.stdout + done.stderr
    assert provider(lab)["code"] == "ready" and "lablink-vm-dev-3" not in hostnames(lab)
    assert set(hostnames(lab)) >= set(instances(lab)), "dev-2 was made: if that was heard, its row stays"
    assert lab.cli("repair", "nonsense", check=False).returncode != 0
    assert "nothing to try again" in repair(lab, "retry", "failed")["error"]


def test_allocator_is_killed(lab, cloud):
    number = begin(lab, cloud, 2, "lablink-vm-dev-2")
    lab.kill("supervisor")
    wait_until(lambda: not lab.role("web"), 60)
    cloud.let_go()
    lab.start()
    assert end(lab, number, "done")["result"]["vms"] == names(1, 2)
    assert hostnames(lab) == names(1, 2) == cloud.machines()


def test_state_that_somebody_works_on(lab, cloud):
    lab.launch(1)
    with open(lab.state / "terraform/dev.tfstate", "r+") as state:
        fcntl.lockf(state, fcntl.LOCK_EX)
        operation = end(lab, lab.launch(1, wait=False)["id"], "failed")
    assert "state lock" in operation["error"] and "repair unlock" in operation["error"]
    assert buttons(lab, operation["page"]) == ["unlock"] and buttons(lab, "/admin") == []
    assert hostnames(lab) == names(1)
    lab.launch(1)
    assert hostnames(lab) == names(1, 2)


# --- engines and modules that misbehave ------------------------------------------------------------------------------


ENGINES = [
    ("exit 1", "exit 1"),
    ("echo 'no such thing' >&2; exit 3", "no such thing"),
    ("printf '\\033[31m\\377\\000garbage\\033]0;x\\007\\n' >&2; exit 1", "garbage"),
    ("case $1 in init) ;; *) echo '{\"half\": ';; esac", "plan cannot be read"),
    ("case $1 in init) ;; show) yes '{' | head -c 70000000;; esac", "more than 64 MB"),
    ("kill -9 $$", "killed by signal 9"),
]


def test_engine_misbehaves(new_lab, cloud):
    engine = cloud.directory / "engine"
    engine.write_text("#!/bin/sh\nexit 1\n")
    engine.chmod(0o755)
    lab = new_lab(config=cloud.config(terraform={"engine": str(engine)}), name="engine")
    for script, words in ENGINES:
        engine.write_text("#!/bin/sh\n%s\n" % script)
        operation = end(lab, lab.launch(1, wait=False)["id"], "failed")
        assert words in operation["error"] and "\x1b" not in operation["error"], (script, operation["error"])
        assert lab.vms() == [] and lab.get("/healthz").status_code == 200
        assert provider(lab)["code"] == "ready", "nothing was begun"
    engine.write_text("#!/bin/sh\n[ $1 = init ] || { echo 'no JSON'; echo '{\"none of ours\": 1}'; exit 1; }\n")
    operation = end(lab, lab.launch(1, wait=False)["id"], "failed")
    assert 'no JSON\n{"none of ours": 1}\n' in output_text(lab, operation["id"]), "words of anybody else pass as they are"


def test_no_engine(new_lab, cloud):
    lab = new_lab(config=cloud.config(terraform={"engine": "/nowhere/tofu"}), name="noengine")
    operation = end(lab, lab.launch(1, wait=False)["id"], "failed")
    assert "tofu" in operation["error"]
    wait_until(lambda: provider(lab)["code"] == "no-engine", 60)
    assert "/nowhere/tofu" in lab.cli("status").stdout


def test_module_that_prints_without_end(lab, cloud):
    """Every line is cut, their number is limited, and the memory of both processes stays as it was."""
    line = "\x1b[2J\x1b[1;1H" + "\u00e9" * 3000 + "\x07\r"
    cloud.tell("say", (line + "\n") * 200 + "short\n" * 21000)
    operation = lab.launch(1)
    lines = lab.get("/api/operations/%s/output?after=19000" % operation["id"], admin=True).json()["lines"]
    assert any("more lines of output were left out" in line["text"] for line in lines)
    assert all(not re.search("[\x00-\x1f\x7f]", line["text"]) for line in lines)


# --- many ------------------------------------------------------------------------------------------------------------


def test_200_instances(new_lab, tmp_path):
    """The page and the stream of events live on, and the web process does not grow."""
    cloud = Cloud(tmp_path, small=True)
    lab = new_lab(config=cloud.config(), name="many")
    lab.launch(1)
    before = lab.role("web")[0].pss_kb()
    operation = lab.launch(199, wait=False)
    seen, heard = set(), []

    def listen():
        with requests.get(lab.url + "/api/operations/%d/output" % operation["id"], auth=lab.admin, stream=True, timeout=300,
                          headers={"Accept": "text/event-stream"}) as answer:
            for line in answer.iter_lines(decode_unicode=True):
                heard.append(line)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()

    def done():
        now = lab.operation(operation["id"])
        seen.add(now["progress"]["done"])
        assert lab.get("/admin/instances", admin=True).status_code == 200
        return now["state"] not in ("queued", "running")

    wait_until(done, 300, every=0.2)
    end(lab, operation["id"], "done")
    listener.join(60)
    assert not listener.is_alive() and "event: end" in heard and len(seen) > 3
    assert len(lab.vms()) == 200 == len(cloud.machines()) and all(vm["terraform_timing_end"] for vm in lab.vms())
    grown = lab.role("web")[0].pss_kb() - before
    assert grown < (512 if SANITIZED else 64) * 1024, grown


# --- on AWS ----------------------------------------------------------------------------------------------------------


def test_state_in_s3(new_lab, cloud):
    """The backend of the module for AWS: state, lock and a copy of the variables there; keys from the administrator's form."""
    with AwsServer({"AKIDTEST": "the-secret-key"}) as aws:
        moto = "http://127.0.0.1:%d" % aws.moto_port  # the engine signs bodies in pieces, which the door does not read
        aws.boto("s3").create_bucket(Bucket="lab-state", CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
        aws.boto("dynamodb").create_table(
            TableName="lock-table", BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "LockID", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "LockID", "AttributeType": "S"}])
        backend = (ROOT / "terraform/client-vms/backend-client-test.hcl").read_text()
        (cloud.module / "backend-client-test.hcl").write_text(
            backend + "use_path_style = true\nskip_credentials_validation = true\nskip_requesting_account_id = true\n")
        lab = new_lab(
            config=cloud.config(environment="test", bucket_name="lab-state", machine={"machine_type": "g4dn.xlarge"}), name="s3",
            environment={**aws.environment(), "AWS_ENDPOINT_URL_S3": moto, "AWS_ENDPOINT_URL_DYNAMODB": moto})
        answer = lab.post("/api/admin/set-aws-credentials", admin=True, headers={"Accept": "application/json"}, timeout=120,
                          json={"aws_access_key_id": "AKIDTEST", "aws_secret_access_key": "the-secret-key"})
        assert answer.status_code == 200, answer.text
        operation = lab.launch(1)
        stored = lambda name: aws.boto("s3").get_object(Bucket="lab-state", Key="test/client/" + name)["Body"].read().decode()
        assert hostnames(lab) == ["lablink-vm-test-1"] and "lablink-vm-test-1" in stored("terraform.tfstate")
        variables = stored("terraform.runtime.tfvars")
        assert 'resource_suffix = "test"' in variables and 'gpu_support = "true"' in variables
        assert "g4dn.xlarge has" in output_text(lab, operation["id"])
        assert not (lab.state / "terraform/test.tfstate").exists()
        wait_until(lambda: provider(lab)["code"] == "ready", 60)
        leaked = [path for path in lab.state.joinpath("terraform").rglob("*") if path.is_file() and b"the-secret-key" in path.read_bytes()]
        assert not leaked and "the-secret-key" not in lab.log()

        # an engine that died has left its lock
        info = {"ID": "11111111-2222-3333-4444-555555555555", "Operation": "OperationTypeApply", "Info": "", "Who": "somebody@gone", "Version": "1.12.6",
                "Created": "2026-01-01T00:00:00Z", "Path": "lab-state/test/client/terraform.tfstate"}
        aws.boto("dynamodb").put_item(TableName="lock-table", Item={
            "LockID": {"S": "lab-state/test/client/terraform.tfstate"}, "Info": {"S": json.dumps(info, separators=(",", ":"))}})
        operation = end(lab, lab.launch(1, wait=False)["id"], "failed")
        assert "state is locked" in operation["error"] and "somebody@gone" in output_text(lab, operation["id"])
        assert "locked by 11111111-2222-3333-4444-555555555555" in output_text(lab, repair(lab, "unlock")["id"])
        lab.launch(1)
        assert hostnames(lab) == ["lablink-vm-test-1", "lablink-vm-test-2"] == cloud.machines()
        lab.destroy()
        assert lab.vms() == [] and cloud.machines() == []
