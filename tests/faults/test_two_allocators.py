"""Two allocators, each with machines of its own, on one database: both serve, seats stay exact, one operation at a time,
and neither touches what the other has made."""

import concurrent.futures

import pytest

from lab import wait_until
from load import until_answered
from points import Order
from postgres import Cluster, url
from workshop import JSON, claim, records


@pytest.fixture
def pair(new_lab, workshop):
    """(cluster, order, start): start() gives another allocator on the cluster."""
    cluster, order = Cluster(), Order()
    new_lab.environment["TEST_POINTS"] = order.path
    new_lab.database = cluster.connection
    yield cluster, order, lambda name: workshop(name=name, db={"url": url(cluster.port)})
    order.close()
    new_lab.after.append(cluster.remove)


def launch(lab, count):
    """Asks until no other operation is in the way."""
    ask = lambda: lab.post("/api/launch", json={"num_vms": count}, admin=True, headers=JSON)
    answer = wait_until(lambda: (lambda said: said if said.status_code != 409 else None)(ask()), 120)
    assert answer.status_code == 202, answer.text
    return answer.json()["operation"]["id"]


def destroy(lab):
    ask = lambda: lab.post("/destroy", admin=True, headers=JSON)
    answer = wait_until(lambda: (lambda said: said if said.status_code != 409 else None)(ask()), 120)
    return lab.wait_operation(answer.json()["operation"]["id"])


def running(lab, count):
    wait_until(lambda: [vm["status"] in ("running", "assigned") for vm in lab.vms() if vm["launched"]] == [True] * count,
               180, lambda: repr(lab.vms()), every=0.2)


def boots(lab):
    """First processes of a lab's VMs, that change when a VM is started again."""
    return {(process.pid, process.started) for process in lab.vm_processes() if process.program == "bwrap"}


def test_both_serve(pair):
    cluster, order, start = pair
    a, b = start("a"), start("b")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for number, lab in zip(pool.map(lambda lab: launch(lab, 2), (a, b)), (a, b)):
            lab.wait_operation(number)
    running(a, 4)
    names = [vm["hostname"] for vm in a.vms()]
    assert sorted(a.vm_names_on_disk() + b.vm_names_on_disk()) == sorted(names) and len(set(names)) == 4
    assert len({vm["site"] for vm in a.vms()}) == 2
    alive = boots(a) | boots(b)

    # a look around by both, right at their start, takes nobody's VM for lost
    for lab in (a, b):
        mark = len(lab.log())
        lab.restart()
        wait_until(lambda: not lab.role("runner"), 60)
        assert "gone" not in lab.log()[mark:] and "not running" not in lab.log()[mark:]
    assert boots(a) | boots(b) == alive
    assert [vm["hostname"] for vm in a.vms()] == names
    running(a, 4)

    # one seat a person, whichever door they come to; the fifth finds none
    ask = lambda number: (number, claim((a, b)[number % 2], number // 2))
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(ask, range(8)))
    given = {number // 2: answer.json()["hostname"] for number, answer in answers if answer.status_code == 200}
    assert len(given) == 4 and len(set(given.values())) == 4, [(n, answer.text) for n, answer in answers]
    assert claim(a, 9).status_code == claim(b, 9).status_code == 503
    for host in given.values():
        home = a if host in a.vm_names_on_disk() else b
        wait_until(lambda: records(home, host), 60, "the VM heard of its seat, whoever gave it")

    # each destroys its own
    destroy(a)
    assert not a.vm_names_on_disk() and not a.vm_processes()
    assert sorted(vm["hostname"] for vm in a.vms()) == sorted(b.vm_names_on_disk())
    assert len(b.vm_names_on_disk()) == 2 and boots(b) <= alive
    destroy(b)
    assert b.vms() == [] and not b.vm_names_on_disk()


def test_operations_are_fenced(pair):
    """A runner that stands still loses its connection, and with it the right to work: the other allocator ends its
    operation and does its own; when the first wakes up, nothing that it says is written any more."""
    cluster, order, start = pair
    a, b = start("a"), start("b")
    order.arm("launch.machine-made", "sleep 20000")
    number = launch(a, 2)
    wait_until(order.hit, 60)
    # while it lives, nobody else may begin
    refused = b.post("/destroy", admin=True, headers=JSON)
    assert refused.status_code == 409 and refused.json()["operation"]["id"] == number
    runner = a.role("runner")[0]
    cluster.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'lablink-runner'")
    b.restart()  # its first look finds an operation whose runner holds no lock
    assert b.wait_operation(number, states=("interrupted",))["error"]
    b.wait_operation(launch(b, 1))
    assert runner.alive() or order.hit()
    lines = a.sql("select count(*) as n from operation_lines where operation_id = %s", number)[0]["n"]
    wait_until(lambda: not runner.alive(), 120, "the late runner ends")
    row = a.sql("select * from operations where id = %s", number)[0]
    assert row["state"] == "interrupted"
    assert a.sql("select count(*) as n from operation_lines where operation_id = %s", number)[0]["n"] == lines
    a.restart()
    agree = lambda: sorted(vm["hostname"] for vm in a.vms()) == sorted(a.vm_names_on_disk() + b.vm_names_on_disk())
    wait_until(agree, 120, lambda: "%r %r %r" % (a.vms(), a.vm_names_on_disk(), b.vm_names_on_disk()))
    destroy(b), destroy(a)
    assert a.vms() == []


def test_two_launches_at_once(pair):
    """Both are asked at the same moment: one is told which operation is in the way."""
    cluster, order, start = pair
    a, b = start("a"), start("b")
    ask = lambda lab: lab.post("/api/launch", json={"num_vms": 1}, admin=True, headers=JSON)
    for _ in range(3):
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(ask, (a, b)))
        assert sorted(answer.status_code for answer in answers) in ([202, 409], [202, 202]), [x.text for x in answers]
        for answer in answers:
            a.wait_operation(answer.json()["operation"]["id"])
    at_work = a.sql("select started_at, ended_at from operations where mutating and started_at is not null order by started_at")
    for first, second in zip(at_work, at_work[1:]):
        assert first["ended_at"] <= second["started_at"], "one at a time"
    until_answered(lambda: a.get("/readyz"))
    destroy(a), destroy(b)
    assert a.vms() == []
