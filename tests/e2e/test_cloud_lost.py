"""The provider `terraform` when the engine's state and what exists have come apart: a state that was cut off in the middle
of being written, machines that ended by themselves, and more of them than the engine can be told of at once."""

import json
import os
import signal
import subprocess

import pytest

from cloud import begin, end, engine, engines, hostnames, instances, names, output_text, provider, repair
from lab import wait_until
from workshop import claim


@pytest.fixture
def lab(new_lab, cloud):
    return new_lab(config=cloud.config(), name="lost")


def kill_while_it_writes(lab, cloud, number, made, share):
    """kill -9 of the engine when it has made `made`, with `share` of its state in the file; None: the file as it is."""
    wait_until(lambda: lab.vm(made)["terraform_timing_end"], 60)
    running = engines(lab)
    for process in running:
        process.kill(signal.SIGSTOP)
    path = lab.state / "terraform/dev.tfstate"
    if share is not None:
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    for process in running:
        process.kill()
    end(lab, number, "failed")
    cloud.let_go()


def test_state_cut_off_while_it_was_written(lab, cloud):
    """Whatever is left of it, no row goes of a machine that exists, and the lab goes on from the last whole copy."""
    # the first launch of all: the engine has written nothing yet, and there is no copy
    number = begin(lab, cloud, 2, "lablink-vm-dev-2")
    kill_while_it_writes(lab, cloud, number, "lablink-vm-dev-1", None)
    assert (lab.state / "terraform/dev.tfstate").stat().st_size == 0, "what this engine does"
    assert hostnames(lab) == names(1, 2) and provider(lab)["code"] == "interrupted-apply"
    told = output_text(lab, repair(lab, "refresh")["id"])
    assert all("%s is not in the engine's state" % name in told for name in names(1, 2))
    assert [(vm["hostname"], vm["status"]) for vm in lab.vms()] == [("lablink-vm-dev-1", "unknown")], "it was made, so it may run"
    lab.launch(2)
    assert hostnames(lab) == names(1, 2) == sorted(instances(lab))

    # half a state
    number = begin(lab, cloud, 2, "lablink-vm-dev-4")
    kill_while_it_writes(lab, cloud, number, "lablink-vm-dev-3", 0.5)
    assert hostnames(lab) == names(1, 2, 3, 4)
    assert provider(lab)["code"] == "interrupted-apply" and "copy" in provider(lab)["hint"]
    assert "repair" in end(lab, lab.launch(1, wait=False)["id"], "failed")["error"]
    assert "last whole copy is put back (.kept): it names 2 VMs" in output_text(lab, repair(lab, "retry")["id"])
    assert hostnames(lab) == names(1, 2, 3, 4) == cloud.machines() == sorted(instances(lab))
    assert provider(lab)["code"] == "ready"

    # nothing at all
    number = begin(lab, cloud, 2, "lablink-vm-dev-6")
    kill_while_it_writes(lab, cloud, number, "lablink-vm-dev-5", 0)
    assert hostnames(lab) == names(1, 2, 3, 4, 5, 6)
    assert "it names 4 VMs" in output_text(lab, repair(lab, "refresh")["id"])
    assert hostnames(lab) == names(1, 2, 3, 4, 5) and provider(lab)["code"] == "ready"

    # and a destroy of it
    number = begin(lab, cloud, 1, "lablink-vm-dev-5")
    wait_until(lambda: engines(lab), 60)
    for process in engines(lab):
        process.kill()
    end(lab, number, "failed")
    (lab.state / "terraform/dev.tfstate").write_bytes(b'{"version": 4, "resou')
    cloud.let_go()
    assert "lablink-vm-dev-5 is not in the engine's state, so it was not destroyed" in output_text(lab, lab.destroy()["id"])
    assert lab.vms() == [] and not set(cloud.machines()) & set(names(1, 2, 3, 4))
    lab.launch(1)
    assert hostnames(lab) == names(1) == sorted(instances(lab))


def test_machine_that_ended_by_itself(lab, cloud):
    """Its instance has gone from the state, what was made beside it has not: the next launch makes both again."""
    lab.launch(3)
    place = lab.state / "terraform"
    subprocess.run([engine(), "state", "rm", "terraform_data.lablink_vm[1]"], cwd=place / "module", check=True, capture_output=True,
                   env={**os.environ, "TF_DATA_DIR": str(place / "data"), "TF_VAR_vm_tokens": "{}"})
    assert sorted(instances(lab)) == names(1, 3)
    lab.launch(1)
    assert hostnames(lab) == names(1, 2, 3) == sorted(instances(lab))
    lab.launch(1)
    assert hostnames(lab) == names(1, 2, 3, 4) == sorted(instances(lab))
    assert [call for call in cloud.calls() if call == "make lablink-vm-dev-1"] == ["make lablink-vm-dev-1"], "others are left alone"


def test_machine_that_never_spoke(lab, cloud):
    """Nobody holds it and nobody could: a release makes it anew, and leaves the others alone."""
    lab.launch(2)
    made = lambda name: cloud.calls().count("make " + name)
    assert lab.cli("vm", "release", "lablink-vm-dev-1", "--yes").returncode == 0
    wait_until(lambda: not lab.vm("lablink-vm-dev-1")["needs_reset"], 90)
    assert (made("lablink-vm-dev-1"), made("lablink-vm-dev-2")) == (2, 1) and cloud.machines() == names(1, 2)


def test_reset_that_fails(lab, cloud):
    """It is tried ever more seldom, by itself, and keeps no other released VM from its reset."""
    lab.launch(2)
    cloud.tell("fail-lablink-vm-dev-1")
    report = lambda name: lab.post("/api/vm-status", json={"hostname": name, "status": "running"}, headers={
        "Authorization": "Bearer " + json.loads((lab.state / "terraform/tokens.json").read_text())[name]})
    mended = lambda: [one for one in reversed(lab.get("/api/operations", admin=True).json()["operations"]) if one["kind"] == "reconcile"]

    def release(number, name, attempts):
        """A person comes and goes; the operations that mend, when `attempts` of them have ended."""
        assert report(name).status_code == 200
        assert claim(lab, number).json()["hostname"] == name
        assert lab.post("/api/admin/vms/%s/release" % name, json={"yes": True}, admin=True).ok
        wait_until(lambda: len([one for one in mended() if one["ended_at"]]) == attempts, 90, mended)
        return [(one["state"], one["arguments"]["vms"]) for one in mended()]

    first = ("failed", names(1))
    assert release(1, "lablink-vm-dev-1", 1) == [first]
    assert mended()[0]["result"] == {"failed": names(1)}
    lab.sql("update operations set ended_at = now() + interval '1 hour' where kind = 'reconcile'")  # not that a busy machine be late
    second = ("done", names(2))
    assert release(2, "lablink-vm-dev-2", 2) == [first, second]
    cloud.forget("fail-lablink-vm-dev-1")
    lab.sql("update operations set ended_at = now() - interval '1 hour' where kind = 'reconcile'")
    assert release(3, "lablink-vm-dev-2", 3) == [first, second, ("done", names(1, 2))]
    assert not any(vm["needs_reset"] for vm in lab.vms()) and cloud.machines() == names(1, 2)


def test_more_than_the_engine_can_be_told_of(new_lab, cloud):
    """Secrets go by an environment variable, which the system takes no longer than 128 KB."""
    lab = new_lab(config=cloud.config(provider={"vms_max": 10000}), name="crowd")
    operation = end(lab, lab.launch(5000, wait=False)["id"], "failed")
    assert "5000 VMs cannot be launched at once" in operation["error"]
    assert lab.vms() == [] and cloud.calls() == [] and not (lab.state / "terraform/tokens.json").exists()
    # the secrets of those that are there do not take the place of the new one's
    tokens = {"lablink-vm-dev-%d" % number: "x" * 43 for number in range(2, 4000)}
    lab.launch(1)
    (lab.state / "terraform/tokens.json").write_text(json.dumps(tokens))
    lab.launch(1)
    assert hostnames(lab) == names(1, 2) and list(json.loads((cloud.directory / "tokens").read_text())) == names(2)
