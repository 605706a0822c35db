"""Saving and restoring the lab's database, and upgrading from every released schema: nothing is lost, and what is
refused changes nothing."""

import contextlib
import glob
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import zlib

import psycopg
import pytest

from lab import BUILD, PATIENCE, ROOT, Lab, Process, all_processes, wait_until
from schema_facts import facts, furnish

FIXTURES = sorted(glob.glob(str(ROOT / "tests/fixtures/schema/*.dump")))
NEWEST = max(int(path.name[:4]) for path in (ROOT / "src/lab/migrations").glob("*.sql"))
BIN = pathlib.Path(max(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda place: int(place.split("/")[4])))


def backups(lab):
    return sorted(path.name for path in (lab.state / "backups").glob("*"))


def databases(lab):
    return {row["datname"] for row in lab.sql("select datname from pg_database")}


def told(done):
    return done.stdout + done.stderr


def stop(lab):
    assert lab.interrupt() == 0


@contextlib.contextmanager
def not_started(**words):
    """A lab whose state directory is still to be made."""
    lab = Lab(**words)
    try:
        yield lab
    except BaseException:
        print(lab.log()[-4000:])
        lab.remove()
        raise
    lab.stop()


# --- one lab, there and back ---------------------------------------------------------------------------------------------


def test_round_trip_while_running_and_stopped(new_lab):
    lab = new_lab()
    people = furnish(lab)
    held = facts(lab)
    said = lab.cli("db", "backup", "running.dump").stdout
    assert "running.dump" in said
    file = lab.directory / "running.dump"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert facts(lab) == held
    done = lab.cli("db", "restore", "running.dump", "--yes", check=False)
    assert done.returncode == 1 and "an allocator runs with the state directory" in done.stderr and "stop it first" in done.stderr
    assert facts(lab) == held

    stop(lab)
    said = json.loads(lab.cli("db", "backup", "stopped.dump", "-o", "json").stdout)
    assert said == {"file": "stopped.dump", "bytes": (lab.directory / "stopped.dump").stat().st_size}
    assert not lab.processes(), "the database that was started for the backup still runs"
    lab.start()
    lab.sql("truncate vms, operations, audit, retired_hostnames cascade")
    lab.add_vm("later", email="later@example.org")
    for name in ("running.dump", "stopped.dump"):
        stop(lab)
        done = lab.cli("db", "restore", name, "--yes")
        assert "7 VMs, 3 seats, 4 operations" in done.stdout and not done.stderr
        assert not lab.processes(), "the database that was started for the restore still runs"
        lab.start()
        assert facts(lab) == held
        assert not {"lablink_restore_new", "lablink_restore_old"} & databases(lab)
    # the same person gets the same seat, and numbers go on where they were
    answer = lab.post("/api/request_vm", json={"email": "ada@example.org", "crd_command": "x --code=4/0AeanS0a_again"}, headers={"Accept": "application/json"})
    assert answer.json()["hostname"] == people["ada@example.org"] and answer.json()["returning"]
    assert lab.destroy()["state"] == "done"

    with not_started(name="other") as other:  # another machine's
        assert "7 VMs" in other.cli("db", "restore", str(lab.directory / "running.dump"), "--yes").stdout
        other.start()
        assert facts(other) == held
        site = (other.state / "site").read_text().strip()
        assert {row["site"] for row in other.sql("select site from vms union select site from operations")} == {site}


def test_file_names(lab):
    lab.cli("db", "backup")
    made = [path.name for path in lab.directory.glob("lablink-*.dump")]
    assert len(made) == 1 and re.fullmatch(r"lablink-\d{8}-\d{6}\.dump", made[0])
    (lab.directory / "somewhere").mkdir()
    lab.cli("db", "backup", "somewhere")
    assert len(list((lab.directory / "somewhere").glob("lablink-*.dump"))) == 1
    old = lab.directory / "old.dump"
    old.write_text("precious")
    done = lab.cli("db", "backup", "old.dump", check=False)
    assert done.returncode == 1 and "is there already" in done.stderr and old.read_text() == "precious"
    lab.cli("db", "backup", "old.dump", "--yes")
    assert old.read_bytes().startswith(b"PGDMP") and stat.S_IMODE(old.stat().st_mode) == 0o600
    done = lab.cli("db", "backup", "nowhere/x.dump", check=False)
    assert done.returncode == 1 and "nowhere/x.dump" in done.stderr
    assert not list(lab.directory.glob("*.dump.*")), "a half file was left"
    done = lab.cli("db", "backup", "--url", "http://127.0.0.1:1", check=False)
    assert done.returncode == 2 and "on the machine of the lab" in done.stderr


def test_no_lab_there():
    lab = Lab(name="none")
    try:
        done = lab.cli("db", "backup", check=False)
        assert done.returncode == 1 and "there is no lab in" in done.stderr and not lab.state.exists()
    finally:
        lab.remove()


# --- what is refused -----------------------------------------------------------------------------------------------------


def foreign_dump(lab, path):
    """A whole archive of pg_dump, of another program's database."""
    lab.sql("create schema elsewhere")
    lab.sql("create table elsewhere.settings as select 'a' as key, 1 as value")
    url = "host=%s dbname=lablink_db user=lablink" % (lab.state / "db/run")
    subprocess.run([BIN / "pg_dump", "-Fc", "-n", "elsewhere", "-f", str(path), url], check=True)
    lab.sql("drop schema elsewhere cascade")


def largest_block(dump):
    """(start, end) of the longest compressed block: rows. What stands behind the blocks depends on pg_dump's version."""
    found = []
    for match in re.finditer(b"x\x9c", dump):
        inflate = zlib.decompressobj()
        with contextlib.suppress(zlib.error):
            inflate.decompress(dump[match.start():])
            found += [(match.start(), len(dump) - len(inflate.unused_data))] if inflate.eof else []
    return max(found, key=lambda block: block[1] - block[0])


def test_what_is_no_whole_backup_is_refused(new_lab):
    lab = new_lab()
    furnish(lab)
    lab.cli("db", "backup", "good.dump")
    good = (lab.directory / "good.dump").read_bytes()
    start, end = largest_block(good)
    bad = {"empty": b"", "text": b"select 1;\n", "magic": b"PGDMP", "head": good[:2000], "half": good[: len(good) // 2],
           "without its end": good[: end - 100], "random": os.urandom(5000), "nul": b"\0" * 100000}
    flipped = bytearray(good)
    flipped[(start + end) // 2] ^= 0xFF  # a block has a checksum
    bad["flipped"] = bytes(flipped)
    for name, content in bad.items():
        (lab.directory / name).write_bytes(content)
    foreign_dump(lab, lab.directory / "foreign")
    lab.sql("insert into schema_migrations (number, name) values (9999, 'future')")
    lab.cli("db", "backup", "newer")
    lab.sql("delete from schema_migrations where number = 9999")
    held = facts(lab)
    stop(lab)
    for name in [*bad, "foreign", "newer", "somewhere", "."]:
        done = lab.cli("db", "restore", name, "--yes", check=False)
        assert done.returncode == 1, (name, told(done))
        assert name == "somewhere" or "is refused" in done.stderr, (name, told(done))
        assert len(done.stderr.splitlines()) <= 2, done.stderr
        assert not lab.processes(), "nothing is started for what is refused"
    assert "schema 9999" in lab.cli("db", "restore", "newer", "--yes", check=False).stderr
    assert "of another database" in lab.cli("db", "restore", "foreign", "--yes", check=False).stderr
    done = lab.cli("db", "restore", "good.dump", "--yes", "--set", "db.table_name=machines", check=False)
    assert done.returncode == 1 and "db.table_name" in done.stderr
    done = lab.cli("db", "restore", "good.dump", check=False)
    assert done.returncode == 2 and "wants the word yes" in done.stderr
    lab.start()
    assert facts(lab) == held


def test_a_restore_asks_and_waits_for_nobody(new_lab):
    lab = new_lab(config={"db": {"table_name": "Class_A"}})
    named = ("--config", str(lab.config_file))
    lab.add_vm("same", email="same@example.org", generation=3)
    lab.add_vm("other", email="first@example.org", generation=1)
    lab.cli(*named, "db", "backup", "lab.dump")
    lab.sql("update vms set generation = 5, email = 'second@example.org' where hostname = 'other'")
    lab.kill("supervisor")  # the database goes on
    wait_until(lambda: not lab.role("web") and not lab.role("runner"), PATIENCE)

    with lab.database() as psql:
        psql.execute("select 1")
        done = lab.cli(*named, "db", "restore", "lab.dump", "--yes", check=False)
        assert done.returncode == 1 and "nothing was changed" in done.stderr and "accessed by other users" in done.stderr
        assert "lablink_restore_new" not in databases(lab)
    assert lab.postmaster_pid(), "a database that somebody else started is left running"

    holder = subprocess.Popen(["flock", str(lab.state / "runner.lock"), "sh", "-c", "echo held; exec sleep 600"], stdout=subprocess.PIPE, text=True,
                              start_new_session=True)
    try:
        assert holder.stdout.readline() == "held\n"
        done = lab.cli(*named, "db", "restore", "lab.dump", "--yes", check=False)
        assert done.returncode == 1 and "an operation still runs" in done.stderr
    finally:
        os.killpg(holder.pid, signal.SIGKILL)
        holder.wait()

    def answer(word):
        line = "%s --state-dir %s --config %s db restore lab.dump" % (BUILD / "lablink", lab.state, lab.config_file)
        return subprocess.run(["script", "-qec", line, "/dev/null"], input=word + "\n", capture_output=True, text=True,
                              cwd=lab.directory, env=lab.environ(), timeout=PATIENCE)

    done = answer("no")
    assert done.returncode == 1 and "2 VMs, 2 seats, 0 operations" in done.stdout and "nothing was done" in done.stdout
    assert lab.vm("other")["generation"] == 5
    done = answer("yes")
    assert done.returncode == 0, done.stdout
    lab.start()
    # a seat that was given to others since is newer than theirs, or its VM would take it for an old one
    assert {vm["hostname"]: (vm["email"], vm["generation"]) for vm in lab.vms()} == {
        "same": ("same@example.org", 3), "other": ("first@example.org", 6)}
    assert lab.startup("other", body={"generation": 5}).result(PATIENCE).json()["email"] == "first@example.org"
    # no row is of a transaction that is still to come: dashboards would show it as changed for ever
    assert lab.sql("select count(*) as n from vms where changed_xid >= pg_snapshot_xmax(pg_current_snapshot())")[0]["n"] == 0


# --- crashes -------------------------------------------------------------------------------------------------------------


def superuser(lab):
    return psycopg.connect(host=str(lab.state / "db/run"), dbname="postgres", user="postgres", autocommit=True)


def test_a_restore_that_is_ended_in_the_middle(new_lab):
    lab = new_lab()
    furnish(lab)
    lab.cli("db", "backup", "lab.dump")
    lab.sql("delete from vms where hostname = 'vm-7'")
    held = facts(lab)
    for number in (signal.SIGINT, signal.SIGKILL):
        lab.kill("supervisor")  # the database goes on, so that a lock can be held in it
        wait_until(lambda: not lab.role("web") and not lab.role("runner"), PATIENCE)
        with superuser(lab) as watcher, superuser(lab) as blocker, blocker.transaction():
            blocker.execute("lock table pg_database in share mode")  # holds the restore where it makes its database
            command = subprocess.Popen([str(BUILD / "lablink"), "--state-dir", str(lab.state), "db", "restore", "lab.dump", "--yes"],
                                       cwd=lab.directory, env=lab.environ(), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            wait_until(lambda: watcher.execute(
                "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%lablink_restore_new%'").fetchone()[0], PATIENCE)
            command.send_signal(number)
            if number == signal.SIGKILL:
                command.wait(PATIENCE)
        said = command.communicate(timeout=PATIENCE)[1]
        if number == signal.SIGINT:
            assert command.returncode == 1 and "nothing was changed" in said
        lab.start()
        assert facts(lab) == held
    stop(lab)
    lab.cli("db", "restore", "lab.dump", "--yes")
    lab.start()
    assert lab.vm("vm-7") and not {"lablink_restore_new", "lablink_restore_old"} & databases(lab)


def test_a_backup_that_is_ended_leaves_no_file(lab):
    with lab.database() as connection, connection.transaction():
        connection.execute("lock table vms in access exclusive mode")
        command = subprocess.Popen([str(BUILD / "lablink"), "--state-dir", str(lab.state), "db", "backup", "x.dump"],
                                   cwd=lab.directory, env=lab.environ(), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        wait_until(lambda: dumps(lab), PATIENCE)
        command.send_signal(signal.SIGINT)
        said = command.communicate(timeout=PATIENCE)[1]
    assert command.returncode == 1 and "nothing was saved" in said
    assert not list(lab.directory.glob("x.dump*")) and not dumps(lab)


def dumps(lab):
    return [process for process in all_processes() if process.program == "pg_dump" and str(lab.directory) in process.command]


# --- upgrades ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: pathlib.Path(path).stem)
def test_every_released_schema(path):
    held = json.loads(pathlib.Path(path).with_suffix(".json").read_text())
    with not_started(name="old", config={"logs": {"keep": "3650d"}}) as lab:
        lab.cli("db", "restore", path, "--yes")
        lab.start()
        running = [number for number, operation in held["operations"].items() if operation["state"] == "running"]
        assert running
        wait_until(lambda: all(lab.operation(number)["state"] == "interrupted" for number in running), PATIENCE)
        now = facts(lab)
        for number in running:  # its end was written at the start
            for name in ("state", "error", "ended_at", "result"):
                held["operations"][number][name] = now["operations"][number][name]
            held["output"][number] = now["output"][number]
        assert now == held
        for name, vm in held["vms"].items():
            if vm["email"]:
                seat = lab.startup(name).result(PATIENCE).json()
                assert (seat["email"], seat["pin"], seat["command"], seat["generation"]) == (
                    vm["email"], vm["pin"], vm["crd_command"], vm["generation"])
        for name in held["retired"]:
            assert lab.post("/api/vm-status", json={"hostname": name, "status": "running"}).status_code == 404
        schema = pathlib.Path(path).stem
        if int(schema) < NEWEST:
            assert [name for name in backups(lab) if name.startswith("before-migration-%s-" % schema)], backups(lab)
        else:
            assert not backups(lab)
        assert lab.sql("select max(number) as n from schema_migrations")[0]["n"] == NEWEST


def test_every_schema_has_its_fixture():
    wanted = {"%04d" % number for number in range(1, NEWEST + 1)}
    assert {pathlib.Path(path).stem for path in FIXTURES} == wanted, "run tools/make-schema-fixture"


def test_the_schema_at_start(new_lab):
    lab = new_lab()
    furnish(lab)
    held = facts(lab)
    applied = lab.sql("select number, name from schema_migrations")

    def start_fails():
        """What the allocator says. The embedded database still runs then."""
        mark = len(lab.log())
        lab.start(wait=False)
        assert lab.wait_exit() == 1
        return lab.log()[mark:]

    # a newer one is refused
    lab.sql("insert into schema_migrations (number, name) values (9999, 'future')")
    stop(lab)
    assert "the database has schema 9999, but this program knows only %d" % NEWEST in start_fails()
    assert not backups(lab)
    # an older one is saved first, here one whose migration runs into the tables that are there
    lab.sql("delete from schema_migrations")
    lab.sql("insert into schema_migrations (number, name) values (0, 'none')")
    (lab.state / "backups").write_text("in the way")
    said = start_fails()
    assert "could not be saved" in said or "backups" in said
    assert "migration 0001" not in said, "no migration without a backup"
    (lab.state / "backups").unlink()
    (lab.state / "backups").mkdir()
    old = ["before-migration-0000-2020010%d-000000.dump" % number for number in range(1, 6)]
    for name in [*old, "mine.dump"]:
        (lab.state / "backups" / name).write_text("old")
    for _ in range(2):
        said = start_fails()
        assert "saving it first as" in said and "migration 0001_initial" in said
    left = [name for name in backups(lab) if name != "mine.dump"]
    assert left[:3] == old[2:] and len(left) == 5 and "mine.dump" in backups(lab)
    newest = lab.state / "backups" / left[-1]
    assert stat.S_IMODE(newest.stat().st_mode) == 0o600 and stat.S_IMODE(newest.parent.stat().st_mode) == 0o700
    assert newest.read_bytes().startswith(b"PGDMP")
    # nothing was lost by it
    lab.sql("delete from schema_migrations")
    for row in applied:
        lab.sql("insert into schema_migrations (number, name) values (%s, %s)", row["number"], row["name"])
    lab.start()
    assert facts(lab) == held


# --- an external database ------------------------------------------------------------------------------------------------

PASSWORD = "canary-Wf7xPq"


@pytest.fixture
def server(tmp_path_factory):
    """A PostgreSQL of its own that asks for a password, with a role that may do nothing but use its database."""
    place = pathlib.Path(subprocess.check_output(["mktemp", "-d", "/tmp/lablink-test-server-XXXXXX"], text=True).strip())
    user = pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    os.chown(place, user.pw_uid, user.pw_gid)
    become = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    subprocess.run([BIN / "initdb", "-D", place / "data", "-U", "postgres", "--auth-local=trust", "--auth-host=scram-sha-256"],
                   check=True, stdout=subprocess.DEVNULL, cwd="/", **become)
    process = subprocess.Popen([BIN / "postgres", "-D", place / "data", "-k", place, "-p", str(port), "-c", "listen_addresses=127.0.0.1",
                                "-c", "fsync=off"], stderr=open(place / "log", "w"), cwd="/", **become)

    def sql(*statements, dbname="postgres"):
        with psycopg.connect(host=str(place), port=port, user="postgres", dbname=dbname, autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def up():
        try:
            return sql("select 1")
        except psycopg.OperationalError:
            return None

    try:
        wait_until(up, PATIENCE)
        sql("create role lab_role login password '%s'" % PASSWORD, "create database lab owner lab_role")
        yield {"host": "127.0.0.1", "port": port, "dbname": "lab", "user": "lab_role", "password": PASSWORD, "mode": "external"}, sql
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)
        shutil.rmtree(place)


class ExternalLab(Lab):
    @contextlib.contextmanager
    def database(self):
        db = self.config["db"]
        with psycopg.connect(host=db["host"], port=db["port"], dbname=db["dbname"], user=db["user"], password=db["password"],
                             autocommit=True, row_factory=psycopg.rows.dict_row) as connection:
            yield connection

    def cli(self, *words, **more):
        return super().cli("--config", str(self.config_file), *words, **more)


def test_external_database(server):
    db, sql = server
    with ExternalLab(name="external", config={"db": db}) as lab:
        furnish(lab)
        held = facts(lab)
        with lab.database() as connection, connection.transaction():
            connection.execute("lock table vms in access exclusive mode")
            command = subprocess.Popen([str(BUILD / "lablink"), "--config", str(lab.config_file), "--state-dir", str(lab.state), "db", "backup", "lab.dump"],
                                       cwd=lab.directory, env={**lab.environ(), "LABLINK_SECRET": "canary-other"}, stdin=subprocess.DEVNULL)
            dump = wait_until(lambda: [process for process in all_processes() if process.ppid == command.pid
                                          and process.program == "pg_dump" and "--version" not in process.argv], PATIENCE)[0]
            for process in (dump, Process(command.pid)):
                assert PASSWORD not in process.command, process
            environment = pathlib.Path("/proc/%d/environ" % dump.pid).read_text()
            assert "canary-other" not in environment
        assert command.wait(PATIENCE) == 0
        assert PASSWORD.encode() not in (lab.directory / "lab.dump").read_bytes()

        lab.sql("delete from vms")
        # the allocator of another machine: no lock of this one, but connections
        done = lab.cli("--state-dir", str(lab.directory / "elsewhere"), "db", "restore", "lab.dump", "--yes", check=False)
        assert done.returncode == 1 and "connections of an allocator or runner" in done.stderr, told(done)
        stop(lab)
        broken = (lab.directory / "lab.dump").read_bytes()
        sql("create table extra_of_others (n int)", "alter table extra_of_others owner to lab_role", dbname="lab")
        assert "7 VMs, 3 seats" in lab.cli("db", "restore", "lab.dump", "--yes").stdout
        assert sql("select count(*) from extra_of_others", dbname="lab") == [(0,)]
        lab.start()
        assert facts(lab) == held
        stop(lab)
        assert broken == (lab.directory / "lab.dump").read_bytes()
        # a statement that fails late leaves all as it was
        sql("create view late as select * from operation_lines", dbname="lab")
        done = lab.cli("db", "restore", "lab.dump", "--yes", check=False)
        assert done.returncode == 1 and "nothing was changed" in done.stderr
        sql("drop view late", "insert into schema_migrations (number, name) values (9999, 'future')", dbname="lab")
        done = lab.cli("db", "restore", "lab.dump", "--yes", check=False)
        assert done.returncode == 1 and "new, empty database" in done.stderr
        sql("delete from schema_migrations where number = 9999", "drop table extra_of_others", dbname="lab")
        lab.start()
        assert facts(lab) == held
