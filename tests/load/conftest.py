"""Load: few labs, many connections. The long versions run under `make soak`, which sets LABLINK_SOAK=1."""

import os
import pathlib
import resource
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

SOAK = os.environ.get("LABLINK_SOAK") == "1"


@pytest.fixture(autouse=True, scope="session")
def many_files():
    """The client's own connections are files, too."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@pytest.fixture
def soak():
    return SOAK


@pytest.fixture
def say(capsys):
    """Prints a measurement beside the tests' dots, whatever their outcome."""
    def print_line(format, *words):
        with capsys.disabled():
            print("\n    " + format % words, end="", flush=True)

    return print_line


@pytest.fixture
def load_lab(new_lab):
    """A lab of the test's own in which every VM may speak for itself without a secret."""
    def start(**config):
        return new_lab(name="load", config=config, sets=["security.client_auth=open"])

    return start
