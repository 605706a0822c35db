"""A PostgreSQL of the tests' own, and a proxy before it that can fail in every way a network can."""

import contextlib
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import psycopg
import psycopg.rows



def binary(name):
    found = shutil.which(name)
    places = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/" + name), key=lambda place: int(place.parts[-3]))
    assert places or found, "PostgreSQL's %s is not installed" % name
    return str(places[-1] if places else found)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Cluster:
    """Listens on a port of loopback; everybody is trusted."""

    def __init__(self, environment=None):
        self.environment = dict(environment or {})  # of the server
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="lablink-test-cluster-", dir="/tmp"))
        self.data, self.port = self.directory / "data", free_port()
        self.as_user = []
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.directory, user.pw_uid, user.pw_gid)
            self.as_user = ["setpriv", "--reuid", "postgres", "--regid", str(user.pw_gid), "--clear-groups"]
        self._run("initdb", "-D", str(self.data), "-A", "trust", "-U", "lablink", "--no-sync", "-E", "UTF8", "--locale", "C")
        with open(self.data / "postgresql.conf", "a") as conf:
            conf.write("listen_addresses = '127.0.0.1'\nport = %d\nunix_socket_directories = ''\nfsync = off\n"
                       "max_connections = 60\nclient_connection_check_interval = 1s\n" % self.port)
        self.start()
        self.sql("create database lab", dbname="postgres")

    def _run(self, name, *words, environment=None):
        given = ["%s=%s" % pair for pair in (environment or {}).items()]
        subprocess.run([*self.as_user, "env", *given, binary(name), *words], check=True, capture_output=True, cwd="/")

    def start(self):
        self._run("pg_ctl", "-D", str(self.data), "-l", str(self.directory / "log"), "-w", "-s", "start",
                  environment=self.environment)

    def stop(self, mode="fast"):
        self._run("pg_ctl", "-D", str(self.data), "-m", mode, "-w", "-s", "stop")

    def processes(self):
        """Postmaster and all of its children."""
        postmaster = int((self.data / "postmaster.pid").read_text().split("\n")[0])
        found = [postmaster]
        for name in os.listdir("/proc"):
            if name.isdigit():
                with contextlib.suppress(OSError):
                    stat = pathlib.Path("/proc", name, "stat").read_text()
                    if int(stat[stat.rindex(")") + 2 :].split()[1]) == postmaster:
                        found.append(int(name))
        return found

    @contextlib.contextmanager
    def paused(self):
        """Nothing answers: the postmaster stands still, and every backend that there is."""
        stopped = self.processes()
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in stopped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def reload(self):
        self._run("pg_ctl", "-D", str(self.data), "-s", "reload")

    @contextlib.contextmanager
    def connection(self, dbname="lab"):
        connection = psycopg.connect(host="127.0.0.1", port=self.port, user="lablink", dbname=dbname, autocommit=True,
                                     row_factory=psycopg.rows.dict_row, connect_timeout=10,
                                     options="-c default_transaction_read_only=off")
        try:
            yield connection
        finally:
            connection.close()

    def sql(self, statement, *parameters, dbname="lab"):
        with self.connection(dbname) as connection:
            cursor = connection.execute(statement, parameters or None)
            return cursor.fetchall() if cursor.description else []

    def remove(self):
        with contextlib.suppress(subprocess.CalledProcessError):
            self.stop("immediate")
        shutil.rmtree(self.directory, ignore_errors=True)


class Proxy:
    """Forwards to a port. `cut_after`: how many of the next messages from clients that hold `needle` go through before
    both ends are cut, so that the server has done what nobody hears of. `deaf`: nothing comes back. `closed`: refuses."""

    def __init__(self, port):
        self.target = port
        self.server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.server.getsockname()[1]
        self.pairs, self.lock = set(), threading.Lock()
        self.needle, self.cuts, self.deaf, self.closed = None, 0, None, False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            if self.closed:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.target), 5)
                server.settimeout(None)
            except OSError:
                client.close()
                continue
            pair = (client, server)
            with self.lock:
                self.pairs.add(pair)
            threading.Thread(target=self._pump, args=(pair, client, server, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(pair, server, client, False), daemon=True).start()

    def _pump(self, pair, source, sink, from_client):
        kind = None
        try:
            while data := source.recv(65536):
                if from_client and kind is None and b"application_name" in data:
                    kind = "listener" if b"lablink-listener" in data else "other"
                    if kind == "listener":
                        with self.lock:
                            self.listener = pair
                if not from_client and self.deaf is not None and pair == self.deaf:
                    continue  # the answer gets lost, and nobody says so
                sink.sendall(data)
                if from_client and self.needle and self.needle in data:
                    with self.lock:
                        hit = self.cuts > 0
                        self.cuts -= hit
                    if hit:
                        time.sleep(0.05)  # the server works on it
                        self._close(pair)
        except OSError:
            pass
        self._close(pair)

    def _close(self, pair):
        with self.lock:
            self.pairs.discard(pair)
        for end in pair:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def cut_all(self):
        for pair in list(self.pairs):
            self._close(pair)

    def cut_when(self, needle, times):
        """Cuts `times` connections right after a message that holds `needle` has gone to the server."""
        self.needle, self.cuts = needle, times

    def close(self):
        self.server.close()
        self.cut_all()


def url(port):
    return "postgresql://lablink@127.0.0.1:%d/lab" % port


