"""A participant is root in their VM and wants out: everything that is not theirs is refused."""

import os
import stat

from lab import wait_until
from workshop import claim, inside, running


def test_hostile_participant(workshop):
    lab = workshop(name="hostile")
    lab.launch(2)
    running(lab, 2)
    mine, other = "lablink-vm-prod-1", "lablink-vm-prod-2"
    shell = lambda text, root=True: inside(lab, mine, "sh", "-c", text, root=root, check=False)

    # a setuid file made in a VM is nobody's outside
    assert shell("cp /usr/bin/id /home/client/suid && chown 0:0 /home/client/suid && chmod 4755 /home/client/suid").returncode == 0
    found = [os.path.join(folder, "suid") for folder, _, names in os.walk(lab.state / "vms") if "suid" in names]
    assert len(found) == 1
    status = os.lstat(found[0])
    assert status.st_mode & stat.S_ISUID and lab.uid_base <= status.st_uid < lab.uid_base + 64 * 65536

    # the host's loopback, by its own name and by the network's gateway
    for address in ("127.0.0.1", "10.0.2.2", "localhost"):
        done = inside(
            lab, mine, "bash", "-c", "timeout 5 bash -c 'exec 3<>/dev/tcp/%s/%d'" % (address, lab.port), root=True, check=False)
        assert done.returncode != 0, "%s is reachable" % address
    assert inside(lab, mine, "bash", "-c", "cat /proc/net/unix | grep -c '@'", root=True, check=False).stdout.strip() in ("", "0")

    # the host's files, other VMs' homes and processes
    for path in ("/etc/shadow", "/root/.ssh", str(lab.state), str(lab.state / "admin-password"), str(lab.directory), "/var/lib/postgresql",
                 "/dev/sda", "/dev/mem", "/dev/kmsg", "/proc/kcore"):
        done = inside(lab, mine, "cat", path, root=True, check=False)
        assert done.returncode != 0 or (path == "/etc/shadow" and done.stdout != open("/etc/shadow").read()), path
    processes = shell("ps ax 2>/dev/null || cat /proc/[0-9]*/cmdline").stdout
    assert other not in processes and "postgres" not in processes and "lablink-allocator" not in processes
    assert shell("kill -0 $(( $(ls /proc | grep -E '^[0-9]+$' | sort -n | tail -1) + 5000 ))").returncode != 0

    # kernel settings, mounts, modules
    assert shell("echo 1 >/proc/sys/kernel/panic").returncode != 0
    assert shell("echo c >/proc/sysrq-trigger").returncode != 0
    assert shell("mknod /tmp/disk b 8 0 && cat /tmp/disk").returncode != 0
    assert shell("date -s '2001-01-01'").returncode != 0

    # the allocator's socket with another VM's name, and with none
    before = lab.vm(other)["status"]
    done = shell("VM_NAME=%s lablink-client report status error" % other)
    assert done.returncode != 0 and lab.vm(other)["status"] == before
    done = shell("LABLINK_CLIENT_TOKEN_FILE=/dev/null lablink-client report status error")
    assert done.returncode != 0 and lab.vm(mine)["status"] == "running"
    if shell("command -v curl").returncode == 0:
        socket = "curl -s -o /dev/null -w '%{http_code}' --unix-socket /run/lablink/allocator.sock http://x"
        assert shell(socket + "/admin").stdout == "403"
        assert shell(socket + "/destroy -X POST").stdout == "403"

    # neither can replace the socket that all VMs share, nor can the participant read the VM's secret
    assert shell("rm -f /run/lablink/allocator.sock").returncode != 0
    assert shell("cat \"$LABLINK_CLIENT_TOKEN_FILE\" /run/lablink-token /etc/lablink/token", root=False).returncode != 0

    # a fork bomb ends in this VM
    shell("ulimit -u unlimited 2>/dev/null; for i in $(seq 2000); do sleep 60 & done; wait -n; true", root=False)
    assert claim(lab, 1).status_code == 200
    assert lab.get("/healthz").status_code == 200
    inside(lab, mine, "pkill", "-9", "-x", "sleep", root=True, check=False)
    wait_until(lambda: lab.get("/api/vm-status/" + other).json()["status"] in ("running", "assigned"), 60)
