"""Collecting by ssh: how much is taken of a VM, what only its owner may read, and a home that is not searched whole."""

import os

import pytest

from sshd import SshLab
from test_collect import check_hashes, opened, rows

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="sshd needs root")

SHUT = """case "$SSH_ORIGINAL_COMMAND" in *"docker exec"*)
        /bin/sh -c "$SSH_ORIGINAL_COMMAND"
        echo "find: '/home/client/Desktop/shut': Permission denied" >&2
        exit 1 ;;
esac
"""
SUDO = """#!/bin/sh
[ "$1" = -n ] && shift
printf '%s\\n' "$*" >>@VM@/sudo.log
exec "$@"
"""


def test_what_one_machine_gives():
    lab = SshLab(2, vm_limit="10M")
    with lab:
        large, shut = lab.machines
        for number in range(4):
            (large.home / "Desktop" / ("%d.slp" % number)).write_bytes(os.urandom(4_000_000))
        (shut.home / "Desktop/seen.slp").write_bytes(b"seen")
        shut.override(SHUT)
        sudo = large.directory / "bin/sudo"
        sudo.write_text(SUDO.replace("@VM@", str(large.directory)))
        for vm in lab.machines:
            vm.start(lab.public_key)
        lab.launch_all()
        collection, operation = lab.collect()
        assert operation["result"]["failed"] == [], "a folder that is shut fails nothing else"
        archive = opened(lab.archive(collection))
        check_hashes(archive)
        paths = [(row["vm"], row["path"]) for row in rows(archive)]
        assert paths.count((shut.hostname, "Desktop/seen.slp")) == 1
        assert len([vm for vm, _ in paths if vm == large.hostname]) == 2, "not a byte above the limit"
        left = [(row["vm"], row["reason"]) for row in rows(archive, "left out")]
        assert len([vm for vm, reason in left if vm == large.hostname and "vm_limit" in reason]) == 2, left
        assert len([vm for vm, reason in left if vm == shut.hostname and "could be searched" in reason]) == 1, left
        assert operation["result"]["left_out"] == len(left) == 3, "the folder counts: it is not saved"
        output = lab.get("/api/operations/%d/output" % operation["id"], admin=True).text
        assert "not everything could be searched" in output and "Permission denied" in output
        # what an interrupted transfer has left was not announced by this one
        with open(lab.state / "collections" / str(collection) / "work" / large.hostname / "left.slp", "wb") as stream:
            stream.truncate(70 << 20)
        tree = lab.state / "collections" / str(collection) / "work" / large.hostname / "tree"
        tree.mkdir()
        os.rename(tree.parent / "left.slp", tree / "left.slp")
        (large.home / "Desktop/new.slp").write_bytes(b"new")
        large.override("case $SSH_ORIGINAL_COMMAND in rsync*) sleep 4 ;; esac\n")
        again, operation = lab.collect()
        assert (again, operation["result"]["failed"], operation["result"]["new_files"]) == (collection, [], 1), operation
        copied = [line for line in (large.directory / "sudo.log").read_text().split("\n") if "docker cp" in line]
        assert len(copied) == 2 and all(line.startswith("xargs -0 ") and "chown -Rh" in line for line in copied), copied
