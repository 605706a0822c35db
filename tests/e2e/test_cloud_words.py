"""What AWS refuses is told in plain words, before the engine's own."""

import pytest

from cloud import Cloud, names

REFUSAL = (
    "creating EC2 Instance: operation error EC2: RunInstances, https response error StatusCode: 400, RequestID: 1, "
    "api error VcpuLimitExceeded: You have requested more vCPU capacity than your current vCPU limit of 32 allows"
)


@pytest.fixture
def cloud(tmp_path):
    made = Cloud(tmp_path)
    script = tmp_path / "cloud.sh"
    script.write_text(script.read_text().replace('"no capacity for $name"', "'%s'" % REFUSAL))
    yield made
    made.let_go()


def test_a_refusal_of_aws_is_explained(new_lab, cloud):
    # An engine warns of a settings file that is not there; nothing of it gets into what the runner reads.
    lab = new_lab(config=cloud.config(), name="cloud-words", environment={"TF_CLI_CONFIG_FILE": "/nonexistent/terraformrc"})
    cloud.tell("fail-" + names(1)[0])
    failed = lab.wait_operation(lab.launch(1, wait=False)["id"], states=("failed",))
    assert "the account's vCPU quota for this kind of instance is used up" in failed["error"], failed
    assert "VcpuLimitExceeded" in failed["error"] and lab.vms() == []
