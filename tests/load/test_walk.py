"""A random walk through the lab's life against a model of it that knows no SQL: after each step every answer, and the
whole table, must be as the model says. The seed is printed; LABLINK_SEED repeats a walk.

What machines and providers do to rows without a request (a launch names a VM, a reset makes it fresh, a reconcile misses
it) the walk does by SQL, as the runner does; all else goes over HTTP, some of it many at once.
"""

import contextlib
import json
import os
import random

import psycopg.rows
from swarm import Swarm, get, post

STATUSES = ("initializing", "running", "available", "error", "assigned", "unknown")
NAMES = ["vm-%d" % number for number in range(40)]
CONNECTIONS = 12
USES = 9  # of one e-mail: ten a minute are allowed, and the walk must not depend on the clock
COLUMNS = ("hostname", "email", "pin", "generation", "status", "reported_status", "in_use", "healthy", "needs_reset", "crd_command")


class Vm:
    def __init__(self, hostname, status, reported=None):
        self.hostname, self.status, self.reported = hostname, status, reported
        self.email = self.pin = self.code = self.healthy = None
        self.generation, self.in_use, self.needs_reset = 0, False, False

    def claimable(self):
        return self.email is None and self.status in ("running", "available") and self.healthy is not False and not self.needs_reset

    def shown(self):
        return "assigned" if self.email and self.status in ("running", "available") else self.status

    def word(self):
        """Any word but a status ends a silence."""
        if self.status == "unknown":
            self.status = self.reported or "initializing"

    def row(self):
        return (self.hostname, self.email, self.pin, self.generation, self.status, self.reported, self.in_use, self.healthy, self.needs_reset)


class Walk:
    def __init__(self, lab, swarm, database, seed):
        self.lab, self.swarm, self.database = lab, swarm, database
        self.random = random.Random(seed)
        self.vms = {}  # by name, in the order in which they were made
        self.retired = set()
        self.uses = {}
        self.people = 0
        self.trail = []
        self.cookie = None

    # --- requests -----------------------------------------------------------------------------------------------------

    def ask(self, request):
        return self.swarm.exchange([request])[0]

    def expect(self, answer, status, /, **members):
        assert answer.status == status, (status, answer)
        said = json.loads(answer.body)
        for name, value in members.items():
            assert said[name] == value, (name, value, said)
        return said

    def admin(self, request):
        """The cookie of the first log-in, so that not every release pays for a password check."""
        return request.replace(b"\r\n", b"\r\nCookie: %s\r\n" % self.cookie, 1)

    def log_in(self):
        answer = self.lab.get("/api/operations", admin=True)
        assert answer.status_code == 200
        self.cookie = "; ".join("%s=%s" % (cookie.name, cookie.value) for cookie in answer.cookies).encode()
        assert self.cookie, answer.headers

    # --- people and machines to choose from ---------------------------------------------------------------------------

    def email(self):
        """Somebody who has a seat, somebody who has none yet, or somebody new."""
        usable = [email for email, uses in self.uses.items() if uses < USES]
        if usable and self.random.random() < 0.5:
            email = self.random.choice(usable)
        else:
            self.people += 1
            email = "p%d@example.org" % self.people
        self.uses[email] = self.uses.get(email, 0) + 1
        if self.uses[email] >= USES and not self.seat(email):
            del self.uses[email]
        return email

    def seat(self, email):
        return next((vm for vm in self.vms.values() if vm.email == email), None)

    def name(self):
        return self.random.choice(NAMES)

    def claim_request(self, email, code):
        return post("/api/request_vm", {"email": email, "crd_command": "start-host --code=%s" % code})

    def code(self):
        return "4/0A-random-code-%d" % self.random.randrange(3)

    # --- what may happen ----------------------------------------------------------------------------------------------

    def claim(self):
        email, code = self.email(), self.code()
        answer = self.ask(self.claim_request(email, code))
        vm = self.seat(email)
        if vm:
            vm.generation += vm.code != code
            vm.code = code
            self.expect(answer, 200, hostname=vm.hostname, pin=vm.pin, generation=vm.generation, returning=True)
            return
        free = next((vm for vm in self.vms.values() if vm.claimable()), None)
        if not free:
            self.expect(answer, 503, code="no-seat-free")
            return
        said = self.expect(answer, 200, hostname=free.hostname, email=email, generation=free.generation + 1, returning=False)
        self.take(free, email, said["pin"], code)

    def take(self, vm, email, pin, code):
        vm.email, vm.pin, vm.code = email, pin, code
        vm.generation += 1

    def volley(self):
        """Claims at once, some by one person twice, while others' seats are released."""
        code = self.code()
        people = [email for email in (self.email() for _ in range(CONNECTIONS - 3)) if not self.seat(email)]
        free = {vm.hostname for vm in self.vms.values() if vm.claimable()}
        held = [vm for vm in self.vms.values() if vm.email]
        leaving = self.random.sample(held, min(2, len(held)))
        requests = [self.claim_request(email, code) for email in people] + [self.release_request(vm.hostname) for vm in leaving]
        answers = self.swarm.exchange(requests)
        for vm, answer in zip(leaving, answers[len(people) :]):
            self.released(vm, answer)
        winners = {}
        for email, answer in zip(people, answers):
            if answer.status == 200:
                winners.setdefault(email, []).append(json.loads(answer.body))
            else:
                self.expect(answer, 503, code="no-seat-free")
        assert len(winners) == min(len(set(people)), len(free)), (winners, free, people)
        for email, said in winners.items():
            vm = self.vms[said[0]["hostname"]]
            assert vm.hostname in free and sum(not one["returning"] for one in said) == 1, said
            assert {(one["hostname"], one["pin"], one["generation"]) for one in said} == {(vm.hostname, said[0]["pin"], vm.generation + 1)}
            free.remove(vm.hostname)
            self.take(vm, email, said[0]["pin"], code)

    def release_request(self, hostname):
        return self.admin(post("/api/admin/vms/%s/release" % hostname, {"yes": True}))

    def released(self, vm, answer):
        assert answer.status == 200, answer
        vm.email = vm.pin = vm.code = None
        vm.generation, vm.needs_reset, vm.in_use = vm.generation + 1, True, False

    def release(self):
        name = self.name()
        answer = self.ask(self.release_request(name))
        vm = self.vms.get(name)
        if vm and (vm.email or vm.status not in ("running", "available") and not vm.needs_reset):
            self.released(vm, answer)
        else:
            self.expect(answer, 409 if vm else 404, code="no-seat" if vm else "unknown-vm")

    def report(self):
        name, status = self.name(), self.random.choice(STATUSES)
        answer = self.ask(post("/api/vm-status", {"hostname": name, "status": status}))
        if name in self.retired:
            self.expect(answer, 404, code="unknown-vm")
            return
        self.expect(answer, 200)
        vm = self.vms.setdefault(name, Vm(name, status))
        vm.status = vm.reported = status

    def in_use(self):
        self.word("/api/update_inuse_status", "in_use", "status", self.random.choice((True, False)))

    def health(self):
        self.word("/api/gpu_health", "healthy", "gpu_status", self.random.choice((True, True, False)))

    def word(self, path, attribute, member, value):
        name = self.name()
        answer = self.ask(post(path, {"hostname": name, member: value}))
        vm = self.vms.get(name)
        if not vm:
            self.expect(answer, 404, code="unknown-vm")
            return
        self.expect(answer, 200)
        vm.word()
        setattr(vm, attribute, value)

    def assignment(self):
        """A VM asks for its seat, and has one."""
        held = [vm for vm in self.vms.values() if vm.email]
        if held:
            vm = self.random.choice(held)
            said = self.expect(self.ask(post("/vm_startup", {"hostname": vm.hostname})), 200, status="success", hostname=vm.hostname,
                               email=vm.email, pin=vm.pin, generation=vm.generation)
            assert vm.code in said["command"]
            vm.word()

    def reads(self):
        shown = [{"hostname": vm.hostname, "status": vm.shown()} for vm in self.vms.values()]
        answer = self.ask(get("/api/vm-status"))
        assert answer.status == 200 and json.loads(answer.body) == shown, (answer, shown)
        self.expect(self.ask(get("/api/unassigned_vms_count")), 200, count=sum(vm.claimable() for vm in self.vms.values()))
        name = self.name()
        answer = self.ask(get("/api/vm-status/" + name))
        if name in self.vms:
            self.expect(answer, 200, hostname=name, status=self.vms[name].shown())
        else:
            self.expect(answer, 404, code="unknown-vm")

    # --- by SQL, as the runner does it ---------------------------------------------------------------------------------

    def launch(self):
        name = self.name()
        self.database.execute("delete from retired_hostnames where hostname = %s", [name])
        self.database.execute("insert into vms (hostname, status) values (%s, 'initializing') on conflict do nothing", [name])
        self.retired.discard(name)
        self.vms.setdefault(name, Vm(name, "initializing"))

    def reset(self):
        used = [vm for vm in self.vms.values() if vm.needs_reset]
        if used:
            vm = self.random.choice(used)
            self.database.execute("update vms set status = 'initializing', reported_status = null, in_use = false where hostname = %s", [vm.hostname])
            self.database.execute("update vms set needs_reset = false where hostname = %s", [vm.hostname])
            vm.status, vm.reported, vm.in_use, vm.needs_reset = "initializing", None, False, False

    def missing(self):
        name = self.name()
        self.database.execute("update vms set status = 'unknown', in_use = false where hostname = %s and status <> 'unknown'", [name])
        vm = self.vms.get(name)
        if vm and vm.status != "unknown":
            vm.status, vm.in_use = "unknown", False

    def retire(self):
        name = self.name()
        if name in self.vms:
            self.database.execute("with went as (delete from vms where hostname = %s returning hostname)"
                                  " insert into retired_hostnames (hostname) select hostname from went", [name])
            del self.vms[name]
            self.retired.add(name)

    def destroy(self):
        """The whole lab, by its own runner."""
        self.lab.destroy()
        self.retired |= set(self.vms)
        self.vms.clear()
        for _ in range(12):
            self.launch()

    # --- the walk -----------------------------------------------------------------------------------------------------

    CHANCES = (("claim", 200), ("report", 250), ("release", 80), ("reset", 60), ("in_use", 60), ("health", 60), ("launch", 60),
               ("missing", 20), ("retire", 10), ("assignment", 60), ("volley", 20), ("reads", 60), ("destroy", 1))

    def check_table(self):
        rows = self.database.execute("select %s from vms order by created_at, id" % ", ".join(COLUMNS)).fetchall()
        assert [row[:-1] for row in rows] == [vm.row() for vm in self.vms.values()]
        for row, vm in zip(rows, self.vms.values()):
            assert (row[-1] is None) == (vm.code is None) and (vm.code is None or vm.code in row[-1]), (row, vm.code)

    def run(self, steps):
        names, weights = zip(*self.CHANCES)
        self.log_in()
        for step in range(steps):
            self.trail = (self.trail + [self.random.choices(names, weights)[0]])[-12:]
            if step % 20000 == 19999:
                self.log_in()
            try:
                getattr(self, self.trail[-1])()
                self.check_table()
            except AssertionError as error:
                raise AssertionError("step %d, after %s: %s" % (step, ", ".join(self.trail), error)) from error
        rows = self.database.execute("select hostname from retired_hostnames").fetchall()
        assert {name for name, in rows} >= self.retired


def test_random_walk(load_lab, say, soak):
    seed, steps = int(os.environ.get("LABLINK_SEED") or random.randrange(1 << 32)), 100000 if soak else 2500
    say("random walk of %d steps, LABLINK_SEED=%d", steps, seed)
    lab = load_lab()
    with contextlib.ExitStack() as stack:
        swarm = stack.enter_context(Swarm(lab.port, CONNECTIONS))
        database = stack.enter_context(lab.database())
        database.row_factory = psycopg.rows.tuple_row
        Walk(lab, swarm, database, seed).run(steps)
