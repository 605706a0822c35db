"""How fast participants' files come, beside plain rsync and zip of the same tree in the same run, and what the allocator
needs meanwhile. The VM is an sshd on loopback (tests/e2e/sshd.py)."""

import os
import pathlib
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "e2e")]

from sshd import SshLab  # noqa: E402

FILES = 64


def fill(home, megabytes):
    """Files as labels are: half of each is noise, half packs well."""
    for number in range(FILES):
        path = home / "Desktop" / ("session %d" % (number % 8)) / ("labels %d.slp" % number)
        path.parent.mkdir(exist_ok=True)
        with open(path, "wb") as stream:
            for _ in range(max(1, megabytes // FILES)):
                stream.write(os.urandom(500_000) + b"label " * 83_334)
    return sum(path.stat().st_size for path in home.rglob("*.slp"))


def plainly(lab, vm):
    """Seconds of rsync and zip as a person would type them."""
    aside = lab.directory / "plain"
    ssh = "ssh -p %d -i %s -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=%s" % (vm.port, lab.key, lab.directory / "plain-hosts")
    started = time.monotonic()
    subprocess.run(["rsync", "-a", "-e", ssh, "root@127.0.0.1:%s/" % vm.home, str(aside)], check=True)
    subprocess.run(["zip", "-q", "-r", str(lab.directory / "plain.zip"), "."], cwd=aside, check=True)
    return time.monotonic() - started


class Peak(threading.Thread):
    """The most memory that a process takes while it runs."""

    def __init__(self, process):
        super().__init__(daemon=True)
        self.process, self.kb, self.over = process, 0, threading.Event()

    def run(self):
        while not self.over.wait(0.05):
            self.kb = max(self.kb, self.resident_kb())

    def resident_kb(self):
        with open("/proc/%d/status" % self.process.pid) as stream:
            return next(int(line.split()[1]) for line in stream if line.startswith("VmRSS:"))

    def end(self):
        self.over.set()
        self.join()
        return self.kb / 1024


def collecting(megabytes):
    with SshLab(1, name="bench-collect", vm_limit="64G") as lab:
        vm = lab.machines[0]
        size = fill(vm.home, megabytes)
        vm.start(lab.public_key)
        lab.launch_all()
        plain = plainly(lab, vm)
        peak = Peak(lab.role("web")[0])
        peak.start()
        started = time.monotonic()
        with lab.session() as session, session.get(lab.url + "/api/scp-client", auth=("admin", lab.password), stream=True, timeout=3600) as answer:
            assert answer.status_code == 200, answer.text
            received = sum(len(block) for block in answer.iter_content(1 << 20))
        ours = time.monotonic() - started
        memory = peak.end()
        assert received > size, "the archive is not whole"
    return [
        {"what": "collect and download, %d MB" % (size // 1_000_000), "value": size / ours / 1e6, "unit": "MB/s"},
        {"what": "rsync and zip of the same tree", "value": size / plain / 1e6, "unit": "MB/s"},
        {"what": "collecting beside rsync and zip", "value": plain / ours, "unit": "times", "least": 1},
        {"what": "web process while collecting (RSS)", "value": memory, "unit": "MB", "below": 40},
    ]
