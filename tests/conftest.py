"""Fixtures of every test of the running programs. See lab.py for what a lab can do.

lab       a running lab without VMs, shared by the tests of one worker and emptied before each: for tests of the API
new_lab   starts labs of the test's own, with its own configuration: new_lab(config={...}); for faults and sandboxes
"""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from lab import Lab  # noqa: E402


@pytest.fixture(scope="session")
def shared_lab():
    with Lab(name="shared") as lab:
        yield lab


@pytest.fixture
def lab(shared_lab, request):
    shared_lab.reset()
    request.node.labs = [shared_lab]
    request.node.mark = len(shared_lab.log())
    yield shared_lab
    shared_lab.check_no_complaints()
    assert shared_lab.process.poll() is None, "the allocator died:\n%s" % shared_lab.log()[-4000:]


@pytest.fixture
def new_lab(request):
    labs = []
    request.node.labs = labs

    def start(wait=True, **words):
        lab = Lab(**words)
        labs.append(lab)
        return lab.start(wait=wait)

    yield start
    failed = getattr(request.node, "failed", False)
    problems = []
    for lab in labs:
        try:
            if lab.directory.exists():
                lab.remove() if failed else lab.stop()
        except AssertionError as error:
            problems.append(str(error))
    assert not problems, "\n".join(problems)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failing test shows the end of its labs' logs."""
    report = (yield).get_result()
    if report.failed:
        item.failed = True
        for lab in getattr(item, "labs", []):
            log = lab.log()[getattr(item, "mark", 0) :]
            if log:
                report.sections.append(("log of the lab in %s" % lab.directory, log[-8000:]))
