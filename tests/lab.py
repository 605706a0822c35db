"""The lab under test: the real allocator with a state directory, database and port of its own, as small as a call.

    with Lab(config={"machine": {"repository": "..."}}) as lab:
        lab.add_vm("vm-1")
        answer = lab.post("/api/request_vm", json={"email": "a@b.c", "crd_command": CRD})
        wait_until(lambda: lab.vm("vm-1")["in_use"])

Nothing is shared between two labs, so any number may run beside each other. Leaving the block stops the lab as Ctrl-C
does and demands that it ended well, that no sanitizer complained and that nothing of it is left: no process, mount,
cgroup or network namespace. LABLINK_BUILD names the directory of the programs (default: build/).
"""

import concurrent.futures
import contextlib
import fcntl
import glob
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import psycopg
import psycopg.rows
import requests
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("LABLINK_BUILD", ROOT / "build")).resolve()
SANITIZED = "build-test" in BUILD.name or os.environ.get("LABLINK_SANITIZED") == "1"
# A deadline says when to give up, never how fast something is; sanitizers and a busy machine only make it wait longer.
PATIENCE = 90 if SANITIZED else 60
ADMIN = "admin"
CODE = "4/0AanRRrtCODEcode-code_code"
CRD = (
    "DISPLAY= /opt/google/chrome-remote-desktop/start-host --code=\"%s\" "
    "--redirect-url=\"https://remotedesktop.google.com/_/oauthredirect\" --name=$(hostname)" % CODE
)
COMPLAINTS = re.compile(r"ERROR: (Address|Leak|Thread)Sanitizer|runtime error:|SUMMARY: \w+Sanitizer|AddressSanitizer:DEADLYSIGNAL")
UIDS_A_VM = 65536
VMS_A_LAB = 64


def wait_until(condition, timeout=30, message=None, every=0.05):
    """Calls condition() until it is true and returns what it said; an assertion inside counts as "not yet"."""
    end = time.monotonic() + timeout
    last = None
    while True:
        try:
            said = condition()
            if said:
                return said
            last = said
        except AssertionError as error:
            last = error
        if time.monotonic() > end:
            text = message() if callable(message) else message
            raise AssertionError("not so after %s s: %s (last: %r)" % (timeout, text or "the condition", last))
        time.sleep(every)


class Process:
    """A process of a lab, found by its number; its start time keeps it from being mistaken for a later one."""

    def __init__(self, pid):
        self.pid = pid
        stat = pathlib.Path("/proc/%d/stat" % pid).read_text()
        after = stat[stat.rindex(")") + 2 :].split()
        self.state, self.ppid, self.started = after[0], int(after[1]), int(after[19])
        self.uid = os.stat("/proc/%d" % pid).st_uid
        self.argv = _read("/proc/%d/cmdline" % pid).split("\0")[:-1]
        try:
            self.program = os.path.basename(os.readlink("/proc/%d/exe" % pid)).replace(" (deleted)", "")
        except OSError:
            # One that hides its memory is read by root alone.
            self.program = "lablink-allocator" if self.argv[1:2] == ["web-process"] else ""

    @property
    def command(self):
        return " ".join(self.argv)

    def alive(self):
        try:
            now = Process(self.pid)
        except (OSError, ValueError):
            return False
        return now.started == self.started and now.state not in "ZX"

    def kill(self, number=signal.SIGKILL):
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def pss_kb(self):
        match = re.search(r"^Pss:\s+(\d+)", _read("/proc/%d/smaps_rollup" % self.pid), re.M)
        return int(match.group(1)) if match else 0

    def __repr__(self):
        return "<%d %s uid %d: %s>" % (self.pid, self.program, self.uid, self.command or "?")


def _read(path):
    try:
        with open(path, errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def all_processes():
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                yield Process(int(name))


def take_block():
    """(lock, first user id) of a block of ids for one lab's VMs that no other lab of this machine has."""
    place = pathlib.Path(tempfile.gettempdir()) / "lablink-test-uids"
    place.mkdir(exist_ok=True)
    while True:
        number = random.randrange(30, 850)
        lock = open(place / str(number), "w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock, UIDS_A_VM * VMS_A_LAB * number
        except OSError:
            lock.close()


class Lab:
    def __init__(self, config=None, sets=(), args=(), environment=None, path=(), name="lab"):
        """config: a dict for config.yaml; sets: --set words; path: directories before the PATH (stand-ins)."""
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="lablink-test-%s-" % name, dir="/tmp"))
        self.directory.chmod(0o755)  # the database's user and the VMs' ids walk through it
        self.state = self.directory / "state"
        self.config_file = self.directory / "config.yaml"
        self.output = self.directory / "allocator.log"
        # A desktop in each VM is for the tests of desktops: {"desktop": {"mode": "browser"}}.
        self.config = {"ssl": {"provider": "none"}, "desktop": {"mode": "crd"}}
        for section, keys in (config or {}).items():
            if isinstance(keys, dict):
                self.config.setdefault(section, {}).update(keys)
            else:
                self.config[section] = keys
        # Labs side by side give their VMs different user ids, which is also how a test finds a lab's processes.
        self._block, self.uid_base = take_block()
        self._groups = set()
        self.config.setdefault("local", {}).setdefault("uid_base", self.uid_base)
        self.uid_base = self.config["local"]["uid_base"]
        self.sets, self.args, self.path = list(sets), list(args), [str(place) for place in path]
        self.environment = dict(environment or {})
        self.process = self.url = None
        self.port = 0
        self._known = {}
        self._session = None

    # --- life ------------------------------------------------------------------------------------------------------

    def command_line(self):
        argv = [str(BUILD / "lablink-allocator"), "--config", str(self.config_file), "--state-dir", str(self.state)]
        argv += ["--listen", "127.0.0.1:%d" % self.port]
        for word in self.sets:
            argv += ["--set", word]
        return argv + self.args

    def environ(self):
        """A clean environment: nothing of the tester's own configuration reaches the lab."""
        kept = ("PATH", "HOME", "LANG", "LC_ALL", "TERM", "TZ", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS")
        environ = {name: os.environ[name] for name in kept if name in os.environ}
        environ.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0")
        environ.setdefault("UBSAN_OPTIONS", "halt_on_error=1:print_stacktrace=1")
        environ["PATH"] = os.pathsep.join(self.path + [environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")])
        environ.update(self.environment)
        return environ

    def start(self, wait=True):
        assert self.process is None or self.process.poll() is not None, "the lab runs already"
        self.config_file.write_text(yaml.safe_dump(self.config))
        self.config_file.chmod(0o600)
        mark = self.output.stat().st_size if self.output.exists() else 0
        with open(self.output, "ab") as output:
            # A session of its own, so that Ctrl-C reaches the lab and what it put in its foreground, not the tester.
            self.process = subprocess.Popen(
                self.command_line(), stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self.environ(),
                cwd=self.directory, start_new_session=True,
            )
        if wait:
            self.wait_ready(mark)
        return self

    def wait_ready(self, mark=0):
        """Until it printed its address; a restart keeps the port."""
        def ready():
            assert self.process.poll() is None, "the allocator ended with %s:\n%s" % (self.process.returncode, self.log()[-4000:])
            return re.search(r"the lab is at (http://[^\s/]*:(\d+))", self.log()[mark:])

        end = time.monotonic() + PATIENCE
        while True:
            match = ready()  # its death is told at once, not after the deadline
            if match:
                break
            if time.monotonic() > end:
                raise AssertionError("no address after %d s:\n%s" % (PATIENCE, self.log()[-4000:]))
            time.sleep(0.02)
        self.url, self.port = match.group(1), int(match.group(2))

    def restart(self):
        self.interrupt()
        return self.start()

    def interrupt(self, timeout=PATIENCE, number=signal.SIGINT):
        """Ctrl-C, as a terminal sends it: to the whole foreground process group. Returns the exit status."""
        self.processes()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)
        return self.wait_exit(timeout)

    def wait_exit(self, timeout=PATIENCE):
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError("still running %d s later:\n%s" % (timeout, self.log()[-4000:])) from None

    def stop(self):
        """Ends the lab well and checks that nothing is left. VMs that the test left running are destroyed first."""
        try:
            if self.process and self.process.poll() is None:
                if self.vm_processes():
                    self.destroy()
                status = self.interrupt()
                assert status == 0, "the allocator ended with %s:\n%s" % (status, self.log()[-4000:])
            self.check_no_complaints()
            self.check_nothing_left()
        finally:
            self.remove()

    def remove(self):
        """Whatever happened: kills what is left of this lab, unmounts and removes its directory."""
        self.kill_all()
        for _, place in sorted(self.mounts(), reverse=True):
            subprocess.run(["umount", "-l", place], check=False, stderr=subprocess.DEVNULL)
        for place in self.cgroups():
            with contextlib.suppress(OSError):
                place.rmdir()
        if self._session:
            self._session.close()
            self._session = None
        if os.environ.get("LABLINK_KEEP"):
            print("kept: %s" % self.directory)
        else:
            shutil.rmtree(self.directory, ignore_errors=True)
        self._block.close()

    def kill_all(self):
        """As if the machine lost its power: every process of the lab, VMs included, by kill -9."""
        for _ in range(20):
            alive = [process for process in self.processes() if process.alive()]
            for process in alive:
                process.kill()
            if self.process and self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            if not alive:
                return
            time.sleep(0.1)
        raise AssertionError("cannot be killed: %r" % alive)

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.stop()
        else:
            self.remove()

    # --- what is there -----------------------------------------------------------------------------------------------

    def log(self):
        return _read(self.output)

    def check_no_complaints(self):
        found = COMPLAINTS.search(self.log())
        assert not found, "a sanitizer complained:\n%s" % self.log()[max(0, found.start() - 200) : found.start() + 6000]

    def processes(self):
        """Every process of this lab: named by its state directory, with a user id of its VMs, or started by one such."""
        everyone = {process.pid: process for process in all_processes()}
        mine = {}
        state = str(self.state)
        uids = range(self.uid_base, self.uid_base + VMS_A_LAB * UIDS_A_VM)
        for process in everyone.values():
            known = self._known.get(process.pid)
            if process.pid == os.getpid():
                continue
            if state in process.command or process.uid in uids or (known and known.started == process.started):
                mine[process.pid] = process
            elif self.process and process.pid == self.process.pid and self.process.poll() is None:
                mine[process.pid] = process
        grew = True
        while grew:
            children = {pid: process for pid, process in everyone.items() if process.ppid in mine and pid not in mine}
            children.pop(os.getpid(), None)
            mine.update(children)
            grew = bool(children)
        self._known.update(mine)
        return [process for process in mine.values() if process.state not in "ZX"]

    def vm_processes(self):
        """Those that live inside VMs: they run under the lab's own block of user ids."""
        uids = range(self.uid_base, self.uid_base + VMS_A_LAB * UIDS_A_VM)
        found = [process for process in self.processes() if process.uid in uids]
        for process in found:
            self._note_groups(process)
        return found

    def role(self, role):
        """supervisor, web, postgres, runner or agent: the processes that are that now."""
        supervisor = self.process.pid if self.process and self.process.poll() is None else None
        found = []
        for process in self.processes():
            if role == "supervisor":
                match = process.pid == supervisor
            elif role == "web":
                match = process.program == "lablink-allocator" and process.pid != supervisor
            elif role == "postgres":
                match = process.pid == self.postmaster_pid()
            elif role == "runner":
                match = process.program == "lablink-runner"
            elif role == "agent":
                match = process.program == "lablink-client"
            else:
                raise ValueError("no role %r" % role)
            if match:
                found.append(process)
        return found

    def kill(self, role, number=signal.SIGKILL):
        """kill -9 of a role; returns the processes, dead now. For a role that nobody has: waits until somebody does."""
        victims = wait_until(lambda: self.role(role), message="no %s to kill" % role, every=0.005)
        for victim in victims:
            victim.kill(number)
        if number == signal.SIGKILL:
            if role == "supervisor":
                self.process.wait()
            wait_until(lambda: not any(victim.alive() for victim in victims), message="%r after kill -9" % victims)
        return victims

    def postmaster_pid(self):
        first = _read(self.state / "db/data/postmaster.pid").split("\n")[0]
        return int(first) if first.isdigit() else None

    def mounts(self):
        """(mount number, place) of what is mounted below the lab's directory, as this test's namespace sees it."""
        found = []
        for line in _read("/proc/self/mountinfo").splitlines():
            words = line.split()
            if words[4].startswith(str(self.directory)):
                found.append((int(words[0]), words[4]))
        return found

    def cgroups(self):
        """Directories of the control groups that this lab's VMs were seen in, and what lies below, deepest first."""
        found = set()
        for group in self._groups:
            for root in glob.glob("/sys/fs/cgroup" + group) + glob.glob("/sys/fs/cgroup/*" + group):
                found |= {pathlib.Path(folder) for folder, _, _ in os.walk(root)}
        return sorted(found, key=lambda place: -len(place.parts))

    def _note_groups(self, process):
        for line in _read("/proc/%d/cgroup" % process.pid).splitlines():
            path = line.split(":", 2)[-1]
            match = re.match(r"(.*/lablink-[0-9a-f]{8})(/|$)", path)
            if match:
                self._groups.add(match.group(1))

    def vm_names_on_disk(self):
        with contextlib.suppress(OSError):
            return sorted(name for name in os.listdir(self.state / "vms") if not name.startswith("."))
        return []

    def check_nothing_left(self):
        wait_until(lambda: not self.processes(), 20, lambda: "left running: %r" % self.processes())
        assert not self.mounts(), "left mounted: %r" % self.mounts()
        assert not self.vm_names_on_disk(), "left on disk: %r" % self.vm_names_on_disk()
        assert not self.cgroups(), "left: %r" % self.cgroups()

    # --- HTTP ----------------------------------------------------------------------------------------------------------

    @property
    def password(self):
        return (self.state / "admin-password").read_text().strip()

    @property
    def admin(self):
        """(user, password) for requests' auth=."""
        return (self.config.get("app", {}).get("admin_user", ADMIN), self.config.get("app", {}).get("admin_password") or self.password)

    def admin_url(self, path):
        """For a browser: logs in by what stands before the host."""
        user, password = self.admin
        return self.url.replace("http://", "http://%s:%s@" % (user, requests.utils.quote(password, safe=""))) + path

    def session(self):
        """Keeps connections and cookies; bypasses proxies of the tester's environment."""
        session = requests.Session()
        session.trust_env = False
        return session

    def admin_session(self, json=True):
        session = self.session()
        session.auth = self.admin
        session.headers["Accept"] = "application/json" if json else "text/html"
        return session

    def request(self, method, path, admin=False, timeout=PATIENCE, **more):
        """path is sent as it is (no clean-up of dots and encodings). Redirects are not followed."""
        if self._session is None:
            self._session = self.session()
        # A cookie that one test got must not log in the next.
        self._session.cookies.clear()
        if admin:
            more["auth"] = self.admin
        more.setdefault("allow_redirects", False)
        request = self._session.prepare_request(requests.Request(method, self.url + "/", **_request_words(more)))
        query = request.url.partition("?")[2]
        request.url = self.url + path + (("&" if "?" in path else "?") + query if query else "")
        return self._session.send(request, timeout=timeout, **more)

    def get(self, path, **more):
        return self.request("GET", path, **more)

    def post(self, path, **more):
        return self.request("POST", path, **more)

    def raw(self, data, timeout=PATIENCE):
        """Sends bytes as they are and returns all bytes until the lab closes the connection (add Connection: close)."""
        with socket.create_connection(("127.0.0.1", self.port), timeout) as connection:
            connection.sendall(data if isinstance(data, bytes) else data.encode())
            received = b""
            while True:
                try:
                    part = connection.recv(65536)
                except ConnectionResetError:
                    return received
                if not part:
                    return received
                received += part

    def startup(self, hostname, **more):
        """A VM that waits for its seat: POST /vm_startup in a thread. Returns a Future of the answer."""
        future = concurrent.futures.Future()

        def wait():
            try:
                with self.session() as session:
                    future.set_result(session.post(
                        self.url + "/vm_startup", json={"hostname": hostname, **more.pop("body", {})}, timeout=600, **more))
            except Exception as error:  # the test sees it where it asks for the answer
                future.set_exception(error)

        threading.Thread(target=wait, daemon=True, name="startup %s" % hostname).start()
        return future

    # --- database ------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def database(self):
        """A connection to the embedded database; rows are dicts, each statement commits by itself."""
        connection = psycopg.connect(
            host=str(self.state / "db/run"), dbname=self.config.get("db", {}).get("dbname", "lablink_db"),
            user=self.config.get("db", {}).get("user", "lablink"), autocommit=True, row_factory=psycopg.rows.dict_row,
        )
        try:
            yield connection
        finally:
            connection.close()

    def sql(self, statement, *parameters):
        """Rows of a statement as dicts; [] of one that has none."""
        with self.database() as connection:
            cursor = connection.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    @property
    def table(self):
        return self.config.get("db", {}).get("table_name", "vms")

    def add_vm(self, hostname, status="available", **columns):
        """A client VM that exists as a row only: what API tests need, without a sandbox. With an e-mail it is a taken seat."""
        if columns.get("email"):
            columns = {"crd_command": CRD, "pin": "123456", "generation": 1, **columns}
        columns = {"hostname": hostname, "status": status, **columns}
        names = ", ".join('"%s"' % name for name in columns)
        marks = ", ".join("%s" for _ in columns)
        rows = self.sql('insert into "%s" (%s) values (%s) returning *' % (self.table, names, marks), *columns.values())
        return rows[0]

    def vm(self, hostname):
        rows = self.sql('select * from "%s" where hostname = %%s' % self.table, hostname)
        return rows[0] if rows else None

    def vms(self):
        return self.sql('select * from "%s" order by hostname' % self.table)

    def reset(self):
        """Empties every table but those that describe the schema, so that a test finds a lab without VMs."""
        kept = {"schema_version", "lablink_schema", "migrations", "settings"}
        tables = [row["tablename"] for row in self.sql("select tablename from pg_tables where schemaname = 'public'")]
        names = ", ".join('"%s"' % name for name in tables if name not in kept)
        def emptied():
            with contextlib.suppress(psycopg.errors.DeadlockDetected):  # the lab still writes for the test before
                self.sql("truncate %s cascade" % names)
                return True

        if names:
            wait_until(emptied)

    # --- the operator's hands ------------------------------------------------------------------------------------------

    def cli(self, *words, check=True, stdin=None, timeout=PATIENCE):
        """Runs build/lablink against this lab."""
        done = subprocess.run(
            [str(BUILD / "lablink"), "--state-dir", str(self.state), *words], env=self.environ(), cwd=self.directory,
            input=stdin, stdin=subprocess.DEVNULL if stdin is None else None, capture_output=True, text=True, timeout=timeout,
        )
        if check:
            assert done.returncode == 0, "lablink %s: exit %d\n%s%s" % (" ".join(words), done.returncode, done.stdout, done.stderr)
        return done

    def launch(self, count, wait=True):
        answer = self.post("/api/launch", json={"num_vms": count}, admin=True, headers={"Accept": "application/json"})
        assert answer.status_code == 202, (answer.status_code, answer.text)
        operation = answer.json()["operation"]
        return self.wait_operation(operation["id"]) if wait else operation

    def destroy(self, wait=True):
        answer = self.post("/destroy", admin=True, headers={"Accept": "application/json"})
        assert answer.status_code == 202, (answer.status_code, answer.text)
        operation = answer.json()["operation"]
        return self.wait_operation(operation["id"]) if wait else operation

    def operation(self, number):
        answer = self.get("/api/operations/%s" % number, admin=True)
        assert answer.status_code == 200, (answer.status_code, answer.text)
        said = answer.json()
        return said.get("operation", said)

    def wait_operation(self, number, timeout=180, states=("done",)):
        """Until it ended; an end in another state than those wanted is told with the operation's output."""
        ended = wait_until(
            lambda: (lambda operation: operation if operation["state"] not in ("queued", "running") else None)(self.operation(number)),
            timeout, lambda: "operation %s: %r" % (number, self.operation(number)), every=0.1,
        )
        assert ended["state"] in states, "operation ended as %s:\n%s\n%s" % (
            ended["state"], json.dumps(ended, indent=2), self.get("/api/operations/%s/output" % number, admin=True).text)
        return ended


def _request_words(more):
    """Takes what requests.Request wants out of the keywords; the rest is for sending."""
    words = ("params", "data", "json", "headers", "cookies", "files", "auth")
    return {name: more.pop(name) for name in words if name in more}
