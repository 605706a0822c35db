"""Heartbeats and log lines at a rate, in bounded memory; and what cannot be taken is refused with a time to come again."""

import threading
import time

from swarm import Swarm, memory_kb, post, web_process

LINE = "2026-01-01 12:00:00 something that a program on a VM has to say, about one hundred characters long, line "


def add_vms(lab, n):
    lab.sql("insert into vms (hostname, status) select 'vm-' || n, 'running' from generate_series(0, %d) n" % (n - 1))
    lab.sql("analyze vms")


def heartbeat(vm):
    return post("/api/agent/heartbeat", {"hostname": "vm-%d" % vm, "boot_id": "b", "generation": 0, "uptime": 5.5})


def batch(vm, number, lines=50, **more):
    return post("/api/vm-logs", {"log_group": "g", "log_stream": "vm-%d" % vm, "batch_id": "b%d" % number,
                                 "messages": ["%s%d" % (LINE, n) for n in range(lines)], **more})


def test_heartbeats_and_log_lines_at_a_rate(load_lab, say, soak):
    """A second's worth of each after the other, as fast as they are taken; the memory of the process does not follow the amount."""
    agents, senders, rounds = (10000, 1000, 30) if soak else (1000, 100, 6)
    lab = load_lab()
    add_vms(lab, agents)
    web = web_process(lab)
    peaks = []
    with Swarm(lab.port, 200) as swarm:
        began, beats, lines = time.monotonic(), 0, 0
        for number in range(rounds):
            # In a second one agent in ten has a heartbeat to send, and each sender 50 lines.
            first = number % 10 * agents // 10
            requests = [heartbeat(vm) for vm in range(first, first + agents // 10)] + [batch(vm, number) for vm in range(senders)]
            answers = swarm.one_by_one(requests)
            assert all(answer.status == 200 for answer in answers), [answer for answer in answers if answer.status != 200][:3]
            beats, lines = beats + agents // 10, lines + 50 * senders
            peaks.append(memory_kb(web))
        seconds = time.monotonic() - began
    say("%d heartbeats and %d log lines in %.1f s: %.0f and %.0f a second; memory %.1f MB, at first %.1f MB",
        beats, lines, seconds, beats / seconds, lines / seconds, peaks[-1] / 1024, peaks[0] / 1024)
    stored = lab.sql("select count(*) as n, count(distinct vm_id) as vms from vm_log_lines")[0]
    assert (stored["n"], stored["vms"]) == (lines, senders)
    assert lab.sql("select count(*) as n from vm_presence where heartbeat_at is not null")[0]["n"] == min(rounds, 10) * agents // 10
    assert max(peaks) < peaks[0] + 48 * 1024, peaks


def hold_up(lab, requests, seconds):
    """Sends all while the table of log lines is locked, and returns the answers; the last request must not wait for the lock."""
    answers = {}
    with Swarm(lab.port, len(requests)) as swarm, lab.database() as database:
        with database.transaction():
            database.execute("lock table vm_log_lines in share mode")
            for number, request in enumerate(requests):
                swarm.send(number, request)
            end = time.monotonic() + seconds
            while time.monotonic() < end or len(requests) - 1 not in answers:
                answers.update(swarm.answers(0.1))
                assert time.monotonic() < end + 120, "a heartbeat waits for log lines"
        while len(answers) < len(requests):
            answers.update(swarm.answers(1.0))
            assert time.monotonic() < end + 120, "%d requests have no answer" % (len(requests) - len(answers))
    return [answers[number] for number in range(len(requests))]


def stored_lines(lab):
    rows = lab.sql("select v.hostname, count(*) as n from vm_log_lines l join vms v on v.id = l.vm_id group by 1")
    return {row["hostname"]: row["n"] for row in rows}


def test_what_is_too_much_is_refused_not_kept(load_lab, say):
    """Far more is sent than may be held, while nothing can be stored: the surplus gets 503 and Retry-After at once, memory stays
    bounded, heartbeats are taken. What was acknowledged is there; what was refused is sent again under its number, and in the
    end every line is there once."""
    senders, lines, pad = 400, 5, "x" * 250000  # 100 MB; what is held is the body, what is stored are its few lines
    lab = load_lab()
    add_vms(lab, senders)
    web = web_process(lab)
    before, peak, over = memory_kb(web), [0], threading.Event()

    def watch():
        while not over.wait(0.02):
            peak[0] = max(peak[0], memory_kb(web))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        answers = hold_up(lab, [batch(vm, 0, lines, pad=pad) for vm in range(senders)] + [heartbeat(0)], 2)
    finally:
        over.set()
        watcher.join()
    assert answers.pop().status == 200
    refused = [number for number, answer in enumerate(answers) if answer.status != 200]
    assert refused and all(answers[number].status == 503 and int(answers[number].headers["retry-after"]) > 0 for number in refused)
    say("%d batches of 250 KB held up: %d refused, the first after %.0f ms; memory %.0f MB at most, %.0f before", senders,
        len(refused), min(answers[number].seconds for number in refused) * 1e3, peak[0] / 1024, before / 1024)
    stored = stored_lines(lab)
    assert all(stored["vm-%d" % number] == lines for number, answer in enumerate(answers) if answer.status == 200)
    assert peak[0] - before < 400 * 1024
    for _ in range(20):
        if refused:
            with Swarm(lab.port, 8) as swarm:
                again = swarm.one_by_one([batch(number, 0, lines, pad=pad) for number in refused])
            refused = [number for number, answer in zip(refused, again) if answer.status != 200]
    assert not refused
    assert stored_lines(lab) == {"vm-%d" % number: lines for number in range(senders)}
