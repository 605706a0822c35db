"""Dashboards: what changes reaches every one of them; one that does not read is cut off, and costs no memory for ever."""

import time

from lab import wait_until
from swarm import Swarm, get, memory_kb, percentile, web_process

DASHBOARDS = 50


def add_vms(lab, n):
    lab.sql("insert into vms (hostname, status) select 'vm-' || n, 'running' from generate_series(0, %d) n" % (n - 1))
    lab.sql("analyze vms")


def event_stream(lab):
    """A request that is logged in by its cookie, so that fifty of them do not pay for fifty password checks."""
    answer = lab.get("/api/operations", admin=True)
    cookie = "; ".join("%s=%s" % (one.name, one.value) for one in answer.cookies)
    return get("/api/events", Accept="text/event-stream", Cookie=cookie)


def until_all_have(swarm, word, patience=120):
    """Seconds, for each connection, until the word stood in what it received from now on."""
    began, seconds = time.monotonic(), {}
    tails = {connection.number: b"" for connection in swarm.connections}
    while len(seconds) < len(swarm.connections):
        assert time.monotonic() - began < patience, "%d dashboards wait for %r" % (len(swarm.connections) - len(seconds), word)
        for connection in swarm.turn(1.0):
            assert not connection.closed, "a dashboard was cut off: %r" % bytes(connection.received[-200:])
            text = tails[connection.number] + bytes(connection.received)
            connection.received.clear()
            if word in text:
                seconds.setdefault(connection.number, time.monotonic() - began)
            tails[connection.number] = text[-400:]
    return list(seconds.values())


def test_a_change_reaches_every_dashboard(load_lab, say, soak):
    vms, changes = (5000, 50) if soak else (2000, 6)
    lab = load_lab()
    add_vms(lab, vms)
    request = event_stream(lab)
    web = web_process(lab)
    before = memory_kb(web)
    with Swarm(lab.port, DASHBOARDS) as swarm:
        for number in range(DASHBOARDS):
            swarm.send(number, request)
        first = until_all_have(swarm, b"event: counts")
        say("%d dashboards have %d rows after %.1f s; memory grew by %.1f MB", DASHBOARDS, vms, max(first), (memory_kb(web) - before) / 1024)
        assert memory_kb(web) - before < 48 * 1024
        seconds = []
        for number in range(changes):
            word = "error" if number % 2 else "initializing"
            lab.sql("update vms set status = %s, email = %s, crd_command = 'x', pin = '123456' where hostname = 'vm-7'", word, "change%d@example.org" % number)
            seconds += until_all_have(swarm, b"change%d@example.org" % number)
        say("a change is on %d dashboards after p50 %.0f ms, p99 %.0f ms", DASHBOARDS, percentile(seconds, 50) * 1e3, percentile(seconds, 99) * 1e3)
        lab.sql("delete from vms where hostname = 'vm-8'")
        lab.sql("insert into retired_hostnames (hostname) values ('vm-8')")
        until_all_have(swarm, b'event: gone\ndata: {"hostname":"vm-8"}')


def test_who_does_not_read_is_cut_off(load_lab, say):
    """One dashboard reads nothing while all rows change again and again; another follows it all."""
    vms = 2000
    lab = load_lab()
    add_vms(lab, vms)
    request = event_stream(lab)
    web = web_process(lab)
    with Swarm(lab.port, 1, receive_buffer=4096) as slow, Swarm(lab.port, 1) as good:
        slow.send(0, request)
        good.send(0, request)
        until_all_have(good, b"event: counts")
        before = memory_kb(web)
        for number in range(20):
            lab.sql("update vms set status = %s where hostname not like 'last%%%%'", "error" if number % 2 else "running")
            lab.sql("insert into vms (hostname) values (%s)", "last%d." % number)
            until_all_have(good, b'"hostname":"last%d."' % number)
        grown = memory_kb(web) - before
        say("20 rounds of %d changes: memory grew by %.1f MB", vms, grown / 1024)
        assert grown < 64 * 1024
        received = drain(slow)
        say("a dashboard that read nothing was cut off after %.1f MB", received / 1e6)
        wait_until(lambda: "/api/events" in lab.log(), message="the end of the slow one is in the log")
        assert not good.connections[0].closed


def drain(swarm):
    """Reads what the kernels still hold, and demands that the end comes; bytes received."""
    connection, end, received = swarm.connections[0], time.monotonic() + 120, 0
    while not connection.closed:
        assert time.monotonic() < end, "it is not cut off"
        swarm.turn(1.0)
        received += len(connection.received)
        connection.received.clear()
    return received
