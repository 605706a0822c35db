"""Whole workshops: sandboxes, the real agent in them, and a recording stand-in for Chrome Remote Desktop's start-host.

Google's program and its servers cannot be had in a test. The stand-in is put into each VM by the custom start-up script,
at a place on the VM's PATH; it writes down its arguments, what it reads, and when.
"""

import functools
import http.server
import os
import socket
import subprocess
import sys
import pathlib
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))

from cloud import Cloud  # noqa: E402

SCRIPT = """#!/bin/sh
set -e
echo "custom script runs as $(id -u)"
mkdir -p /opt/bin
cp /usr/bin/sleep /opt/bin/sleap
cat >/opt/bin/start-host <<'STAND_IN'
#!/bin/bash
{
        printf 'at=%s\\n' "$(date +%s.%N)"
        printf 'arg=%s\\n' "$@"
        # the PIN and the PIN again; the real one reads no more either
        for _ in 1 2; do IFS= read -r line && printf 'in=%s\\n' "$line"; done
        printf 'end\\n'
} >>/var/log/start-host.record
STAND_IN
chmod 755 /opt/bin/start-host
touch /var/log/start-host.record  # the agent runs start-host as the participant
chmod 666 /var/log/start-host.record
"""


def outside_address():
    """An address of this machine that is not loopback, or None: what a VM may reach."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return probe.getsockname()[0]
        except OSError:
            return None


@pytest.fixture
def cloud(tmp_path):
    """A module whose machines are files; what it was told to wait for is let go at the end."""
    made = Cloud(tmp_path)
    yield made
    made.let_go()


@pytest.fixture(scope="session")
def repository(tmp_path_factory):
    """The URL of a repository with one file, on this machine's outside address; None where it has none."""
    address = outside_address()
    if not address or address.startswith("127."):
        yield None
        return
    place = tmp_path_factory.mktemp("repository")
    git = lambda *words, at=place: subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *words], cwd=at, check=True, capture_output=True)
    (place / "work").mkdir()
    git("init", "-q", "-b", "main", at=place / "work")
    (place / "work/hello.txt").write_text("hello, participant\n")
    git("add", ".", at=place / "work"), git("commit", "-q", "-m", "one", at=place / "work")
    git("clone", "-q", "--bare", "work", "tutorial.git")
    git("update-server-info", at=place / "tutorial.git")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer((address, 0), functools.partial(Quiet, directory=str(place)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield "http://%s:%d/tutorial.git" % (address, server.server_port)
    server.shutdown()


@pytest.fixture
def workshop(new_lab, tmp_path, repository):
    """Starts a lab whose VMs have the stand-in and a program to watch, called sleap."""
    if os.geteuid() != 0:
        pytest.fail("sandboxes need root")

    def start(name="workshop", **config):
        script = tmp_path / "custom-startup.sh"
        script.write_text(SCRIPT + config.pop("more_script", ""))
        script.chmod(0o755)
        merged = {
            "machine": {"software": "sleap", "repository": repository or ""},
            "startup_script": {"enabled": True, "path": str(script), "on_error": "fail"},
            "local": {"software_command": "exec /opt/bin/sleap 86400"},
        }
        for section, keys in config.items():
            merged.setdefault(section, {}).update(keys)
        return new_lab(config=merged, name=name)

    return start
