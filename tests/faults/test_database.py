"""PostgreSQL fails in every way it can, while people and VMs go on asking: they are told 503 and when to come again, in
time; /readyz says why; and when the database is back so is the lab, with everything that it acknowledged and without a
restart."""

import concurrent.futures
import contextlib
import os
import signal
import subprocess
import time

import pytest

from lab import CRD, PATIENCE, wait_until
from load import Load, database_rows, fill_disk, until_answered
from postgres import Cluster, Proxy, url
from workshop import JSON

DEADLINE = 10  # what the lab allows a request while its database does not answer
SLACK = 15     # of this machine, not of the lab


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster()
    yield cluster
    cluster.remove()


@pytest.fixture
def on_cluster(cluster, new_lab):
    """Starts labs on the cluster, behind a proxy of their own."""
    proxies = []

    def start(fresh=True, **words):
        if fresh:
            cluster.sql("drop database if exists lab with (force)", dbname="postgres")
            cluster.sql("create database lab", dbname="postgres")
        proxy = Proxy(cluster.port)
        proxies.append(proxy)
        lab = new_lab(config={"db": {"url": url(proxy.port)}}, name="faults", database=cluster.connection, **words)
        lab.proxy = proxy
        return lab

    yield start
    for proxy in proxies:
        proxy.close()


def some_request(lab, number):
    """One of the requests that matter; (path, status, Retry-After, seconds). What they ask for changes
    no seat: 503 does not promise that nothing was done, and the others' seats are counted."""
    kinds = [
        ("POST", "/api/request_vm", {"json": {"email": "somebody@example.org", "crd_command": CRD}}),
        ("POST", "/api/vm-status", {"json": {"hostname": "vm-1", "status": "running"}}),
        ("POST", "/api/vm-logs", {"json": {"log_group": "g", "log_stream": "vm-1", "messages": ["x"]}}),
        ("POST", "/api/agent/heartbeat", {"json": {"hostname": "vm-1"}}),
        ("POST", "/api/admin/vms/nobody/release", {"json": {"yes": True}, "auth": lab.admin}),
    ]
    method, path, more = kinds[number % len(kinds)]
    began = time.monotonic()
    with lab.session() as session:
        answer = session.request(method, lab.url + path, headers=JSON, timeout=PATIENCE, **more)
    return path, answer.status_code, answer.headers.get("Retry-After"), time.monotonic() - began


def refuses_in_time(lab):
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda number: some_request(lab, number), range(10)))
    for path, status, after, seconds in answers:
        assert status == 503 and int(after) > 0, answers
        assert seconds < DEADLINE + SLACK, answers


def says_why(lab, codes):
    def look():
        answer = lab.get("/readyz")
        assert answer.status_code == 503, answer.text
        said = answer.json()["database"]
        return said["code"] in codes and said["hint"]

    assert wait_until(look, 60, lambda: lab.get("/readyz").text)
    assert lab.get("/healthz").status_code == 200


def is_back(lab):
    wait_until(lambda: lab.get("/readyz").status_code == 200, 60, lambda: lab.get("/readyz").text)


@contextlib.contextmanager
def restarted(lab, cluster):
    cluster.stop("immediate")
    yield
    cluster.start()


@contextlib.contextmanager
def paused(lab, cluster):
    with cluster.paused():
        yield


@contextlib.contextmanager
def refusing(lab, cluster):
    lab.proxy.closed = True
    lab.proxy.cut_all()
    yield
    lab.proxy.closed = False


@contextlib.contextmanager
def locked_out(lab, cluster):
    rules = (cluster.data / "pg_hba.conf").read_text()
    set_rules = lambda text: ((cluster.data / "pg_hba.conf").write_text(text), cluster.reload())
    set_rules("host lab lablink 127.0.0.1/32 reject\n" + rules)
    cluster.sql("select pg_terminate_backend(pid) from pg_stat_activity where datname = 'lab'", dbname="postgres")
    yield
    set_rules(rules)


@contextlib.contextmanager
def read_only(lab, cluster):
    cluster.sql("alter system set default_transaction_read_only = on", dbname="postgres")
    cluster.reload()
    yield
    cluster.sql("alter system reset default_transaction_read_only", dbname="postgres")
    cluster.reload()


FAULTS = {
    restarted: {"not-connected"}, paused: {"no-answer", "not-connected"}, refusing: {"not-connected"},
    locked_out: {"not-connected"}, read_only: {"read-only"},
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_database_gone_and_back(on_cluster, cluster, fault):
    lab = on_cluster()
    lab.add_vm("vm-1", email="somebody@example.org")
    before = [process.pid for process in lab.role("supervisor") + lab.role("web")]
    load = Load(lab, "during").start()
    with fault(lab, cluster):
        refuses_in_time(lab)
        says_why(lab, FAULTS[fault])
    is_back(lab)
    load.finish().check()
    Load(lab, "after").run().check()
    assert before == [process.pid for process in lab.role("supervisor") + lab.role("web")], "nothing was restarted"


def test_connections_cut_in_mid_statement(on_cluster):
    """The server has done what it was asked, and the answer is lost: asked again, it is not done twice."""
    lab = on_cluster()
    for needle, name in ((b"seat_claim", "claim"), (b"logs_append", "logs"), (b"seat_release", "release"), (b"report", "report")):
        load = Load(lab, name)
        lab.proxy.cut_when(needle, 3)
        load.run()
        assert lab.proxy.cuts < 3, "nothing was cut at %s" % name
        lab.proxy.cut_when(None, 0)
        load.check()


def test_embedded_restarts(new_lab):
    """The embedded database is stopped by somebody in each way that it knows, or killed, it or one of its backends: the
    supervisor, or PostgreSQL itself, starts it again."""
    lab = new_lab(name="embedded")
    for name, number in (("smart", signal.SIGTERM), ("fast", signal.SIGINT), ("immediate", signal.SIGQUIT), ("killed", signal.SIGKILL)):
        load = Load(lab, name).start()
        old = lab.postmaster_pid()
        os.kill(old, number)
        if name == "smart":  # waits until everybody has gone
            lab.kill("web")
        wait_until(lambda: lab.postmaster_pid() not in (None, old), 60, lambda: lab.log()[-2000:])
        load.finish().check()
    for number in range(3):
        load = Load(lab, "backend%d" % number).start()
        backend = database_rows(lab, "select pid from pg_stat_activity where application_name = 'lablink-allocator' limit 1")[0]["pid"]
        os.kill(backend, signal.SIGKILL)
        load.finish().check()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_disk_of_the_database_full(new_lab):
    """A disk of 200 MB: full, every write is refused in time, nothing that was acknowledged is lost, and when there is room
    again it goes on by itself."""
    lab = new_lab(wait=None, name="full")
    (lab.state / "db").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m,mode=0755", "lablink-test", str(lab.state / "db")], check=True)
    try:
        lab.start()
        lab.add_vm("vm-1", email="somebody@example.org")
        Load(lab, "before").run().check()
        fill = lab.state / "db/filler"
        fill_disk(fill)
        body = {"log_group": "g", "log_stream": "vm-1", "messages": ["y" * 20000] * 40}

        def full():
            answer = lab.post("/api/vm-logs", json=body)
            assert answer.status_code in (200, 503), answer.text
            return answer.status_code == 503

        wait_until(full, 90)
        says_why(lab, {"disk-full", "not-connected"})
        fill.unlink()
        until_answered(lambda: lab.post("/api/vm-logs", json=body))
        is_back(lab)
        Load(lab, "after").run().check()
        assert len({row["email"] for row in database_rows(lab, "select email from vms where email is not null")}) == 17
        lab.interrupt()
    finally:
        lab.kill_all()
        subprocess.run(["umount", "-l", str(lab.state / "db")], check=True)


# --- notifications ---------------------------------------------------------------------------------------------------------


def seated(lab, host, email):
    """A seat given behind the lab's back: as another allocator gives it, with nothing but the notification."""
    lab.sql("update vms set email = %s, crd_command = 'x', pin = '123456', generation = generation + 1 where hostname = %s",
            email, host)


def test_listener_cut_between_claim_and_wake(on_cluster, cluster):
    """The notification goes out while nobody listens; at the latest two seconds after somebody does again the VM has its seat."""
    lab = on_cluster()
    for number in range(8):
        lab.add_vm("vm-%d" % number)
    waits = [lab.startup("vm-%d" % number) for number in range(8)]
    wait_until(lambda: len(lab.sql("select 1 from vm_presence")) == 8, 30)
    listening = "select pid from pg_stat_activity where application_name = 'lablink-listener'"
    for number, wait in enumerate(waits):
        lab.proxy.closed = True  # it may not come back before the seat is given
        cluster.sql("select pg_terminate_backend(pid) from (%s) l" % listening)
        wait_until(lambda: not cluster.sql(listening), 30)
        seated(lab, "vm-%d" % number, "p%d@example.org" % number)
        lab.proxy.closed = False
        wait_until(lambda: cluster.sql(listening), 30)
        again = time.monotonic()
        said = wait.result(PATIENCE).json()
        assert said["email"] == "p%d@example.org" % number
        assert time.monotonic() - again < 2 + SLACK
        print("assignment %.2f s after the listener was back" % (time.monotonic() - again))


def test_notifications_lost_and_repeated(on_cluster, cluster):
    """A connection that swallows what the server sends; and a storm of notifications that say nothing new."""
    lab = on_cluster()
    for number in range(4):
        lab.add_vm("vm-%d" % number)
    waits = [lab.startup("vm-%d" % number) for number in range(4)]
    wait_until(lambda: len(lab.sql("select 1 from vm_presence")) == 4, 30)
    lab.sql("select pg_notify('vm_updates', 'vm-' || n % 4), pg_notify('lablink_operations', '7') from generate_series(1, 5000) n")
    channel = lab.sql("select 1")  # the lab still serves
    assert channel and lab.get("/readyz").status_code == 200
    assert not any(wait.done() for wait in waits)
    lab.proxy.deaf = lab.proxy.listener
    seated(lab, "vm-0", "lost@example.org")
    assert waits[0].result(PATIENCE).json()["email"] == "lost@example.org"
    lab.proxy.deaf = None
    answer = until_answered(lambda: lab.post("/api/request_vm", json={"email": "p1@example.org", "crd_command": CRD}, headers=JSON))
    host = int(answer.json()["hostname"][-1])
    assert waits[host].result(PATIENCE).json()["email"] == "p1@example.org"
    for wait in waits:
        if not wait.done():
            seated(lab, "vm-%d" % waits.index(wait), "rest%d@example.org" % waits.index(wait))
            assert wait.result(PATIENCE).json()["status"] == "success"
