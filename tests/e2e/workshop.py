"""What the tests of whole workshops share."""

import concurrent.futures

from lab import CODE, CRD, wait_until

JSON = {"Accept": "application/json"}


def code_of(number):
    return "4/0A%02dparticipant-code_%02d" % (number, number)


def claim(lab, number, email=None):
    """A claim by participant `number`, whose code names them."""
    crd = CRD.replace(CODE, code_of(number))
    with lab.session() as session:
        return session.post(lab.url + "/api/request_vm", json={"email": email or "p%d@example.org" % number, "crd_command": crd},
                            headers=JSON, timeout=90)


def claim_all(lab, numbers):
    with concurrent.futures.ThreadPoolExecutor(len(numbers)) as pool:
        return list(pool.map(lambda number: claim(lab, number), numbers))


def running(lab, count):
    """Waits until `count` VMs have booted; their rows."""
    def look():
        vms = lab.vms()
        assert [vm["status"] for vm in vms] == ["running"] * count, [(vm["hostname"], vm["status"]) for vm in vms]
        return [vms]

    return wait_until(look, 180, lambda: lab.get("/admin/instances", admin=True, headers=JSON).text[:3000], every=0.2)[0]


def inside(lab, hostname, *command, root=False, check=True, stdin=None):
    """Runs a command in the VM as the participant (or as its root); what it printed."""
    words = ["vm", "exec"] + (["--root"] if root else []) + [hostname, "--", *command]
    done = lab.cli("--config", str(lab.config_file), *words, check=False, stdin=stdin)
    if check:
        assert done.returncode == 0, (command, done.returncode, done.stdout, done.stderr)
    return done if not check else done.stdout


def records(lab, hostname):
    """What the stand-in wrote down: [{"at", "args", "input"}], one a finished call."""
    said = inside(lab, hostname, "cat", "/var/log/start-host.record", root=True, check=False).stdout
    calls, now = [], None
    for line in said.splitlines():
        key, _, value = line.partition("=")
        if key == "at":
            now = {"at": float(value), "args": [], "input": []}
        elif key == "arg":
            now["args"].append(value)
        elif key == "in":
            now["input"].append(value)
        elif key == "end":
            calls.append(now)
    return calls


def inits(lab):
    """The first process of each VM, known by its number and start time."""
    return {process.pid: process.started for process in lab.vm_processes() if "lablink-boot" in process.command or process.program == "bwrap"}
