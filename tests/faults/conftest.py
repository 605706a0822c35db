"""Faults: crashes at named points, a database that fails in every way it can, clocks that jump, disks that fill."""

import importlib.util
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "e2e")]

from lab import Lab  # noqa: E402

# A workshop with real sandboxes is made as in the tests of whole workshops.
spec = importlib.util.spec_from_file_location("e2e_conftest", HERE.parent / "e2e/conftest.py")
e2e = importlib.util.module_from_spec(spec)
spec.loader.exec_module(e2e)
repository, workshop = e2e.repository, e2e.workshop


@pytest.fixture
def new_lab(request):
    """Starts labs as everywhere. Every lab of the test gets what the test has put into new_lab.environment;
    `database` (or new_lab.database) connects to a database of the test's own; new_lab.after is called when they are gone; wait=None only makes the lab."""
    labs = request.node.labs = []

    def start(wait=True, environment=None, database=None, **words):
        lab = Lab(environment={**start.environment, **(environment or {})}, **words)
        if database or start.database:
            lab.database = database or start.database
        labs.append(lab)
        return lab if wait is None else lab.start(wait=wait)

    start.environment, start.database, start.after = {}, None, []
    yield start
    problems = []
    for lab in labs:
        try:
            if lab.directory.exists():
                lab.remove() if getattr(request.node, "failed", False) else lab.stop()
        except AssertionError as error:
            problems.append(str(error))
    for call in start.after:
        call()
    assert not problems, "\n".join(problems)
