"""From the launch to a claimed seat through terraform/client-vms: the real driver and engine, the module's own variables,
tokens, user data, times and outputs, and a machine that boots by what the module made for it.

The resources that only AWS has are played by terraform_data; the machine is the sandbox of cloud_machine.py.
"""

import base64
import gzip
import hashlib
import re
import shutil

import pytest

import cloud
from cloud_machine import MODULE, Machine
from lab import wait_until
from workshop import JSON, claim

PLAYED = (
    ("aws_instance.lablink_vm[*].public_ip", '[for vm in terraform_data.lablink_vm : "127.0.0.1"]'),
    ('vm.tags["Name"]', "vm.output.name"),
    ("tls_private_key.lablink_key.private_key_pem", '"a key"'),
    ("aws_instance.", "terraform_data."),
)
PLAYER = """
resource "terraform_data" "lablink_vm" {
  count = var.instance_count
  input = { name = local.names[count.index], user_data = base64gzip(local.user_data[local.names[count.index]]) }

  provisioner "local-exec" {
    command = "[ ! -e '${path.module}/../../../fail-${count.index + 1}' ]"
  }

  lifecycle {
    ignore_changes = [input]
  }
}

output "user_data" {
  value     = { for vm in terraform_data.lablink_vm : vm.output.name => vm.output.user_data }
  sensitive = true
}
"""


@pytest.fixture
def lab(new_lab, tmp_path):
    module = tmp_path / "module"
    module.mkdir()
    for name in ("variables.tf", "boot.tf", "boot.sh"):
        shutil.copy(MODULE / name, module)
    for name in ("times.tf", "outputs.tf"):
        text = (MODULE / name).read_text()
        for old, new in PLAYED:
            text = text.replace(old, new)
        (module / name).write_text(text)
    (module / "player.tf").write_text(PLAYER)
    script = tmp_path / "startup.sh"
    script.write_text("#!/bin/sh\necho 'custom: it ran'\n")
    lab = new_lab(name="aws", config={
        "environment": "test", "provider": {"kind": "terraform"}, "terraform": {"directory": str(module), "engine": cloud.engine()},
        "machine": {"image": "image:1", "software": "sleap", "repository": "https://example.org/tutorial.git", "machine_type": "g4dn.xlarge"},
        "startup_script": {"enabled": True, "path": str(script), "on_error": "fail"},
        "security": {"client_auth": "token"}})
    lab.restart()  # with the port that it got, which the VMs are told
    return lab


def test_a_launch_boots_and_is_claimed(lab):
    name = "lablink-vm-test-1"
    operation = lab.launch(1)
    assert operation["progress"]["done"] == 1
    row = lab.vm(name)
    assert row["token_hash"] and row["terraform_timing_start"] <= row["terraform_timing_end"]
    state = lab.state / "terraform/test.tfstate"
    outputs = {key: output["value"] for key, output in cloud.json.loads(state.read_text())["outputs"].items()}
    assert outputs["vm_instance_names"] == [name] and outputs["instance_terraform_apply_times"][name]["formatted"].startswith("00h:")

    machine = Machine(gzip.decompress(base64.b64decode(outputs["user_data"][name])).decode(), environment={
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": "http://127.0.0.1:1"})
    try:
        machine.boot()
        assert machine.exit_status() == 0, machine.log()
        wait_until(lambda: lab.vm(name)["status"] == "running", 120, machine.log)
        assert machine.container_environment()["TUTORIAL_REPO_TO_CLONE"] == "https://example.org/tutorial.git"
        assert any("--gpus" in call for call in machine.calls("run")) and "custom: it ran" in machine.log()
        wait_until(lambda: "custom: it ran" in lab.get("/api/vm-logs/" + name, admin=True).json()["logs"], 120)
        assert lab.get("/api/vm-logs/" + name, headers=JSON).status_code == 401, "a lab with tokens tells a log to the admin and that VM"
        seat = wait_until(lambda: (lambda answer: answer.json() if answer.status_code == 200 else None)(claim(lab, 1)), 90)
        assert seat["hostname"] == name
        # The agent in the container has waited with the token and carries the assignment out.
        wait_until(lambda: "start-host" in (machine.var / "log/agent.log").read_text(), 90)
    finally:
        machine.off()
    lab.destroy()
    assert lab.vms() == []


def test_a_launch_that_succeeds_in_part_is_gone_on_with(lab):
    """What the module tells of VMs and times is right after an apply in which one of them failed."""
    (lab.directory / "fail-2").touch()
    failed = lab.wait_operation(lab.launch(2, wait=False)["id"], states=("failed",))
    assert "launched 1 of 2" in failed["error"], failed
    assert [vm["hostname"] for vm in lab.vms()] == ["lablink-vm-test-1"]
    (lab.directory / "fail-2").unlink()
    lab.launch(2)
    names = ["lablink-vm-test-%d" % number for number in (1, 2, 3)]
    assert [vm["hostname"] for vm in lab.vms()] == names
    outputs = {key: output["value"] for key, output in cloud.json.loads((lab.state / "terraform/test.tfstate").read_text())["outputs"].items()}
    assert outputs["vm_instance_names"] == names and set(outputs["instance_terraform_apply_times"]) == set(names)
    assert all(time["seconds"] >= 0 for time in outputs["instance_terraform_apply_times"].values())
    lab.destroy()


def token_of(lab, name):
    outputs = cloud.json.loads((lab.state / "terraform/test.tfstate").read_text())["outputs"]
    text = gzip.decompress(base64.b64decode(outputs["user_data"]["value"][name])).decode()
    return re.search(r"^CLIENT_TOKEN='([^']+)'$", text, re.M)[1]


def test_a_released_vm_is_made_anew_with_another_token(lab):
    lab.launch(2)
    first, second = ["lablink-vm-test-%d" % number for number in (1, 2)]
    old = {name: token_of(lab, name) for name in (first, second)}
    lab.sql("update vms set status = 'running', reported_status = 'running'")
    seat = claim(lab, 1).json()
    host = seat["hostname"]
    assert lab.post("/api/admin/vms/%s/release" % host, json={"yes": True}, admin=True, headers=JSON).status_code == 200
    wait_until(lambda: not lab.vm(host)["needs_reset"] and not lab.vm(host)["email"] and token_of(lab, host) != old[host], 120)
    for name in (first, second):
        assert hashlib.sha256(token_of(lab, name).encode()).hexdigest() == lab.vm(name)["token_hash"]
    other = second if host == first else first
    assert token_of(lab, other) == old[other], "nobody else's machine was touched"
    lab.destroy()
