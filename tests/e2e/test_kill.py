"""kill -9 of every process, one after the other and all at once: nothing acknowledged is lost, every state has a way out."""

import concurrent.futures
import threading
import time

import psycopg
import pytest

from lab import wait_until
from workshop import claim, inside, records, running


def seats(lab):
    return {row["hostname"]: (row["email"], row["pin"], row["generation"]) for row in lab.vms()}


def seats_or_none(lab):
    """None while the database is down."""
    try:
        return seats(lab)
    except psycopg.OperationalError:
        return None


def vm_processes(lab):
    return {process.pid: process.started for process in lab.vm_processes() if process.program != "lablink-client"}


def works_on(lab, count, number):
    """The lab after a blow: the same VMs, a claim that reaches its VM, no seat twice."""
    before = {email: hostname for hostname, (email, _, _) in wait_until(lambda: seats_or_none(lab), 60).items() if email}
    said = wait_until(lambda: (lambda answer: answer.json() if answer.status_code == 200 else None)(claim(lab, number)), 90)
    assert said["hostname"] not in before.values()
    calls = wait_until(lambda: records(lab, said["hostname"]), 90, "the waiting VM got its assignment")
    assert calls[-1]["input"] == [said["pin"], said["pin"]]
    after = seats(lab)
    assert len(after) == count
    for email, hostname in before.items():
        assert after[hostname][0] == email


def test_each_process(workshop):
    lab = workshop(name="kill")
    lab.launch(6)
    running(lab, 6)
    first = claim(lab, 1).json()
    wait_until(lambda: records(lab, first["hostname"]), 60)
    alive = vm_processes(lab)

    # the web process
    lab.kill("web")
    wait_until(lambda: lab.role("web"), 60)
    works_on(lab, 6, 2)

    # the database
    lab.kill("postgres")
    works_on(lab, 6, 3)

    # the supervisor: its web process goes with it, VMs stay and are adopted
    held = seats(lab)
    lab.kill("supervisor")
    wait_until(lambda: not lab.role("web"), 60, "the web process ends when its supervisor is gone")
    lab.start()
    assert seats(lab) == held
    works_on(lab, 6, 4)
    assert set(alive.items()) <= set(vm_processes(lab).items()), "no VM was restarted by any of this"

    # an agent: it comes back, and does not carry out the same assignment again
    host = first["hostname"]
    victims = [process for process in lab.role("agent")]
    assert len(victims) >= 6
    for victim in victims:
        victim.kill()
    wait_until(lambda: len(lab.role("agent")) >= 6, 60)
    works_on(lab, 6, 5)
    assert len(records(lab, host)) == 1
    inside(lab, host, "true")


def test_runner_in_the_middle_of_a_launch(workshop):
    lab = workshop(name="killlaunch")
    for number, wanted in ((0, 0), (1, 2)):
        operation = lab.launch(8, wait=False)
        wait_until(lambda: lab.operation(operation["id"])["progress"]["done"] >= wanted and lab.role("runner"), 60, every=0.01)
        if number == 0:
            wait_until(lambda: len(lab.vms()) > 0, 60, every=0.01)
        lab.kill("runner")
        ended = lab.wait_operation(operation["id"], states=("interrupted", "done"))
        assert ended["state"] == "interrupted" and ended["error"]
        # every row has its machine and every machine its row
        wait_until(lambda: sorted(vm["hostname"] for vm in lab.vms()) == sorted(lab.vm_names_on_disk()), 120,
                   lambda: "%r %r" % (lab.vms(), lab.vm_names_on_disk()))
        count = len(lab.vms())
        running(lab, count)
    lab.launch(1)
    running(lab, count + 1)


def test_runner_in_the_middle_of_a_destroy(workshop):
    lab = workshop(name="killdestroy")
    lab.launch(6)
    running(lab, 6)
    operation = lab.destroy(wait=False)
    wait_until(lambda: lab.operation(operation["id"])["state"] == "running" and lab.role("runner"), 60, every=0.01)
    wait_until(lambda: lab.operation(operation["id"])["progress"]["done"] >= 1, 60, every=0.01)
    lab.kill("runner")
    lab.wait_operation(operation["id"], states=("interrupted", "done"))
    lab.destroy()
    assert lab.vms() == []
    assert not lab.vm_processes() and not lab.vm_names_on_disk()


def test_a_lock_that_is_free_again_late(workshop):
    """The server has not noticed yet that the runner's old connection is dead, and keeps its lock for a while."""
    lab = workshop(name="latelock")
    key = 0x6C61626C696E6B01
    operation = lab.launch(8, wait=False)
    wait_until(lambda: lab.operation(operation["id"])["state"] == "running" and lab.role("runner"), 60, every=0.01)
    with lab.database() as connection:
        locked = threading.Thread(target=connection.execute, args=("select pg_advisory_lock(%d)" % key,))
        locked.start()
        wait_until(lambda: lab.sql("select 1 from pg_locks where locktype = 'advisory' and not granted"), 60, every=0.01)
        lab.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'lablink-runner'")
        locked.join(60)
        time.sleep(2)
        assert lab.operation(operation["id"])["state"] == "running"
    assert lab.wait_operation(operation["id"])["state"] == "done"
    running(lab, 8)


def test_a_launch_goes_on_without_the_allocator(workshop):
    lab = workshop(name="alone")
    operation = lab.launch(5, wait=False)
    wait_until(lambda: lab.role("runner") and lab.operation(operation["id"])["state"] == "running", 60, every=0.01)
    lab.kill("supervisor")
    wait_until(lambda: not lab.role("runner"), 120, "the runner ends by itself")
    lab.start()
    assert lab.wait_operation(operation["id"])["state"] == "done"
    running(lab, 5)


def test_reboot(workshop):
    """Every process killed at once: the next start brings the VMs back with their files and seats."""
    lab = workshop(name="reboot")
    lab.launch(3)
    running(lab, 3)
    seat = claim(lab, 1).json()
    wait_until(lambda: records(lab, seat["hostname"]), 60)
    inside(lab, seat["hostname"], "sh", "-c", "echo kept >/home/client/mine && sync")
    held = seats(lab)
    lab.kill_all()
    lab.start()
    wait_until(lambda: [vm["status"] for vm in lab.vms()] == ["running"] * 3, 180, lambda: repr(lab.vms()) + lab.log()[-3000:], every=0.3)
    wait_until(lambda: len(lab.role("agent")) >= 3, 60)
    assert seats(lab) == held
    assert inside(lab, seat["hostname"], "cat", "/home/client/mine") == "kept\n"
    wait_until(lambda: lab.vm(seat["hostname"])["in_use"], 60, "the software was started again")
    works_on(lab, 3, 2)
    assert len(records(lab, seat["hostname"])) == 1, "the same assignment is not carried out again"


def test_a_vm_that_died_comes_back(workshop):
    lab = workshop(name="died")
    lab.launch(2)
    running(lab, 2)
    seat = claim(lab, 1).json()
    wait_until(lambda: records(lab, seat["hostname"]), 60)
    for process in lab.vm_processes():
        process.kill()
    lab.restart()
    running_again = lambda: [vm["status"] for vm in lab.vms()] == ["running"] * 2 and len(lab.role("agent")) >= 2
    wait_until(running_again, 180, lambda: lab.log()[-3000:], every=0.3)
    assert claim(lab, 1).json()["hostname"] == seat["hostname"]


def test_ctrl_c_says_what_still_runs(workshop):
    lab = workshop(name="ctrlc")
    lab.launch(2)
    running(lab, 2)
    alive = vm_processes(lab)
    assert lab.interrupt() == 0
    assert "2 client VMs still run" in lab.log() and "lablink destroy" in lab.log()
    assert set(alive.items()) <= set(vm_processes(lab).items())
    assert not lab.role("web") and lab.postmaster_pid() is None
    started = time.monotonic()
    lab.start()
    print("second start: %.2f s" % (time.monotonic() - started))
    running(lab, 2)
    assert claim(lab, 7).status_code == 200


@pytest.mark.parametrize("role", ["web", "postgres"])
def test_acknowledged_claims_survive_under_load(workshop, role):
    lab = workshop(name="load")
    for number in range(60):
        lab.add_vm("row-%d" % number)

    def one(number):
        for _ in range(200):
            try:
                answer = claim(lab, number)
            except OSError:
                time.sleep(0.1)
                continue
            if answer.status_code == 200:
                return answer.json()
            assert answer.status_code in (503, 429), answer.text
            time.sleep(0.1 if answer.status_code == 503 else 7)
        return None

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(one, number) for number in range(60)]
        wait_until(lambda: sum(future.done() for future in futures) >= 5, 60, every=0.01)
        lab.kill(role)
        answers = [future.result(180) for future in futures]
    held = wait_until(lambda: seats_or_none(lab), 60)
    rows = {email: hostname for hostname, (email, _, _) in held.items() if email}
    for number, answer in enumerate(answers):
        assert answer and rows["p%d@example.org" % number] == answer["hostname"]
    assert len(set(rows.values())) == len(rows) == 60
