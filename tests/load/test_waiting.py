"""As many VMs as the limit on open files allows wait for their seats in one process, on one LISTEN connection."""

import json
import re
import resource
import time

from lab import CRD, wait_until
from swarm import Swarm, memory_kb, percentile, post, web_process

BY_CLAIM = 100  # through the front door; the others at once, by one statement


def test_many_vms_wait_and_each_gets_its_assignment(load_lab, say, soak):
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    lab = load_lab()
    said = wait_until(lambda: re.search(r"up to (\d+) connections .* limit of (\d+) open files", lab.log()))
    room, limit = int(said.group(1)), int(said.group(2))
    assert 0 < room < limit
    n = min(19000 if soak else 3000, room - 100, files - 200)
    lab.sql("insert into vms (hostname, status) select 'vm-' || n, 'running' from generate_series(0, %d) n" % (n - 1))
    lab.sql("analyze vms")
    web = web_process(lab)
    before = memory_kb(web)
    listeners = "select count(*) as n from pg_stat_activity where application_name = 'lablink-listener'"
    # Before the swarm: the database's client waits by select(), which knows no descriptor beyond 1023.
    with lab.database() as database, Swarm(lab.port, n) as swarm:
        for number in range(n):
            swarm.send(number, post("/vm_startup", {"hostname": "vm-%d" % number}))
            if number % 500 == 499:
                for early in swarm.turn(0):
                    assert not early.closed, early.received
        wait_until(lambda: database.execute("select count(*) as n from vm_presence").fetchone()["n"] == n, 120, "every wait counts as a word")
        time.sleep(1)
        assert not any(connection.closed for connection in swarm.connections)
        say("%d VMs wait: %.2f KB each, in one process of %.1f MB; room for %d", n, (memory_kb(web) - before) / n, memory_kb(web) / 1024, room)
        assert (memory_kb(web) - before) / n < 16, "a waiting VM costs too much"
        assert database.execute(listeners).fetchone()["n"] == 1
        people = claim_some(lab)
        told = wait_for(swarm, BY_CLAIM)
        assert {answer["hostname"]: (answer["email"], answer["pin"]) for answer, _ in told} == people
        began = time.monotonic()
        database.execute("update vms set email = hostname || '@example.org', crd_command = %s, pin = '123456',"
                         " generation = generation + 1 where email is null", [CRD])
        told = wait_for(swarm, n - BY_CLAIM)
        names = {answer["hostname"] for answer, _ in told}
        assert names | set(people) == {"vm-%d" % number for number in range(n)}
        assert all(answer["email"] == answer["hostname"] + "@example.org" and answer["status"] == "success" for answer, _ in told)
        seconds = [at - began for _, at in told]
        say("%d of them woken by one statement: p50 %.0f ms, p99 %.0f ms", len(told), percentile(seconds, 50) * 1e3, percentile(seconds, 99) * 1e3)
    assert web.alive()


def claim_some(lab):
    """{host name: (e-mail, PIN)} of people who asked over connections of their own."""
    with Swarm(lab.port, BY_CLAIM) as people:
        answers = people.exchange([
            post("/api/request_vm", {"email": "p%d@example.org" % number, "crd_command": CRD}) for number in range(BY_CLAIM)])
    assert all(answer.status == 200 for answer in answers)
    said = [json.loads(answer.body) for answer in answers]
    return {one["hostname"]: (one["email"], one["pin"]) for one in said}


def wait_for(swarm, n):
    """[(answer, when it was whole)] of so many waiting VMs; each is for the VM that waits on that connection."""
    told, end = [], time.monotonic() + 120
    while len(told) < n:
        assert time.monotonic() < end, "%d of %d VMs were told nothing" % (n - len(told), n)
        for number, answer in swarm.answers(1.0):
            assert answer.status == 200, answer
            body = json.loads(answer.body)
            assert body["hostname"] == "vm-%d" % number
            told.append((body, time.monotonic()))
    return told
