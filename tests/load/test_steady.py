"""A lab that does everything again and again holds neither more memory nor more descriptors in the end than after it warmed up.
`make soak` does it for LABLINK_SOAK_MINUTES (20), `make test` for some rounds."""

import json
import os
import time

from lab import CRD, wait_until
from swarm import Swarm, descriptors, get, memory_kb, percentile, post, web_process

VMS, TELEMETRY = 40, 200
ROUNDS = 6  # of the short version


def cookie_of(lab):
    answer = lab.get("/api/operations", admin=True)
    return "; ".join("%s=%s" % (one.name, one.value) for one in answer.cookies)


class Load:
    def __init__(self, lab):
        self.lab, self.number, self.people = lab, 0, 0
        self.cookie = cookie_of(lab)

    def round(self):
        """Every connection of a round is its own, and gone at its end."""
        self.number += 1
        self.seats()
        self.words()
        self.pages()
        self.strangers()

    def seats(self):
        """VMs wait, people claim, each VM hears of its person, and all seats are released and made fresh."""
        with Swarm(self.lab.port, VMS) as vms, Swarm(self.lab.port, VMS) as people:
            held = {row["hostname"]: row["generation"] for row in self.lab.sql("select hostname, generation from vms")}
            for number in range(VMS):
                vms.send(number, post("/vm_startup", {"hostname": "vm-%d" % number, "generation": held["vm-%d" % number]}))
            claims = []
            for _ in range(VMS):
                self.people += 1
                claims.append(post("/api/request_vm", {"email": "p%d@example.org" % self.people, "crd_command": CRD}))
            answers = people.exchange(claims)
            assert all(answer.status == 200 for answer in answers), answers[0]
            told, end = {}, time.monotonic() + 120
            while len(told) < VMS:
                assert time.monotonic() < end, "%d VMs wait for ever" % (VMS - len(told))
                told.update(vms.answers(1.0))
            assert {json.loads(answer.body)["email"] for answer in told.values()} == {json.loads(answer.body)["email"] for answer in answers}
            released = people.exchange([post("/api/admin/vms/vm-%d/release" % number, {"yes": True}, Cookie=self.cookie) for number in range(VMS)])
            assert all(answer.status == 200 for answer in released), released[0]
        self.lab.sql("update vms set needs_reset = false")

    def words(self):
        requests = []
        for number in range(TELEMETRY):
            name = "vm-%d" % (number % VMS)
            requests += [
                post("/api/agent/heartbeat", {"hostname": name, "boot_id": "b%d" % self.number, "uptime": 1}),
                post("/api/vm-status", {"hostname": name, "status": "running"}),
                post("/api/gpu_health", {"hostname": name, "gpu_status": "Healthy"}),
                post("/api/vm-metrics/" + name, {"cloud_init_duration_seconds": self.number}),
                post("/api/vm-logs", {"log_group": "g", "log_stream": name, "messages": ["round %d line %d" % (self.number, n) for n in range(20)]}),
                get("/api/vm-logs/%s?tail=50" % name), get("/api/vm-status/" + name),
            ]
        with Swarm(self.lab.port, 20) as swarm:
            answers = swarm.one_by_one(requests)
        assert all(answer.status == 200 for answer in answers), [answer for answer in answers if answer.status != 200][:2]

    def pages(self):
        """Dashboards that come and go while rows change, and pages as a browser asks for them."""
        with Swarm(self.lab.port, 5) as dashboards, Swarm(self.lab.port, 5) as browser:
            for number in range(5):
                dashboards.send(number, get("/api/events", Accept="text/event-stream", Cookie=self.cookie))
            pages = ("/", "/admin", "/admin/instances", "/admin/logs/vm-1", "/admin/operations", "/api/vm-logs/vm-1", "/healthz", "/readyz")
            answers = browser.one_by_one([get(path, Accept="text/html", Cookie=self.cookie) for path in pages])
            assert all(answer.status == 200 for answer in answers), answers
            self.lab.sql("update vms set in_use = not in_use")
            end = time.monotonic() + 0.5
            while time.monotonic() < end:
                dashboards.turn(0.1)

    def strangers(self):
        """What is refused, and what is cut off in the middle."""
        wrong = [get("/no/such/page"), post("/api/vm-status", b"{"), post("/api/vm-status", {"hostname": "vm-1", "status": "asleep"}),
                 post("/api/request_vm", {"email": "nobody"}), get("/admin/instances"), b"nonsense\r\n\r\n", get("/api/vm-logs/..%2f..%2fetc")]
        with Swarm(self.lab.port, len(wrong)) as swarm:
            answers = swarm.exchange(wrong)
            assert all(answer.status in (0, 400, 401, 404, 422) for answer in answers), answers
        with Swarm(self.lab.port, 20) as swarm:
            for number in range(20):
                swarm.send(number, post("/api/vm-logs", {"log_group": "g", "log_stream": "vm-1", "messages": ["x" * 1000]})[: 80 + 40 * number])
            swarm.turn(0.2)


def test_memory_and_descriptors_stay_flat(load_lab, say, soak):
    minutes = float(os.environ.get("LABLINK_SOAK_MINUTES") or 20)
    lab = load_lab(logs={"keep_size": "1M"})
    for number in range(VMS):
        lab.add_vm("vm-%d" % number, "running")
    web = web_process(lab)
    load, memory, files = Load(lab), [], []
    at_first, end = descriptors(web), time.monotonic() + minutes * 60
    while time.monotonic() < end if soak else load.number < ROUNDS:
        load.round()
        # A connection that its client closed goes within moments; half a request may stay until its time is over.
        wait_until(lambda: descriptors(web) <= at_first, 150, lambda: "%d descriptors, %d at first" % (descriptors(web), at_first))
        memory.append(memory_kb(web))
        files.append(descriptors(web))
        if soak and load.number % 50 == 0:
            say("round %d: %.1f MB, %d descriptors", load.number, memory[-1] / 1024, files[-1])
    third = len(memory) // 3
    warm, last = percentile(memory[third : 2 * third], 50), percentile(memory[-third:], 50)
    say("%d rounds: memory %.1f MB in the middle, %.1f MB at the end; descriptors %d, at first %d", load.number, warm / 1024, last / 1024,
        files[-1], at_first)
    assert last < 1.1 * warm + 2048, memory
    assert web.alive() and max(files) <= at_first
