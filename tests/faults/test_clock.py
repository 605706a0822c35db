"""The machine's clock jumps, by libfaketime for this lab's processes only: waits and limits are measured by the steady
clock, and what the database wrote yesterday or tomorrow harms nobody."""

import glob
import os
import pathlib
import tempfile

import pytest

from lab import SANITIZED, wait_until
from load import Load, database_rows
from postgres import Cluster, url
from workshop import JSON, claim

LIBRARIES = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
pytestmark = pytest.mark.skipif(not LIBRARIES, reason="libfaketime is not installed")


def faked(**more):
    """The steady clock stays as it is: a jump of the machine's clock does not move it either."""
    return {"LD_PRELOAD": LIBRARIES[0], "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_DISABLE_SHM": "1", **more}


def for_lab(environment):
    return {**environment, "ASAN_OPTIONS": "detect_leaks=0:verify_asan_link_order=0"} if SANITIZED else environment


@pytest.fixture
def start(new_lab):
    """A lab and its database under the same faked clock."""
    def start(environment):
        cluster = Cluster(environment)
        new_lab.after.append(cluster.remove)
        lab = new_lab(environment=for_lab(environment), name="clock", database=cluster.connection,
                      config={"db": {"url": url(cluster.port)}})
        return lab, cluster

    return start


def shift(lab):
    """What the database takes for now, against our own clock; days."""
    return database_rows(lab, "select extract(epoch from now() - to_timestamp(%s)) / 86400 as days",
                         float(pathlib.Path("/proc/uptime").read_text().split()[0]) + boot_time())[0]["days"]


def boot_time():
    for line in pathlib.Path("/proc/stat").read_text().splitlines():
        if line.startswith("btime "):
            return int(line.split()[1])
    raise AssertionError("no btime")


def beat(lab, host):
    answer = lab.post("/api/agent/heartbeat", json={"hostname": host, "boot_id": "b", "uptime": 1}, headers=JSON)
    assert answer.status_code == 200, answer.text


def serves(lab, name, hosts):
    """Everything works, and the seats of before are what they were."""
    Load(lab, name).run().check()
    for number, host in enumerate(hosts):
        beat(lab, host)
        assert claim(lab, number).json()["hostname"] == host


def test_jumps_while_it_runs(start):
    """The clock leaps two days ahead, and four back."""
    with tempfile.NamedTemporaryFile("w", prefix="lablink-test-clock-", dir="/tmp") as stream:
        os.chmod(stream.name, 0o644)  # the database is another user
        clock = pathlib.Path(stream.name)
        clock.write_text("+0\n")
        lab, _ = start(faked(FAKETIME_TIMESTAMP_FILE=stream.name, FAKETIME_NO_CACHE="1"))
        leaps(lab, clock)


def leaps(lab, clock):
    hosts = ["steady-0", "steady-1"]
    for host in hosts:
        lab.add_vm(host)
        beat(lab, host)
    for number in range(2):
        assert claim(lab, number).json()["hostname"] == hosts[number]
    waiting = lab.startup(hosts[0], body={"generation": 1})
    for name, word, days in (("ahead", "+2d", 2), ("back", "-2d", -2), ("right", "+0", 0)):
        clock.write_text(word + "\n")
        wait_until(lambda: abs(float(shift(lab)) - days) < 0.1, 30, lambda: str(shift(lab)))
        serves(lab, name, hosts)
        assert lab.get("/readyz").status_code == 200
    assert not waiting.done(), "a VM that waits goes on waiting"
    again = claim(lab, 7, email="p0@example.org").json()
    assert again["generation"] == 2 and waiting.result(60).json()["generation"] == 2
    operation = lab.post("/destroy", admin=True, headers=JSON).json()["operation"]
    lab.wait_operation(operation["id"], states=("done",) if os.geteuid() == 0 else ("done", "failed"))


@pytest.mark.parametrize("order", (("+400d", "-400d"), ("-400d", "+400d")), ids=("ahead-first", "back-first"))
def test_started_in_another_year(start, order):
    """A lab that was started with a wrong clock, and again with one that is wrong in the other direction."""
    lab, cluster = start(faked(FAKETIME=order[0]))
    hosts = ["steady-0", "steady-1"]
    for host in hosts:
        lab.add_vm(host)
        beat(lab, host)
    for number in range(2):
        assert claim(lab, number).json()["hostname"] == hosts[number]
    for name, word in (("other", order[1]), ("none", "+0")):
        assert lab.interrupt() == 0
        cluster.stop()
        lab.environment["FAKETIME"] = cluster.environment["FAKETIME"] = word
        cluster.start()
        lab.start()
        assert abs(float(shift(lab)) - int(word.rstrip("d"))) < 0.1
        serves(lab, name, hosts)
