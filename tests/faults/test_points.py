"""kill -9 at every named point of the sources, under load. A new point is tried by itself: its name's first word says
by which of the scenarios below; a word without a scenario is a failure."""

import io
import os
import pathlib
import tempfile
import time
import zipfile

import pytest

from cloud import Cloud, names
from lab import wait_until
from load import Load, database_rows, until_answered
from points import Order, all_points, order_bytes
from workshop import JSON, claim, inside, records, running

POINTS = all_points()


class Faulty:
    """A lab with an order; `up` starts it again when the order hit its supervisor."""

    def __init__(self, lab, order):
        self.lab, self.order = lab, order

    def up(self):
        if self.lab.process.poll() is not None:
            wait_until(lambda: not self.lab.role("web"), 60)
            self.lab.start()

    def ended(self, number):
        """The operation once it has ended, whoever had to be started again for that."""
        def look():
            self.up()
            rows = database_rows(self.lab, "select state, error from operations where id = %s", number)
            return rows and rows[0]["state"] not in ("queued", "running") and rows[0]["state"]

        return wait_until(look, 120, lambda: "operation %s: %r" % (
            number, database_rows(self.lab, "select * from operations order by id")), every=0.1)

    def operate(self, path, key, body=None):
        """Asks for an operation as a client does that was not answered: again, with the same key."""
        def ask():
            self.up()
            return self.lab.post(path, json=body, admin=True, headers={**JSON, "Idempotency-Key": key})

        return until_answered(ask, good=(202, 200)).json()["operation"]["id"]

    def settled(self):
        """Every row has its machine, every machine its row, and all of them have booted."""
        def look():
            self.up()
            rows = database_rows(self.lab, "select hostname, status, needs_reset from vms where launched order by 1")
            assert [row["hostname"] for row in rows] == sorted(self.lab.vm_names_on_disk()), (rows, self.lab.vm_names_on_disk())
            assert all(row["status"] in ("running", "assigned") and not row["needs_reset"] for row in rows), rows
            assert not self.lab.role("runner")
            return True

        wait_until(look, 150, lambda: self.lab.log()[-3000:], every=0.2)

    def nothing(self):
        assert database_rows(self.lab, "select * from vms") == []
        assert not self.lab.vm_names_on_disk() and not self.lab.vm_processes()


@pytest.fixture
def order():
    order = Order()
    yield order
    order.close()


@pytest.fixture
def faulty(order, new_lab, workshop):
    def start(sandboxes, **words):
        new_lab.environment["TEST_POINTS"] = order.path
        return Faulty(workshop(name="points") if sandboxes else new_lab(name="points", **words), order)

    return start


def requests_fail(faulty, points, prefix):
    """Claims, log lines, reports, releases and waits: whatever was acknowledged holds, whatever was not is asked again."""
    it = faulty(sandboxes=False)
    for point in points:
        load = Load(it.lab, point.replace(".", "-"))
        it.order.arm(point)
        load.run()
        assert it.order.hit(), "%s was never reached" % point
        load.check()
        it.up()


def operations_fail(faulty, points, prefix):
    """What starts, takes and ends an operation."""
    it = faulty(sandboxes=True)
    for point in points:
        it.order.arm(point)
        it.ended(it.operate("/api/launch", point, {"num_vms": 1}))
        wait_until(lambda: it.up() or it.order.hit(), 30, "%s was never reached" % point)
        it.settled()
    it.ended(it.operate("/destroy", "end"))
    it.nothing()


def launches_fail(faulty, points, prefix):
    it = faulty(sandboxes=True)
    for number, point in enumerate(points):
        it.order.arm(point)
        it.ended(it.operate("/api/launch", point, {"num_vms": 2}))
        assert it.order.hit(), "%s was never reached" % point
        it.settled()
        if number % 3 == 2 or number == len(points) - 1:
            assert it.ended(it.operate("/destroy", "destroy " + point)) == "done"
            it.nothing()


def destroys_fail(faulty, points, prefix):
    it = faulty(sandboxes=True)
    for point in points:
        assert it.ended(it.operate("/api/launch", "launch " + point, {"num_vms": 2})) == "done"
        it.order.arm(point)
        it.ended(it.operate("/destroy", point))
        assert it.order.hit(), "%s was never reached" % point
        assert it.ended(it.operate("/destroy", "again " + point)) == "done"
        it.nothing()


def resets_fail(faulty, points, prefix):
    it = faulty(sandboxes=True)
    it.lab.launch(1)
    it.settled()
    for number, point in enumerate(points):
        said = claim(it.lab, number).json()
        it.order.arm(point)
        answer = it.lab.post("/api/admin/vms/%s/release" % said["hostname"], json={"yes": True}, admin=True, headers=JSON)
        assert answer.status_code == 200, answer.text
        wait_until(it.order.hit, 60, "%s was never reached" % point)
        it.settled()
        assert len(it.lab.vms()) == 1
    it.lab.destroy()
    it.nothing()


def collects_fail(faulty, points, prefix):
    """Whoever dies while files are collected: asking again brings what is missing, and the archive is whole."""
    it = faulty(sandboxes=True)
    it.lab.launch(2)
    it.settled()
    hosts = [vm["hostname"] for vm in it.lab.vms()]
    for number, point in enumerate(points):
        for host in hosts:
            place = it.lab.state / "vms" / host / "home" / ("%d.slp" % number)
            place.write_bytes(os.urandom(5000))
        it.order.arm(point)
        it.ended(it.operate("/api/collections", point, {}))
        assert it.order.hit(), "%s was never reached" % point
        assert it.ended(it.operate("/api/collections", "again " + point, {})) == "done"
        collection = it.lab.get("/api/collections", admin=True).json()["collections"][0]
        archive = zipfile.ZipFile(io.BytesIO(it.lab.get(collection["archive"], admin=True).content))
        assert archive.testzip() is None
        for host in hosts:
            for before in range(number + 1):
                place = it.lab.state / "vms" / host / "home" / ("%d.slp" % before)
                assert archive.read("%s/%d.slp" % (host, before)) == place.read_bytes(), point
    assert it.ended(it.operate("/destroy", "end")) == "done"
    it.nothing()


def agents_fail(faulty, points, prefix):
    """The agent's carry-out: at least once, and no more than once when it had time to note it."""
    it = faulty(sandboxes=True)
    it.lab.launch(1)
    it.settled()
    host = it.lab.vms()[0]["hostname"]
    place = "/run/lablink-test-points"
    for number, point in enumerate(points):
        inside(it.lab, host, "sh", "-c", "cat >%s && chmod 666 %s" % (place, place), root=True,
               stdin=order_bytes(point).decode())
        before = len(records(it.lab, host))
        answer = until_answered(lambda: claim(it.lab, number, email="agent@example.org"))
        said = answer.json()
        hit = lambda: inside(it.lab, host, "head", "-c1", place, root=True) == "H"
        wait_until(hit, 60, "%s was never reached" % point, every=0.2)
        carried = lambda: it.lab.sql("select carried_generation from vm_presence")[0]["carried_generation"] == said["generation"]
        wait_until(carried, 60, "carried out after %s" % point)
        calls = records(it.lab, host)[before:]
        assert 1 <= len(calls) <= (2 if point == "agent.host-ended" else 1), (point, calls)
        assert all(call["input"] == [said["pin"], said["pin"]] for call in calls)
    log = it.lab.get("/api/vm-logs/" + host, admin=True).json()["logs"]
    assert log.count("a seat was assigned (generation %d)" % said["generation"]) == 1
    it.lab.destroy()
    it.nothing()


def applies_fail(faulty, points, prefix):
    """The runner dies before its engine has begun, which asks for a repair, or when it has ended, which does not."""
    with tempfile.TemporaryDirectory(prefix="lablink-test-cloud-", dir="/tmp") as place:
        cloud = Cloud(pathlib.Path(place))
        it = faulty(sandboxes=False, config=cloud.config())
        pending = it.lab.state / "terraform/pending.json"
        code = lambda: it.up() or it.lab.get("/readyz").json()["provider"]["code"]
        for number, point in enumerate(points, 1):
            it.order.arm(point)
            assert it.ended(it.operate("/api/launch", point, {"num_vms": 1})) == "interrupted"
            assert it.order.hit(), "%s was never reached" % point
            if point == "terraform.before-apply":
                assert pending.exists() and len(cloud.machines()) == number - 1
                wait_until(lambda: code() == "interrupted-apply", 120)
                assert it.ended(it.operate("/api/admin/repair", "repair " + point, {"action": "retry"})) == "done"
            wait_until(lambda: not pending.exists() and code() == "ready", 120, lambda: it.lab.log()[-3000:])
            wanted = names(*range(1, number + 1))
            assert [vm["hostname"] for vm in it.lab.vms()] == wanted == cloud.machines()
        assert it.ended(it.operate("/destroy", "end")) == "done"
        assert it.lab.vms() == [] and cloud.machines() == []


SCENARIOS = {
    "claim": requests_fail, "logs": requests_fail, "report": requests_fail, "release": requests_fail,
    "assignment": requests_fail, "operation": operations_fail, "launch": launches_fail, "destroy": destroys_fail,
    "reset": resets_fail, "agent": agents_fail, "collect": collects_fail, "terraform": applies_fail,
}


@pytest.mark.parametrize("turn", range(int(os.environ.get("ROUNDS", 1))))
@pytest.mark.parametrize("prefix", sorted(POINTS))
def test_kill_at_every_point(faulty, prefix, turn):
    assert prefix in SCENARIOS, "no scenario for %s" % POINTS[prefix]
    started = time.monotonic()
    SCENARIOS[prefix](faulty, POINTS[prefix], prefix)
    print("%s: %d points in %.1f s" % (prefix, len(POINTS[prefix]), time.monotonic() - started))


def test_points_are_unique():
    names = [name for points in POINTS.values() for name in points]
    assert len(names) == len(set(names)) >= 20


def test_kill_a_child_of_the_runner(faulty):
    """A sandbox dies while its runner makes it: the launch says so, and rows and machines agree."""
    it = faulty(sandboxes=True)
    for point in ("launch.sandbox-spawned", "launch.sandbox-up", "launch.sandbox-recorded"):
        it.order.arm(point, "sleep 1500")
        number = it.operate("/api/launch", point, {"num_vms": 2})
        wait_until(it.order.hit, 60)
        for process in it.lab.vm_processes():
            process.kill()
        it.ended(number)
        it.settled()
    assert it.ended(it.operate("/destroy", "end")) == "done"
    it.nothing()
