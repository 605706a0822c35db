"""Claims, waiting VMs and releases over HTTP: one person, one seat; one seat, one person; nobody waits for ever."""

import concurrent.futures
import itertools
import socket
import time

import pytest

from lab import CODE, CRD, wait_until

JSON = {"Accept": "application/json"}
numbers = itertools.count(1)


def claim(lab, email, crd=CRD, **more):
    return lab.session().post(lab.url + "/api/request_vm", json={"email": email, "crd_command": crd, **more}, headers=JSON, timeout=60)


def person():
    return "seat%d@example.org" % next(numbers)


def test_same_person_keeps_the_seat(lab):
    lab.add_vm("vm-1"), lab.add_vm("vm-2")
    who = person()
    first = claim(lab, who).json()
    assert first["returning"] is False and len(first["pin"]) == 6 and first["generation"] == 1
    again = claim(lab, "  " + who.upper() + " ").json()
    assert (again["hostname"], again["pin"], again["generation"], again["returning"]) == (first["hostname"], first["pin"], 1, True)
    other = claim(lab, who, CRD.replace(CODE, "4/0BNewCode-for_the_same")).json()
    assert (other["hostname"], other["pin"], other["generation"]) == (first["hostname"], first["pin"], 2)


def test_oldest_claimable_first_and_who_is_not_claimable(lab):
    lab.add_vm("unhealthy", healthy=False), lab.add_vm("error", "error"), lab.add_vm("new", "initializing")
    lab.add_vm("reset", needs_reset=True), lab.add_vm("silent")
    lab.sql("insert into vm_presence (vm_id, last_seen, heartbeat_at) select id, now() - interval '2 minutes', now() - interval '2 minutes'"
            " from vms where hostname = 'silent'")
    lab.add_vm("second"), lab.add_vm("third", "running")
    assert lab.get("/api/unassigned_vms_count").json() == {"count": 2}
    assert claim(lab, person()).json()["hostname"] == "second"
    assert claim(lab, person()).json()["hostname"] == "third"
    assert claim(lab, person()).status_code == 503


def test_fifty_at_once_for_twenty(lab):
    for number in range(20):
        lab.add_vm("vm-%d" % number)
    people = [person() for _ in range(50)]
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda who: claim(lab, who), people))
    won = [answer.json()["hostname"] for answer in answers if answer.status_code == 200]
    assert len(won) == 20 and len(set(won)) == 20
    assert all(answer.status_code in (200, 503) for answer in answers)


def test_one_person_many_times_at_once(lab):
    for number in range(5):
        lab.add_vm("vm-%d" % number)
    who = person()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: claim(lab, who), range(8)))
    assert {answer.json()["hostname"] for answer in answers if answer.status_code == 200} == {lab.sql("select hostname from vms where email = %s", who)[0]["hostname"]}
    assert len(lab.sql("select 1 from vms where email is not null")) == 1


def test_notice_of_a_troubled_machine(lab):
    who = person()
    lab.add_vm("vm-1", "error", email=who)
    said = claim(lab, who).json()
    assert said["returning"] and "error" in said["notice"]


def test_requests_by_one_email_are_limited(lab):
    who = person()
    codes = [claim(lab, who).status_code for _ in range(12)]
    assert codes[:10] == [503] * 10 and codes[10:] == [429] * 2
    assert int(claim(lab, who).headers["Retry-After"]) > 0
    lab.add_vm("vm-1")
    assert claim(lab, person()).status_code == 200  # others are not touched


def test_a_waiting_vm_gets_its_command(lab):
    lab.add_vm("vm-1")
    future = lab.startup("vm-1")
    wait_until(lambda: lab.sql("select 1 from vm_presence"), message="the wait counts as a word")
    who = person()
    said = claim(lab, who).json()
    answer = future.result(60)
    assert answer.status_code == 200
    got = answer.json()
    assert got["status"] == "success" and got["hostname"] == "vm-1" and got["pin"] == said["pin"] and got["email"] == who
    assert CODE in got["command"] and got["generation"] == 1


def test_generations_are_answered_once(lab):
    lab.add_vm("vm-1")
    who = person()
    claim(lab, who)
    assert lab.startup("vm-1", body={"generation": 0}).result(60).json()["generation"] == 1
    assert lab.startup("vm-1").result(60).json()["generation"] == 1  # a deployed client sends none: told again
    future = lab.startup("vm-1", body={"generation": 1})
    time.sleep(0.3)
    assert not future.done()
    claim(lab, who, CRD.replace(CODE, "4/0BNewCode-for_the_same"))
    assert future.result(60).json()["generation"] == 2


def test_a_newer_wait_replaces_the_older(lab):
    lab.add_vm("vm-1")
    older = lab.startup("vm-1")
    wait_until(lambda: lab.sql("select 1 from vm_presence"))
    time.sleep(0.2)
    newer = lab.startup("vm-1")
    assert older.exception(60) is not None, "the older wait is closed without an answer"
    claim(lab, person())
    assert newer.result(60).json()["status"] == "success"


def test_an_open_wait_is_no_word_of_a_vm_that_sends_heartbeats(lab):
    """The blanks that keep a wait open are ours: a machine that froze does not stay alive by them."""
    for name in ("frozen", "deployed"):
        assert lab.post("/api/vm-status", json={"hostname": name, "status": "running"}).status_code == 200
    beat = {"hostname": "frozen", "boot_id": "b", "generation": 0, "uptime": 1}
    assert lab.post("/api/agent/heartbeat", json=beat).status_code == 200
    waits = {name: lab.startup(name, body={"generation": 0}) for name in ("frozen", "deployed")}
    wait_until(lambda: len(lab.sql("select 1 from vm_presence")) == 2)
    time.sleep(0.5)
    lab.sql("update vm_presence set last_seen = now() - interval '10 minutes', heartbeat_at = heartbeat_at - interval '10 minutes'")
    seen = lambda name: lab.sql("select last_seen > now() - interval '1 minute' as lately from vm_presence p join vms v on v.id = p.vm_id"
                                " where v.hostname = %s", name)[0]["lately"]
    wait_until(lambda: seen("deployed"), 90, "the open wait of a VM without heartbeats counts")
    wait_until(lambda: lab.vm("frozen")["status"] == "unknown", 30)
    time.sleep(1)
    assert not seen("frozen") and not waits["frozen"].done()
    assert lab.get("/api/unassigned_vms_count").json() == {"count": 1}
    assert lab.post("/api/agent/heartbeat", json=beat).status_code == 200
    assert lab.vm("frozen")["status"] == "running"
    assert {claim(lab, person()).json()["hostname"] for _ in range(2)} == {"frozen", "deployed"}
    assert waits["frozen"].result(60).json()["status"] == "success"


def test_a_client_that_left_is_noticed_and_may_come_again(lab):
    lab.add_vm("vm-1")
    body = b'{"hostname": "vm-1"}'
    head = b"POST /vm_startup HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", lab.port)) as connection:
            connection.sendall(head + body)
            time.sleep(0.02)
    future = lab.startup("vm-1")
    time.sleep(0.5)
    claim(lab, person())
    assert future.result(60).json()["status"] == "success"


def test_a_lost_notification_loses_no_assignment(lab):
    """The row changes without its trigger, as if the notification had been lost: the listener's new connection looks again."""
    lab.add_vm("vm-1")
    future = lab.startup("vm-1")
    wait_until(lambda: lab.sql("select 1 from vm_presence"))
    time.sleep(0.2)
    with lab.database() as connection:
        with connection.transaction():
            connection.execute("alter table vms disable trigger user")
            connection.execute("update vms set email = 'lost@example.org', crd_command = %s, pin = '111111', generation = 1", [CRD])
            connection.execute("alter table vms enable trigger user")
    lab.sql("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'lablink-listener'")
    assert future.result(60).json()["email"] == "lost@example.org"


def test_destroyed_names_are_remembered(lab):
    lab.add_vm("vm-1")
    future = lab.startup("vm-1")
    wait_until(lambda: lab.sql("select 1 from vm_presence"))
    time.sleep(0.2)
    with lab.database() as connection:
        with connection.transaction():
            connection.execute("insert into retired_hostnames (hostname) values ('vm-1')")
            connection.execute("delete from vms")
    assert future.exception(60) is not None, "closed without an answer"
    assert lab.post("/vm_startup", json={"hostname": "vm-1"}).status_code == 404
    assert lab.post("/api/vm-status", json={"hostname": "vm-1", "status": "running"}).status_code == 404


def test_reports_of_a_held_seat(lab):
    lab.add_vm("vm-1", email="held@example.org")
    for word, shown in (("running", "assigned"), ("available", "assigned"), ("error", "error"), ("initializing", "initializing"), ("running", "assigned")):
        assert lab.post("/api/vm-status", json={"hostname": "vm-1", "status": word}).status_code == 200
        assert lab.get("/api/vm-status/vm-1").json()["status"] == shown
        assert lab.vm("vm-1")["email"] == "held@example.org"


def test_release(lab):
    who = person()
    lab.add_vm("vm-1", email=who, launched=True)
    wait = lab.startup("vm-1", body={"generation": 1})
    url = "/api/admin/vms/vm-1/release"
    said = lab.post(url, json={"yes": True}, admin=True, headers={**JSON, "Idempotency-Key": "release-1"})
    assert said.status_code == 200, said.text
    vm = lab.vm("vm-1")
    assert vm["email"] is None and vm["pin"] is None and vm["crd_command"] is None and vm["generation"] == 2 and vm["needs_reset"]
    assert "crd_command" not in said.json()["vm"] or said.json()["vm"]["crd_command"] is None
    again = lab.post(url, json={"yes": True}, admin=True, headers={**JSON, "Idempotency-Key": "release-1"})
    assert again.status_code == 200 and lab.vm("vm-1")["generation"] == 2
    assert lab.get("/api/unassigned_vms_count").json() == {"count": 0}  # not before it was made fresh
    lab.sql("update vms set needs_reset = false")
    assert claim(lab, person()).json()["generation"] == 3
    assert wait.result(60).json()["generation"] == 3


def test_what_a_released_vm_waits_for_is_told(lab):
    lab.add_vm("made-here", email=person(), launched=True), lab.add_vm("came", email=person())
    for name, words in (("made-here", "being made fresh"), ("came", "must be made anew")):
        lab.post("/api/vm-status", json={"hostname": name, "status": "running"})
        said = lab.cli("vm", "release", name, "--yes").stdout
        assert ("not launched here" in said) == (name == "came"), said
        line = next(line for line in lab.cli("vm", "list").stdout.splitlines() if line.startswith(name))
        assert words in line, line
        row = lab.get("/admin/instances", admin=True).text.partition('data-vm="%s"' % name)[2].partition("</tr>")[0]
        assert ">%s</span>" % words in row, row


@pytest.mark.parametrize("status", ("error", "unknown", "initializing"))
def test_a_vm_that_is_not_ready_and_nobody_holds_can_be_made_fresh(lab, status):
    lab.add_vm("broken", status, launched=True), lab.add_vm("fine")
    release = lambda name: lab.post("/api/admin/vms/%s/release" % name, json={"yes": True}, admin=True, headers=JSON)
    assert release("fine").status_code == 409 and not lab.vm("fine")["needs_reset"]
    assert release("broken").status_code == 200 and lab.vm("broken")["needs_reset"]
    assert release("broken").status_code == 409, "it is being made fresh already"
    page = lab.get("/admin/instances", admin=True).text
    assert "Make fresh" in page


def test_vms_with_a_token_prove_themselves(lab):
    import hashlib

    token = "t" * 43
    lab.add_vm("vm-1", token_hash=hashlib.sha256(token.encode()).hexdigest())
    lab.add_vm("vm-2", token_hash=hashlib.sha256(b"other").hexdigest())
    good = {"Authorization": "Bearer " + token}
    report = lambda name, **more: lab.post("/api/vm-status", json={"hostname": name, "status": "running"}, **more).status_code
    assert report("vm-1", headers=good) == 200
    assert report("vm-1") == 401 and report("vm-1", headers={"Authorization": "Bearer x"}) == 401
    assert report("vm-2", headers=good) == 401, "a VM speaks for itself alone"
    assert lab.post("/vm_startup", json={"hostname": "vm-1"}).status_code == 401
    assert lab.post("/api/vm-logs", json={"log_stream": "vm-1", "messages": []}).status_code == 401


def test_a_wait_ends_with_the_secret_that_it_came_with(lab):
    """What a VM's former life left waiting somewhere is not told who has the seat after it."""
    import hashlib

    token = "t" * 43
    lab.add_vm("vm-1", token_hash=hashlib.sha256(token.encode()).hexdigest())
    old = lab.startup("vm-1", headers={"Authorization": "Bearer " + token})
    wait_until(lambda: lab.sql("select 1 from vm_presence"))
    lab.sql("update vms set token_hash = %s", hashlib.sha256(b"new").hexdigest())
    claim(lab, person())
    assert old.exception(60) is not None, "closed without an answer"
    new = lab.startup("vm-1", headers={"Authorization": "Bearer new"})
    assert new.result(60).json()["generation"] == 1


def test_a_seat_whose_notification_was_lost_is_found(lab):
    """No notification comes at all. A wait looks again by itself with each blank that it sends, so that one which ends
    without a blank was ended by the second way."""
    table = lab.table
    lab.sql('alter table "%s" disable trigger vms_notify_update' % table)
    try:
        for attempt in range(5):  # a machine that rests for 20 seconds lets a blank go first
            name = "lost-%d" % attempt
            lab.add_vm(name)
            held = lab.startup(name)
            wait_until(lambda: lab.sql("select 1 from vm_presence p join vms v on v.id = p.vm_id where v.hostname = %s", name), 30)
            lab.sql('update "%s" set email = %%s, crd_command = %%s, pin = %%s, generation = generation + 1 where hostname = %%s' % table,
                    person(), CRD, "123456", name)
            answer = held.result(90)
            assert answer.json()["hostname"] == name and answer.json()["generation"] == 1
            if not answer.text.startswith(" "):
                return
        raise AssertionError("each of five waits went on until its blank")
    finally:
        lab.sql('alter table "%s" enable trigger vms_notify_update' % table)
