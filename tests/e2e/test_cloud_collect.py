"""Participants' files of VMs that a module has made: a real engine tells their addresses and their key, a real sshd each
lets the allocator in."""

import hashlib
import io
import json
import os
import random
import subprocess
import zipfile

import pytest

from cloud import instances, names
from sshd import Vm

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="sshd needs root")
JSON = {"Accept": "application/json"}


@pytest.fixture
def machines(tmp_path):
    """Two VMs at addresses of their own and one port, as a cloud's are."""
    network = "127.%d.%d." % (random.randrange(1, 255), random.randrange(255))
    made = [Vm(tmp_path / "vms", names(1)[0], network + "1")]
    made.append(Vm(tmp_path / "vms", names(2)[0], network + "2", made[0].port))
    yield made
    for vm in made:
        vm.stop()


def archived(lab, collection):
    """{name: bytes} of a collection's archive, whose manifest must be true."""
    archive = zipfile.ZipFile(io.BytesIO(lab.get("/api/collections/%d/archive" % collection, admin=True).content))
    for row in json.loads(archive.read("manifest.json"))["files"]:
        assert row["status"] == "collected" and hashlib.sha256(archive.read(row["file"])).hexdigest() == row["sha256"], row
    return {name: archive.read(name) for name in archive.namelist() if name.startswith("lablink-vm-")}


def made_by(machines):
    return {"%s/%s" % (vm.hostname, path.relative_to(vm.home)): path.read_bytes()
            for vm in machines for path in vm.home.rglob("*.slp")}


def test_collect_then_destroy(new_lab, cloud, machines):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(cloud.module / "key")], check=True)
    text = (cloud.module / "outputs.tf").read_text()
    (cloud.module / "outputs.tf").write_text(text.replace(
        '[for vm in terraform_data.lablink_vm : ""]', json.dumps([vm.address for vm in machines])) +
        'output "lablink_private_key_pem" {\n  value     = file("${path.module}/key")\n  sensitive = true\n}\n')
    lab = new_lab(config=cloud.config(terraform={"ssh_user": "root", "ssh_port": machines[0].port}), name="cloud-files")
    lab.launch(2)
    for vm in machines:
        vm.start((cloud.module / "key.pub").read_text())
        for number in range(20):
            path = vm.home / "Desktop" / ("it's %d" % (number % 3)) / ("é %d.slp" % number)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(os.urandom(5000 + number))
    answer = lab.post("/api/collections", admin=True, json={}, headers=JSON)
    assert answer.status_code == 202, answer.text
    collected = lab.wait_operation(answer.json()["operation"]["id"])
    assert collected["result"]["files"] == 40 and collected["result"]["failed"] == []
    assert archived(lab, answer.json()["collection"]) == made_by(machines)

    (machines[0].home / "Desktop/late.slp").write_bytes(b"saved at the last moment")
    destroy = lab.post("/destroy", admin=True, json={"collect": True}, headers=JSON).json()["operation"]["id"]
    lab.wait_operation(destroy)
    assert lab.vms() == [] and cloud.machines() == [] and instances(lab) == {}
    kept = lab.get("/api/collections", admin=True).json()["collections"]
    assert archived(lab, kept[0]["id"]) == made_by(machines)
    assert not (lab.state / "terraform/key.pem").exists()
