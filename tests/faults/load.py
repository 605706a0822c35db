"""People and VMs that use a lab while it fails, and remember what was acknowledged."""

import concurrent.futures
import contextlib
import os
import random
import time

import psycopg
import requests

from lab import CODE, CRD, wait_until
from workshop import JSON

GIVE_UP = 90


def until_answered(send, good=(200,), patience=GIVE_UP):
    """Sends again, as a client does, until the answer is good; 503 and a lost connection mean: later."""
    end = time.monotonic() + patience
    while True:
        try:
            answer = send()
            if answer.status_code in good:
                return answer
            assert answer.status_code in (503, 429), (answer.status_code, answer.text)
            assert int(answer.headers["Retry-After"]) > 0
            pause = int(answer.headers["Retry-After"]) if answer.status_code == 429 else 0.2
        except requests.exceptions.RequestException:
            pause = 0.1
        assert time.monotonic() < end, "no good answer within %d s" % patience
        time.sleep(pause * (0.5 + random.random()))


def database_rows(lab, statement, *parameters):
    """Rows, also while the database comes back."""
    def look():
        try:
            return [lab.sql(statement, *parameters)]
        except psycopg.OperationalError:
            return None

    return wait_until(look, 60)[0]


def fill_disk(path):
    """Writes into a file until the disk takes no more."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        with contextlib.suppress(OSError):
            while True:
                os.write(fd, b"x" * 4096)
    finally:
        os.close(fd)


class Load:
    """One round: VMs, people, log lines and reports of its own names; run() sends all, check() compares."""

    def __init__(self, lab, name, seats=8, waiting=4, batches=4):
        self.lab, self.name = lab, name
        self.hosts = ["%s-%d" % (name, number) for number in range(seats)]
        self.emails = ["%s.%d@example.org" % (name, number) for number in range(seats)]
        self.n_waiting, self.n_batches = waiting, batches
        self.claims, self.waits, self.tasks = {}, {}, []
        for host in self.hosts:
            lab.add_vm(host)
        lab.add_vm(name + "-held", email=name + ".held@example.org")
        self.pool = concurrent.futures.ThreadPoolExecutor(seats + waiting + 8)

    def post(self, path, **more):
        with self.lab.session() as session:
            return session.post(self.lab.url + path, headers={**JSON, **more.pop("headers", {})}, timeout=30, **more)

    def _claim(self, email):
        crd = CRD.replace(CODE, "4/0A" + email.replace("@", "-").replace(".", "-"))
        self.claims[email] = until_answered(lambda: self.post("/api/request_vm", json={"email": email, "crd_command": crd})).json()

    def _wait(self, host):
        def ask():
            with self.lab.session() as session:
                return session.post(self.lab.url + "/vm_startup", json={"hostname": host, "generation": 0}, timeout=GIVE_UP)

        self.waits[host] = until_answered(ask).json()

    def _logs(self, host):
        for number in range(self.n_batches):
            lines = ["%s batch %d line %d" % (host, number, line) for line in range(3)]
            body = {"log_group": "g", "log_stream": host, "messages": lines, "batch_id": "%s/%d" % (host, number)}
            until_answered(lambda: self.post("/api/vm-logs", json=body))

    def _reports(self, host):
        for _ in range(self.n_batches):
            until_answered(lambda: self.post("/api/vm-status", json={"hostname": host, "status": "running"}))
            until_answered(lambda: self.post("/api/update_inuse_status", json={"hostname": host, "status": True}))

    def _release(self):
        path = "/api/admin/vms/%s-held/release" % self.name
        until_answered(lambda: self.post(path, json={"yes": True}, auth=self.lab.admin,
                                         headers={"Idempotency-Key": "release-" + self.name}))

    def start(self):
        go = lambda call, *words: self.tasks.append(self.pool.submit(call, *words))
        for host in self.hosts[: self.n_waiting]:
            go(self._wait, host)
        for email in self.emails:
            go(self._claim, email)
        go(self._release)
        for host in self.hosts[-2:]:
            go(self._logs, host)
            go(self._reports, host)
        return self

    def finish(self):
        for task in self.tasks:
            task.result(2 * GIVE_UP)
        self.pool.shutdown()
        return self

    def run(self):
        return self.start().finish()

    def check(self):
        rows = {row["hostname"]: row for row in database_rows(
            self.lab, "select * from vms where hostname like %s", self.name + "-%")}
        given = [said["hostname"] for said in self.claims.values()]
        assert sorted(given) == sorted(self.hosts), "one seat each"
        for email, said in self.claims.items():
            row = rows[said["hostname"]]
            assert (row["email"], row["pin"]) == (email, said["pin"]), "acknowledged: %r, stored: %r" % (said, row)
        for host, said in self.waits.items():
            assert (said["email"], said["pin"]) == (rows[host]["email"], rows[host]["pin"])
            assert said["generation"] == rows[host]["generation"]
        held = rows[self.name + "-held"]
        assert held["email"] is None and held["generation"] == 2, "released once: %r" % held
        for host in self.hosts[-2:]:
            lines = database_rows(
                self.lab, "select line, message from vm_log_lines where vm_id = %s order by line", rows[host]["id"])
            wanted = ["%s batch %d line %d" % (host, n, line) for n in range(self.n_batches) for line in range(3)]
            assert [line["message"] for line in lines] == wanted
            assert [line["line"] for line in lines] == list(range(1, len(wanted) + 1))
            assert rows[host]["in_use"]
