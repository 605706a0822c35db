"""The provider `terraform` with a real engine: launch, launch again, destroy, and everything that goes wrong on the way."""

import pytest

import cloud as clouds
from cloud import Cloud, engines, instances, names, output_text, outputs, state
from lab import wait_until
from workshop import running


@pytest.fixture
def cloud(tmp_path):
    made = Cloud(tmp_path)
    yield made
    made.let_go()


@pytest.fixture
def lab(new_lab, cloud):
    return new_lab(config=cloud.config(), name="cloud")


def hostnames(lab):
    return [vm["hostname"] for vm in lab.vms()]


def test_launch_more_and_destroy(lab, cloud):
    cloud.tell("say", "\x1b[31mred\x1b[0m and \x1b]0;title\x07plain\n")
    operation = lab.launch(2)
    assert operation["progress"]["done"] == operation["progress"]["total"] == 2
    assert hostnames(lab) == names(1, 2) == cloud.machines()
    for vm in lab.vms():
        assert vm["launched"] and vm["token_hash"]
        assert vm["terraform_timing_start"] <= vm["terraform_timing_end"] and vm["terraform_timing_seconds"] >= 0
    text = output_text(lab, operation["id"])
    assert "lablink_vm[1]: Creation complete" in text and "red and plain" in text and "\x1b" not in text

    lab.launch(1)
    assert hostnames(lab) == names(1, 2, 3) == cloud.machines()
    assert sorted(call for call in cloud.calls() if call.startswith("make")) == ["make %s" % name for name in names(1, 2, 3)]
    assert outputs(lab)["vm_instance_names"] == names(1, 2, 3)

    lab.destroy()
    assert lab.vms() == [] and cloud.machines() == [] and instances(lab) == {}
    lab.launch(1)
    assert hostnames(lab) == names(1) == cloud.machines()
