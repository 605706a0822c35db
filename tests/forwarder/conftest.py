"""One lab that demands tokens, with the forwarder's own, for all tests of a worker."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from function import Front, function  # noqa: E402
from lab import Lab  # noqa: E402

TOKEN = "forwarder-token-0123456789abcdefghijklmnop"


@pytest.fixture(scope="session")
def log_lab():
    with Lab(config={"security": {"client_auth": "token", "log_token": TOKEN}}, name="forwarder") as lab:
        yield lab


@pytest.fixture
def lab(log_lab, request):
    log_lab.reset()
    log_lab.add_vm("vm-1")
    log_lab.token = TOKEN
    log_lab.lines = lambda name="vm-1": [row["message"] for row in log_lab.sql(
        "select l.message from vm_log_lines l join vms v on v.id = l.vm_id where v.hostname = %s order by l.line", name)]
    request.node.labs = [log_lab]
    request.node.mark = len(log_lab.log())
    yield log_lab
    log_lab.check_no_complaints()


@pytest.fixture
def front(lab):
    it = Front(lab)
    yield it
    it.close()


@pytest.fixture
def forwarder(lab, front):
    """The function, posting to the lab through `front`."""
    with function(front.url + "/api/vm-logs", lab.token) as it:
        yield it
        assert lab.token not in it.log()
