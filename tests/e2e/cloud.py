"""Labs whose VMs come from a module: the provider `terraform` with a real engine.

The module is terraform/local-vms, whose command starts a real sandbox; most tests replace that command by a small script,
which stands in for a cloud: it makes a file for each machine, and fails, waits or prints as the test tells it to.
"""

import functools
import json
import os
import pathlib
import re
import shutil
import subprocess

from lab import ROOT, BUILD, all_processes, wait_until

MODULE = ROOT / "terraform/local-vms"
SCRIPT = """#!/bin/sh
# stand-in for a cloud: VERB NAME. CLOUD is the directory that the test tells it things in.
CLOUD=%s
verb=$1 name=$2
echo "$verb $name" >>$CLOUD/calls
case $verb in
make)
        [ ! -e $CLOUD/say ] || cat $CLOUD/say
        [ ! -e $CLOUD/wait-$name ] || : >$CLOUD/waiting-$name
        while [ -e $CLOUD/wait-$name ]; do sleep 0.05; done
        if [ -e $CLOUD/fail-$name ]; then echo "no capacity for $name" >&2; exit 3; fi
        printf '%%s' "$TF_VAR_vm_tokens" >$CLOUD/tokens
        : >$CLOUD/vm-$name
        ;;
remove) rm -f $CLOUD/vm-$name ;;
esac
"""


@functools.cache
def engine():
    """A tofu: from PATH, or built once. Where it cannot be had the test fails."""
    if os.environ.get("LABLINK_TOFU"):
        return os.environ["LABLINK_TOFU"]
    done = subprocess.run([str(ROOT / "tools/get-tofu")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


# The least that the contract asks for, for many instances: an engine writes its whole state again for each resource.
SMALL = """
variable "instance_count" { type = number }
variable "resource_suffix" { type = string }
variable "vm_tokens" {
  type      = map(string)
  sensitive = true
}
resource "terraform_data" "lablink_vm" {
  count = var.instance_count
  input = "lablink-vm-${var.resource_suffix}-${count.index + 1}"
  provisioner "local-exec" {
    command     = "exec %s make $NAME"
    environment = { NAME = self.input }
  }
}
output "vm_instance_names" { value = terraform_data.lablink_vm[*].output }
"""


class Cloud:
    """A copy of the module with a stand-in for its command, and the directory that the stand-in looks into."""

    def __init__(self, directory, real=False, small=False):
        self.directory = directory
        self.module = directory / "module"
        script = directory / "cloud.sh"
        script.write_text(SCRIPT % directory)
        script.chmod(0o755)
        if small:
            self.module.mkdir()
            (self.module / "main.tf").write_text(SMALL.replace("%s", str(script)))
            return
        shutil.copytree(MODULE, self.module)
        if not real:
            text = (self.module / "main.tf").read_text()
            text = text.replace('exec \\"$LABLINK_RUNNER\\" --settings \\"$LABLINK_SETTINGS\\" local', "exec %s" % script)
            assert str(script) in text
            (self.module / "main.tf").write_text(text)

    def config(self, **more):
        merged = {
            "environment": "dev", "provider": {"kind": "terraform", "vms_max": 300},
            "terraform": {"directory": str(self.module), "engine": engine()},
        }
        for section, keys in more.items():
            if isinstance(keys, dict):
                merged.setdefault(section, {}).update(keys)
            else:
                merged[section] = keys
        return merged

    def tell(self, name, text=""):
        (self.directory / name).write_text(text)

    def forget(self, name):
        (self.directory / name).unlink()

    def told(self, name):
        return (self.directory / name).exists()

    def machines(self):
        return sorted(path.name[3:] for path in self.directory.glob("vm-*"))

    def calls(self):
        path = self.directory / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def let_go(self):
        for path in self.directory.glob("wait-*"):
            path.unlink()


def state(lab):
    """The engine's own state."""
    path = lab.state / "terraform/dev.tfstate"
    return json.loads(path.read_text()) if path.exists() and path.stat().st_size else {}


def instances(lab):
    """{name: status} of the VMs in the engine's state."""
    return {
        "lablink-vm-dev-%d" % (instance["index_key"] + 1): instance.get("status", "")
        for resource in state(lab).get("resources", []) if resource["name"] == "lablink_vm" for instance in resource["instances"]
    }


def outputs(lab):
    return {name: output["value"] for name, output in state(lab).get("outputs", {}).items()}


def output_text(lab, number):
    lines = lab.get("/api/operations/%s/output" % number, admin=True).json()["lines"]
    return "\n".join(line["text"] for line in lines)


def engines(lab):
    """Living engines of this lab, known by the directory that they work in."""
    found = []
    for process in all_processes():
        try:
            place = os.readlink("/proc/%d/cwd" % process.pid)
        except OSError:
            continue
        if place == str(lab.state / "terraform/module") and process.program == pathlib.Path(engine()).name:
            found.append(process)
    return found


def names(*numbers):
    return ["lablink-vm-dev-%d" % number for number in numbers]


def hostnames(lab):
    return [vm["hostname"] for vm in lab.vms()]


def provider(lab):
    return lab.get("/readyz").json()["provider"]


def begin(lab, cloud, count, waiting):
    """A launch that stands still while it makes `waiting`."""
    cloud.tell("wait-" + waiting)
    operation = lab.launch(count, wait=False)
    wait_until(lambda: cloud.told("waiting-" + waiting), 90, lambda: output_text(lab, operation["id"]))
    return operation["id"]


def end(lab, number, *states):
    return lab.wait_operation(number, states=states)


def repair(lab, action, *states):
    answer = lab.post("/api/admin/repair", json={"action": action}, admin=True, headers={"Accept": "application/json"})
    assert answer.status_code == 202, answer.text
    return end(lab, answer.json()["operation"]["id"], *(states or ("done",)))


def buttons(lab, path):
    """The repairs that a page offers an administrator."""
    page = lab.get(path, admin=True, headers={"Accept": "text/html"}).text
    assert ("This needs your decision" in page) == ("/api/admin/repair" in page)
    return sorted(re.findall(r'name="action" value="(\w+)"', page))
