"""What the web process may still do, as the kernel tells it. tests/unit/allocator/test_confine.c tries it from inside."""

import ctypes
import os
import pathlib
import re

import requests

from lab import CRD, wait_until

LANDLOCK_CREATE_RULESET, LANDLOCK_VERSION = 444, 1
SECCOMP_FILTER = "2"


def status_of(pid):
    lines = pathlib.Path("/proc/%d/status" % pid).read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def landlock_version():
    libc = ctypes.CDLL(None, use_errno=True)
    return max(0, libc.syscall(LANDLOCK_CREATE_RULESET, None, 0, LANDLOCK_VERSION))


def seccomp_here():
    return os.path.exists("/proc/sys/kernel/seccomp/actions_avail")


def web_of(lab):
    (web,) = lab.role("web")
    return web


def test_nothing_is_left_of_roots_rights(lab):
    status = status_of(web_of(lab).pid)
    assert status["NoNewPrivs"] == "1"
    for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status[kind], 16) == 0, (kind, status[kind])
    if os.geteuid() == 0:
        assert "0" not in status["Uid"].split() and "0" not in status["Gid"].split()
        assert status["Groups"].split() in ([], status["Gid"].split()[:1])
        assert int(status["CapBnd"], 16) == 0
        # memory that holds secrets: its files in /proc are root's, not its own user's
        assert os.stat("/proc/%d/environ" % web_of(lab).pid).st_uid == 0
    if seccomp_here():
        assert status["Seccomp"] == SECCOMP_FILTER
    limits = pathlib.Path("/proc/%d/limits" % web_of(lab).pid)
    if os.access(limits, os.R_OK):
        assert re.search(r"^Max core file size +0 +0 ", limits.read_text(), re.M)


def test_the_log_says_what_is_in_force_and_what_is_not(lab):
    said = re.search(r"confined: (.*)", lab.log()).group(1)
    missing = re.search(r"cannot confine the web process by: (.*)", lab.log())
    for word, here in (("no new rights", True), ("no capabilities", True), ("hidden memory", True),
                       ("landlock", landlock_version() > 0), ("seccomp", seccomp_here())):
        assert (word in said) == here, (word, said)
        assert (word in (missing.group(1) if missing else "")) != here, (word, missing)


def test_it_holds_no_file_and_no_program(lab):
    """Only sockets, pipes, the kernel's own objects and standard output: nothing that leads to a file of the state."""
    lab.get("/readyz")
    web = web_of(lab)
    children = pathlib.Path("/proc/%d/task/%d/children" % (web.pid, web.pid))
    if children.exists():
        assert children.read_text().split() == []
    if os.geteuid() != 0:
        return
    for link in pathlib.Path("/proc/%d/fd" % web.pid).iterdir():
        target = os.readlink(link)
        assert re.match(r"(socket|pipe|anon_inode):", target) or target in ("/dev/null", str(lab.output)), target
    assert os.readlink("/proc/%d/cwd" % web.pid) == "/"


def test_a_new_one_is_confined_as_the_first_was(new_lab):
    lab = new_lab()
    old = web_of(lab)
    lab.kill("web")

    def another():
        found = [web for web in lab.role("web") if web.pid != old.pid]
        try:
            return found and lab.get("/readyz").status_code == 200 and found[0]
        except requests.RequestException:  # it does not listen yet
            return None

    status = status_of(wait_until(another, 60).pid)
    assert status["NoNewPrivs"] == "1" and int(status["CapEff"], 16) == 0
    if seccomp_here():
        assert status["Seccomp"] == SECCOMP_FILTER


def test_secrets_of_the_environment_do_not_reach_it(new_lab):
    lab = new_lab(environment={
        "AWS_SECRET_ACCESS_KEY": "planted-aws-key", "LABLINK_SECURITY_ACCESS_CODE": "planted-code", "EDITOR": "planted-editor"})
    web = web_of(lab)
    if os.geteuid() == 0:
        environ = pathlib.Path("/proc/%d/environ" % web.pid).read_text()
        assert "planted" not in environ
    assert "planted" not in web.command
    refused = lab.post("/api/request_vm", json={"email": "a@b.c", "crd_command": CRD}, headers={"Accept": "application/json"})
    assert refused.status_code == 403 and "planted" not in refused.text
