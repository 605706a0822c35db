"""What the lab stands on goes away: names cannot be looked up, the state directory is read-only or its disk is full. A
sentence says so, nothing is half written, and when it is back the lab goes on."""

import contextlib
import os
import subprocess
import time

import pytest

from lab import PATIENCE, wait_until
from load import Load, fill_disk, until_answered
from postgres import Cluster, Proxy, url
from workshop import JSON, claim, running

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts file systems")


def mount(*words):
    subprocess.run(["mount", *words], check=True)


@pytest.fixture
def cluster(new_lab):
    cluster = Cluster()
    new_lab.database = cluster.connection
    new_lab.after.append(cluster.remove)
    yield cluster


def ends_with(lab, *words):
    """A start that fails: exit status 1 and one sentence; how long it takes is not the point."""
    lab.start(wait=False)
    assert lab.wait_exit() == 1, lab.log()
    for word in words:
        assert word in lab.log(), lab.log()
    assert not lab.role("web")


# --- names ---------------------------------------------------------------------------------------------------------------


def test_a_name_that_nobody_knows(new_lab):
    lab = new_lab(wait=None, name="name", config={"db": {"url": "postgresql://lablink@no-such-host.invalid:5432/lab"}})
    lab.start(wait=False)
    wait_until(lambda: "no-such-host.invalid" in lab.log(), 60, lambda: lab.log())
    assert "trying for a minute" in lab.log() and lab.process.poll() is None
    lab.process.terminate()
    lab.wait_exit()


def test_names_go_while_it_runs(new_lab, cluster):
    """The database is known by a name of /etc/hosts, as this lab alone sees that file; then the name goes."""
    proxy = Proxy(cluster.port)
    new_lab.after.append(proxy.close)
    lab = new_lab(wait=None, name="dns", config={"db": {"url": url(proxy.port).replace("127.0.0.1", "db.lablink-test.invalid")}})
    hosts = lab.directory / "hosts"
    known = "127.0.0.1 localhost\n127.0.0.1 db.lablink-test.invalid\n"
    hosts.write_text(known)
    hosts.chmod(0o644)
    plain = lab.command_line
    lab.command_line = lambda: ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(hosts), *plain()]
    lab.start()
    Load(lab, "before").run().check()
    hosts.write_text("127.0.0.1 localhost\n")
    proxy.cut_all()

    def refused():
        answer = lab.get("/readyz")
        return answer.status_code == 503 and "db.lablink-test.invalid" in answer.json()["database"]["hint"]

    wait_until(refused, 60, lambda: lab.get("/readyz").text)
    answer = claim(lab, 50)
    assert answer.status_code == 503 and answer.headers["Retry-After"]
    assert lab.get("/healthz").status_code == 200
    hosts.write_text(known)
    wait_until(lambda: lab.get("/readyz").status_code == 200, 60, lambda: lab.get("/readyz").text)
    Load(lab, "after").run().check()


# --- the state directory -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def read_only(lab):
    """The state directory as a file system that takes no writes; `thaw` makes it writable again."""
    place = str(lab.state)
    mount("--bind", place, place)
    mount("-o", "remount,ro,bind", place)
    try:
        yield lambda: mount("-o", "remount,rw,bind", place)
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def test_state_directory_read_only_at_start(new_lab):
    lab = new_lab(wait=None, name="ro")
    lab.state.mkdir()
    with read_only(lab):
        ends_with(lab, "Read-only file system", str(lab.state))
    lab.start()  # and now it can
    Load(lab, "after").run().check()
    lab.interrupt()
    before = sorted(str(path) for path in lab.state.iterdir())
    with read_only(lab):
        ends_with(lab, "Read-only file system")
    assert before == sorted(str(path) for path in lab.state.iterdir())
    lab.start()
    assert len(lab.vms()) == 9


def test_state_directory_read_only_while_it_runs(workshop, cluster):
    """With its database elsewhere the lab goes on giving seats; a launch says why it cannot; a later one can."""
    lab = workshop(name="roruns", db={"url": url(cluster.port)})
    lab.launch(1)
    running(lab, 1)
    assert claim(lab, 1).status_code == 200
    subprocess.run(["mount", "--make-private", "--bind", str(lab.directory), str(lab.directory)], check=True)
    try:
        mount("-o", "remount,ro,bind", str(lab.directory))
        Load(lab, "meanwhile").run().check()
        operation = lab.launch(1, wait=False)
        ended = lab.wait_operation(operation["id"], states=("failed", "interrupted"))
        assert ended["error"], ended
        mount("-o", "remount,rw,bind", str(lab.directory))
    finally:
        subprocess.run(["umount", "-l", str(lab.directory)], check=True)
    lab.launch(1)
    agree = lambda: sorted(vm["hostname"] for vm in lab.vms() if vm["launched"]) == sorted(lab.vm_names_on_disk())
    wait_until(agree, 120, lambda: repr((lab.vms(), lab.vm_names_on_disk())))
    assert lab.vm_names_on_disk()
    lab.destroy()


def test_disk_full_at_start(new_lab):
    """No room for a database: a sentence, and once there is room the same directory will do."""
    lab = new_lab(wait=None, name="small")
    lab.state.mkdir()
    mount("-t", "tmpfs", "-o", "size=8m,mode=0711", "lablink-test", str(lab.state))
    try:
        ends_with(lab, "No space left on device")
        mount("-o", "remount,size=300m", str(lab.state))
        lab.start()
        Load(lab, "after").run().check()
        assert lab.interrupt() == 0
    finally:
        lab.kill_all()
        subprocess.run(["umount", "-l", str(lab.state)], check=True)


def test_disk_full_in_a_launch(new_lab, workshop, cluster):
    """The disk of the VMs fills up: the launch fails with a sentence, rows and machines agree, and there is a way on."""
    lab = workshop(name="fulldisk", db={"url": url(cluster.port)})
    lab.interrupt()
    keep = {path.name: path.read_bytes() for path in lab.state.iterdir() if path.is_file()}
    mount("-t", "tmpfs", "-o", "size=64m,mode=0711", "lablink-test", str(lab.state))
    try:
        for name, content in keep.items():
            (lab.state / name).write_bytes(content)
        lab.start()
        lab.launch(1)
        running(lab, 1)
        assert claim(lab, 1).status_code == 200
        fill_disk(lab.state / "filler")
        Load(lab, "meanwhile").run().check()
        operation = lab.launch(2, wait=False)
        ended = lab.wait_operation(operation["id"], states=("failed",))
        assert "No space left on device" in ended["error"], ended
        (lab.state / "filler").unlink()
        until_answered(lambda: lab.post("/api/launch", json={"num_vms": 1}, admin=True, headers=JSON), good=(202,))
        agree = lambda: sorted(vm["hostname"] for vm in lab.vms() if vm["launched"]) == sorted(lab.vm_names_on_disk())
        wait_until(lambda: len(lab.vm_names_on_disk()) >= 2 and agree(), 120, lambda: repr((lab.vms(), lab.vm_names_on_disk())))
        time.sleep(0.2)
        wait_until(lambda: lab.destroy(), PATIENCE)
        assert not lab.vm_names_on_disk()
        assert lab.interrupt() == 0
    finally:
        lab.kill_all()
        subprocess.run(["umount", "-l", str(lab.state)], check=True)
