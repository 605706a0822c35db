"""From the launch to the last trace: one workshop as people hold it."""

import time

from lab import CRD, CODE, wait_until
from workshop import JSON, claim, claim_all, code_of, inside, records, running


def test_whole_workshop(workshop, repository):
    lab = workshop()
    ended = lab.launch(3)
    assert ended["state"] == "done" and ended["progress"] == {"done": 3, "total": 3, "text": None}
    vms = running(lab, 3)
    assert [vm["hostname"] for vm in vms] == ["lablink-vm-prod-%d" % n for n in (1, 2, 3)]

    def timed():
        for vm in lab.vms():
            assert float(vm["terraform_timing_seconds"] or 0) > 0
            assert vm["metrics"].get("cloud_init_duration_seconds", -1) >= 0  # comes after "running"
            assert vm["metrics"].get("container_startup_duration_seconds", -1) >= 0
            assert float(vm["total_startup_time_seconds"] or 0) > 0
        return True

    wait_until(timed, 60)
    if repository:
        for vm in vms:
            assert inside(lab, vm["hostname"], "cat", "/home/client/Desktop/tutorial/hello.txt") == "hello, participant\n"

    # ten people, three seats
    asked = time.time()
    answers = claim_all(lab, range(10))
    won = {number: answer.json() for number, answer in enumerate(answers) if answer.status_code == 200}
    assert len(won) == 3 and len({seat["hostname"] for seat in won.values()}) == 3
    refused = [answer for answer in answers if answer.status_code != 200]
    assert len(refused) == 7 and all(answer.status_code == 503 and answer.json()["code"] == "no-seat-free" for answer in refused)

    # each VM got exactly its own command and PIN, once, without a shell
    delays = []
    for number, seat in won.items():
        calls = wait_until(lambda: records(lab, seat["hostname"]), 60, "start-host was called")
        assert len(calls) == 1, calls
        assert "--code=" + code_of(number) in calls[0]["args"], calls
        assert calls[0]["input"] == [seat["pin"], seat["pin"]]
        claimed = lab.sql("select extract(epoch from assigned_at)::float8 as at from vms where hostname = %s", seat["hostname"])[0]["at"]
        delays.append(calls[0]["at"] - claimed)
    print("claim to start-host: %s ms" % ", ".join("%.0f" % (1000 * delay) for delay in delays))
    assert max(delays) < 30 and min(delays) > -1 and asked < time.time()

    # the same e-mail keeps its VM, and the same code does not start anything again
    number, seat = next(iter(won.items()))
    again = claim(lab, number).json()
    assert again["hostname"] == seat["hostname"] and again["pin"] == seat["pin"] and again["returning"]
    assert claim(lab, 42, "x@example.org").status_code == 503
    hostile = lab.post("/api/request_vm", json={"email": "p%d@example.org" % number, "crd_command": "start-host --code=x;touch /tmp/pwned"}, headers=JSON)
    assert hostile.status_code == 422
    assert inside(lab, seat["hostname"], "ls", "/tmp/pwned", check=False).returncode != 0
    assert len(records(lab, seat["hostname"])) == 1

    # in use when the software starts, not any more when it ends
    host = seat["hostname"]
    wait_until(lambda: lab.vm(host)["in_use"], 60, "in use")
    inside(lab, host, "pkill", "-x", "sleap", root=True)
    wait_until(lambda: not lab.vm(host)["in_use"], 60, "not in use any more")

    # logs are there, without the code and the PIN
    log = wait_until(lambda: (lambda text: text if "custom script" in text else None)(
        lab.get("/api/vm-logs/" + host, admin=True).json()["logs"]), 60, "log lines")
    assert code_of(number) not in log and seat["pin"] not in log
    assert lab.vm(host)["status"] == "running"
    shown = lab.cli("status").stdout
    assert "3" in shown and lab.cli("vm", "list", "--output", "json").stdout.startswith(("[", "{"))

    # a new code for the same person reaches the VM
    crd = CRD.replace(CODE, "4/0ANew-code_of-the_same-person")
    assert lab.post("/api/request_vm", json={"email": "p%d@example.org" % number, "crd_command": crd}, headers=JSON).json()["generation"] == 2
    wait_until(lambda: len(records(lab, host)) == 2, 60)

    # release: nothing of the old participant is left
    inside(lab, host, "sh", "-c", "echo secret >/home/client/mine")
    answer = lab.post("/api/admin/vms/%s/release" % host, json={"yes": True}, admin=True, headers=JSON)
    assert answer.status_code == 200, answer.text
    wait_until(lambda: lab.get("/api/unassigned_vms_count").json()["count"] == 1, 120, lambda: lab.log()[-3000:])
    assert inside(lab, host, "ls", "/home/client/mine", check=False).returncode != 0
    assert claim(lab, 50).json()["hostname"] == host

    # launch more while people work, then tear down
    seats = lab.sql("select hostname, email from vms where email is not null order by 1")
    lab.cli("launch", "1")
    assert len(lab.vms()) == 4 and lab.sql("select hostname, email from vms where email is not null order by 1") == seats
    assert lab.vm_processes() and lab.cgroups()
    lab.cli("destroy", "--yes")
    assert lab.vms() == [] and not lab.vm_processes()
    assert not lab.vm_names_on_disk() and not lab.mounts() and not lab.cgroups()
    assert lab.post("/api/vm-status", json={"hostname": host, "status": "running"}).status_code in (401, 404)


def test_failing_startup_script(workshop):
    lab = workshop(name="onerror", more_script="echo this fails\nexit 7\n")
    lab.launch(1)
    wait_until(lambda: lab.vms()[0]["status"] == "error", 120)
    wait_until(lambda: "status 7" in lab.get("/api/vm-logs/" + lab.vms()[0]["hostname"], admin=True).text, 60)
    lab.config["startup_script"]["on_error"] = "continue"
    lab.destroy()
    lab.restart()
    lab.launch(1)
    running(lab, 1)


def test_cancel_and_shell(workshop):
    lab = workshop(name="cancel")
    operation = lab.launch(30, wait=False)
    wait_until(lambda: lab.operation(operation["id"])["progress"]["done"] >= 1, 120)
    asked = lab.post("/api/operations/%d/cancel" % operation["id"], json={}, admin=True, headers=JSON)
    assert asked.status_code == 202
    ended = lab.wait_operation(operation["id"], states=("cancelled", "done"))
    assert ended["state"] == "cancelled"
    made = len(lab.vm_names_on_disk())
    assert 1 <= made < 30 and len(lab.vms()) == made
    running(lab, made)
    assert inside(lab, lab.vms()[0]["hostname"], "sh", "-c", "exit 3", check=False).returncode == 3
    assert inside(lab, lab.vms()[0]["hostname"], "cat", stdin="through\n") == "through\n"
