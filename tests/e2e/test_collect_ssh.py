"""Participants' files of VMs that are reached by ssh: many at once, some down, some hung, some hostile."""

import hashlib
import io
import json
import os
import pathlib
import re
import subprocess
import zipfile

import pytest

from lab import wait_until
from sshd import SshLab

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="sshd needs root")
QUIET = "10m"  # longer than any machine is busy: what hangs is ended by the test


def opened(content):
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert archive.testzip() is None
    return archive


def manifest(archive, status="collected"):
    return [row for row in json.loads(archive.read("manifest.json"))["files"] if row["status"] == status]


def check_hashes(archive):
    for row in manifest(archive):
        data = archive.read(row["file"])
        assert len(data) == row["size"] and hashlib.sha256(data).hexdigest() == row["sha256"], row


def test_twenty_machines(tmp_path):
    lab = SshLab(20, quiet=QUIET)
    with lab:
        for vm in lab.machines:
            for number in range(49):
                path = vm.home / "Desktop" / ("session %d" % (number % 5)) / ("é %d.slp" % number)
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(os.urandom(2000) + str(number).encode())
            (vm.home / "Desktop" / "-x 'y' \"z\" $(id)\nnewline.slp").write_bytes(b"odd")
            (vm.home / "Desktop/models").mkdir(), (vm.home / "Desktop/models/no.slp").write_bytes(b"no")
        for vm in lab.machines[:18]:
            vm.start(lab.public_key)
        down, hung = lab.machines[18:], lab.machines[17]
        hung.override("exec sleep 100000\n")
        lab.launch_all()
        answer = lab.post("/api/collections", admin=True, json={}, headers={"Accept": "application/json"}).json()
        collection = answer["collection"]

        def states():
            vms = lab.get("/api/collections/%d" % collection, admin=True).json()["vms"]
            return sorted(vm["state"] for vm in vms), {vm["hostname"]: vm["state"] for vm in vms}

        wait_until(lambda: states()[0] == ["done"] * 17 + ["failed"] * 2 + ["working"], 240, states)
        assert states()[1][hung.hostname] == "working", "it holds nobody"
        hung.stop()
        operation = lab.wait_operation(answer["operation"]["id"])
        failed = {one["vm"]: one["reason"] for one in operation["result"]["failed"]}
        assert set(failed) == {vm.hostname for vm in down} | {hung.hostname}, failed
        assert all("cannot be reached" in failed[vm.hostname] for vm in down + [hung]), failed
        assert operation["result"]["files"] == 17 * 50
        content = lab.archive(collection)
        archive = opened(content)
        check_hashes(archive)
        assert {row["vm"] for row in manifest(archive, "failed")} == set(failed)
        assert len(manifest(archive)) == 17 * 50
        for vm in lab.machines[:17]:
            for path in vm.home.rglob("*.slp"):
                if "models" not in path.parts:
                    assert archive.read("%s/%s" % (vm.hostname, path.relative_to(vm.home))) == path.read_bytes()
            assert not list((vm.directory / "home/extracted_files").rglob("*.slp")), "the VM's stage is cleared"
        (tmp_path / "all.zip").write_bytes(content)
        subprocess.run(["unzip", "-tq", str(tmp_path / "all.zip")], check=True, stdout=subprocess.DEVNULL)

        hung.override(None)
        for vm in down + [hung]:
            vm.start(lab.public_key)
        for vm in lab.machines:
            vm.forget_commands()
        again, operation = lab.collect()
        assert again == collection and operation["result"]["failed"] == []
        assert operation["result"]["new_files"] == 3 * 50 and operation["result"]["files"] == 20 * 50
        for vm in lab.machines[:17]:
            assert vm.commands() and not any(word.startswith("rsync") for word in vm.commands()), "only what was missing"
        check_hashes(opened(lab.archive(collection)))


# The first transfer stops in the middle of the file until somebody ends it; what later ones send is counted.
STALL = r"""
case "$SSH_ORIGINAL_COMMAND" in rsync*)
        n=$(ls @VM@/stalled.* 2>/dev/null | wc -l)
        if [ "$n" -lt 2 ]; then
                sh -c "$SSH_ORIGINAL_COMMAND" | { python3 -c "
import os
left = 8000000
while left > 0 and (block := os.read(0, 65536)):
    left -= len(block)
    while block:
        block = block[os.write(1, block):]
"; touch @VM@/stalled.$n; sleep 100000; }
                exit 0
        fi
        sh -c "$SSH_ORIGINAL_COMMAND" | tee @VM@/sent.last
        exit 0 ;;
esac
"""


def client_processes(lab, program):
    return [process for process in lab.processes() if process.program == program and str(lab.state) in process.command]


def test_killed_half_way():
    """kill -9 of an rsync, of an ssh, and of the whole allocator in the middle of a file: nothing is sent twice whole."""
    data = os.urandom(20_000_000)
    lab = SshLab(1, quiet="10m")
    with lab:
        vm = lab.machines[0]
        (vm.home / "Desktop/long.slp").write_bytes(data)
        (vm.home / "Desktop/short.slp").write_bytes(b"short")
        vm.override(STALL)
        vm.start(lab.public_key)
        lab.launch_all()
        answer = lab.post("/api/collections", admin=True, json={}, headers={"Accept": "application/json"}).json()
        tree = lab.state / "collections" / str(answer["collection"]) / "work" / vm.hostname / "tree"
        arrived = lambda: sum(path.stat().st_size for path in tree.rglob("long.slp"))
        for number, program in enumerate(("rsync", "ssh")):
            wait_until(lambda: (vm.directory / ("stalled.%d" % number)).exists(), 90)
            wait_until(lambda: arrived() > 4_000_000, 90)
            if program == "rsync":
                lab.kill("supervisor")
                lab.start()
            for process in client_processes(lab, program):
                process.kill()
        operation = lab.wait_operation(answer["operation"]["id"])
        assert operation["result"]["files"] == 2
        archive = opened(lab.archive(answer["collection"]))
        assert archive.read("%s/Desktop/long.slp" % vm.hostname) == data
        assert (vm.directory / "sent.last").stat().st_size < len(data) * 3 // 4, "the rest, not all of it again"


def test_hung():
    """A search and a transfer that never end are given up, and with them all that was started for them."""
    lab = SshLab(2, quiet="2s")
    with lab:
        for vm, script in zip(lab.machines, ("sleep 100000\n", "case \"$SSH_ORIGINAL_COMMAND\" in rsync*) sleep 100000 ;; esac\n")):
            (vm.home / "Desktop/a.slp").write_bytes(b"a")
            vm.override(script)
            vm.start(lab.public_key)
        lab.launch_all()
        _, operation = lab.collect(states=("failed",))
        assert "none of 2 VMs" in operation["error"]
        assert all(one["reason"] for one in operation["result"]["failed"])
        wait_until(lambda: not client_processes(lab, "ssh") and not client_processes(lab, "rsync"), 60)


def test_host_keys():
    lab = SshLab(2, quiet=QUIET, state="it's \"the\" 100% state")
    with lab:
        for vm in lab.machines:
            (vm.home / "Desktop/a.slp").write_bytes(b"first")
            vm.start(lab.public_key)
        lab.launch_all()
        lab.collect()
        known = (lab.hosts / lab.machines[0].hostname).read_text()
        key = (lab.machines[0].directory / "host_key.pub").read_text().split()[1]
        assert key in known, "the first contact is recorded"
        impostor = lab.machines[0]
        impostor.stop()
        for name in ("host_key", "host_key.pub"):
            (impostor.directory / name).unlink()
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(impostor.directory / "host_key")], check=True)
        impostor.start(lab.public_key)
        (impostor.home / "Desktop/a.slp").write_bytes(b"second")
        collection, operation = lab.collect()
        assert [one["vm"] for one in operation["result"]["failed"]] == [impostor.hostname]
        assert "host key" in operation["result"]["failed"][0]["reason"]
        assert opened(lab.archive(collection)).read("%s/Desktop/a.slp" % impostor.hostname) == b"first", "what had come is kept"
        assert (lab.hosts / impostor.hostname).read_text() == known


# One way of lying a machine; what is said of it, or None when it is taken for what it is.
EVIL_FIND = "case \"$SSH_ORIGINAL_COMMAND\" in *find*) %s; exit 0 ;; esac\n"
ENTRY = r"printf '%s 1700000000.5 644 %s\0'"
LIARS = {
    "paths": EVIL_FIND % "; ".join(
        r"printf '3 1700000000.0 644 %s\0' '{}'".format(path) for path in
        ("../up.slp", "/etc/up.slp", "a/../../up.slp", "./a.slp", "a//b.slp", "", "x.txt", "ok.slp", "ok.slp")),
    "garbage": EVIL_FIND % r"head -c 3000000 /dev/urandom",
    "endless": EVIL_FIND % r"i=0; while :; do i=$((i+1)); printf '1 1.0 644 f%s.slp\0' $i; done",
    "no-end": EVIL_FIND % r"yes | tr -d '\n'",
    "huge": EVIL_FIND % r"printf '1099511627776 1.0 644 huge.slp\0'",
    "banner": "head -c 20000000 /dev/urandom >&2\n",
    "rsync-script": "case \"$SSH_ORIGINAL_COMMAND\" in rsync*) head -c 5000000 /dev/urandom; exit 0 ;; esac\n",
    "rsync-silent": "case \"$SSH_ORIGINAL_COMMAND\" in rsync*) exit 0 ;; esac\n",
    # a sender that has more, and other names, than was asked for
    "rsync-other": "case \"$SSH_ORIGINAL_COMMAND\" in rsync*) cd @VM@/evil; rsync --server --sender -vlogDtprRe.iLsfxCIvu . . ; exit 0 ;; esac\n",
    # ten bytes were announced, a gigabyte comes
    "rsync-more": "case \"$SSH_ORIGINAL_COMMAND\" in rsync*) truncate -s 1G extracted_files/Desktop/a.slp extracted_files/a.slp; ;; esac\n",
    "docker-dies": "case \"$SSH_ORIGINAL_COMMAND\" in *find*) ;; *docker*) kill -9 $$ ;; esac\n",
}


def test_liars(tmp_path):
    """None of them leaves its own directory, fills the disk, or stops the machine that is honest."""
    lab = SshLab(len(LIARS) + 2, quiet=QUIET, files_max=300, vm_limit="40M", side_by_side=16)
    sentinel = tmp_path / "sentinel"
    sentinel.write_text("root's own")
    with lab:
        honest, links = lab.machines[-1], lab.machines[-2]
        for vm, (name, script) in zip(lab.machines, LIARS.items()):
            (vm.home / "Desktop/a.slp").write_bytes(b"ten bytes.")
            (vm.home / "Desktop/ok.slp").write_bytes(b"ok!")
            evil = vm.directory / "evil"
            evil.mkdir()
            (evil / "unasked.slp").write_bytes(b"unasked"), (evil / "a.slp").symlink_to(sentinel)
            vm.override(script)
        (honest.home / "Desktop/fine.slp").write_bytes(b"fine")
        desktop = links.home / "Desktop"
        (desktop / "link.slp").symlink_to(sentinel), (desktop / "dir").symlink_to(tmp_path)
        os.mkfifo(desktop / "pipe.slp"), (desktop / "real.slp").write_bytes(b"real")
        with open(desktop / "sparse.slp", "wb") as stream:
            stream.truncate(1 << 40)
        for vm in lab.machines:
            vm.start(lab.public_key)
        lab.launch_all()
        before = set(os.listdir("/tmp")) | set(os.listdir("/root"))
        collection, operation = lab.collect()
        failed = {one["vm"]: one["reason"] for one in operation["result"]["failed"]}
        archive = opened(lab.archive(collection))
        check_hashes(archive)
        got = {}
        for row in manifest(archive):
            got.setdefault(row["vm"], {})[row["path"]] = archive.read(row["file"])
        of = {name: vm.hostname for name, vm in zip(LIARS, lab.machines)}
        assert got[honest.hostname] == {"Desktop/fine.slp": b"fine"}
        assert got[links.hostname] == {"Desktop/real.slp": b"real"}
        assert got[of["paths"]] == {"Desktop/ok.slp": b"ok!"}, failed
        for name in ("garbage", "endless", "no-end", "huge", "rsync-silent"):
            assert of[name] not in got, (name, got.get(of[name]))
        for name in ("rsync-script", "rsync-other", "rsync-more"):
            assert set(got.get(of[name], {})) <= {"Desktop/a.slp", "Desktop/ok.slp"}, (name, failed)
        assert all(b"root's own" not in data for files in got.values() for data in files.values())
        left = [row["reason"] for row in manifest(archive, "left out") if row["vm"] in (of["huge"], links.hostname)]
        assert len(left) == 2 and all("vm_limit" in reason for reason in left)
        assert sentinel.read_text() == "root's own"
        new = (set(os.listdir("/tmp")) | set(os.listdir("/root"))) - before
        assert not [name for name in new if "slp" in name or "unasked" in name], new
        used = int(subprocess.run(["du", "-sk", str(lab.state / "collections")], capture_output=True, text=True).stdout.split()[0])
        assert used < len(lab.machines) * 41 * 1024
        for reason in failed.values():
            assert len(reason) < 1000 and not re.search(r"[\x00-\x1f]", reason), reason
