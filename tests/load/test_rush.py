"""Nine o'clock: everybody asks at the same moment, and each free seat goes to exactly one of them."""

import json

import pytest
from lab import CRD
from swarm import Swarm, percentile, post

SEATS, PEOPLE = 500, 1000


def add_seats(lab, n):
    lab.sql("insert into vms (hostname, status) select 'seat-' || n, 'available' from generate_series(1, %d) n" % n)
    lab.sql("analyze vms")


def claims(prefix, n):
    return [post("/api/request_vm", {"email": "%s%d@example.org" % (prefix, number), "crd_command": CRD}) for number in range(n)]


def check_winners(lab, answers, prefix, seats):
    """Each seat once, each person once, all others refused; and the database says the same."""
    won = {}
    for number, answer in enumerate(answers):
        assert answer.status in (200, 503), answer
        if answer.status == 503:
            assert json.loads(answer.body)["code"] == "no-seat-free" and int(answer.headers["retry-after"]) > 0
            continue
        said = json.loads(answer.body)
        assert said["email"] == "%s%d@example.org" % (prefix, number) and said["returning"] is False
        assert said["hostname"] not in won, "given twice: %s" % said["hostname"]
        won[said["hostname"]] = (said["email"], said["pin"])
    assert len(won) == seats
    rows = {row["hostname"]: (row["email"], row["pin"]) for row in lab.sql("select * from vms where email is not null")}
    assert rows == won


@pytest.mark.parametrize("every, name", [(0.0, "all at once"), (0.001, "within a second")])
def test_a_thousand_people_for_five_hundred_seats(load_lab, say, every, name):
    lab = load_lab()
    add_seats(lab, SEATS)
    with Swarm(lab.port, PEOPLE) as swarm:
        answers = swarm.exchange(claims("p", PEOPLE), every=every)
        check_winners(lab, answers, "p", SEATS)
        for outcome, status in (("seat", 200), ("refusal", 503)):
            seconds = [answer.seconds for answer in answers if answer.status == status]
            say("%d claims %s, %s: p50 %.0f ms, p99 %.0f ms, last %.0f ms", PEOPLE, name, outcome,
                percentile(seconds, 50) * 1e3, percentile(seconds, 99) * 1e3, max(seconds) * 1e3)
        # Those who have a seat keep it, those who have none get the next that is made.
        add = [number for number, answer in enumerate(answers) if answer.status == 503][:20]
        lab.sql("insert into vms (hostname, status) select 'late-' || n, 'available' from generate_series(1, 20) n")
        again = swarm.exchange([request if number in add else None for number, request in enumerate(claims("p", PEOPLE))])
        assert sorted(json.loads(again[number].body)["hostname"] for number in add) == sorted("late-%d" % n for n in range(1, 21))


def test_one_person_on_fifty_connections_gets_one_seat(load_lab):
    lab = load_lab()
    add_seats(lab, 60)
    with Swarm(lab.port, 50) as swarm:
        answers = swarm.exchange([post("/api/request_vm", {"email": "one@example.org", "crd_command": CRD})] * 50)
    given = [json.loads(answer.body) for answer in answers if answer.status == 200]
    refused = [answer for answer in answers if answer.status != 200]
    held = lab.sql("select hostname, pin from vms where email is not null")
    assert len(held) == 1 and given and sum(not said["returning"] for said in given) == 1
    assert {(said["hostname"], said["pin"]) for said in given} == {(held[0]["hostname"], held[0]["pin"])}
    # No more than ten a minute by one e-mail: the others are told when to come again.
    assert len(given) == 10 and all(answer.status == 429 and int(answer.headers["retry-after"]) > 0 for answer in refused)


def test_who_is_refused_makes_nobody_wait(load_lab):
    """The pool is empty: a thousand claims are refused while a VM reports, and its word is taken all the same."""
    lab = load_lab()
    lab.add_vm("vm-1", email="first@example.org")
    with Swarm(lab.port, PEOPLE + 1) as swarm:
        requests = claims("nobody", PEOPLE) + [post("/api/vm-status", {"hostname": "vm-1", "status": "error"})]
        answers = swarm.exchange(requests)
    assert [answer.status for answer in answers] == [503] * PEOPLE + [200]
    assert lab.vm("vm-1")["status"] == "error"
