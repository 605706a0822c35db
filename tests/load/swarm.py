"""Thousands of HTTP/1.1 connections from one thread: bare sockets and one epoll, so that the client is not what is measured.

    with Swarm(lab.port, 1000) as swarm:
        answers = swarm.exchange([post("/api/request_vm", {...}) for ...])     # request k on connection k, all at once

Each Answer carries the seconds from its sending to its last byte. A connection that was closed answers with status 0.
"""

import collections
import json
import os
import select
import socket
import time

Answer = collections.namedtuple("Answer", "status headers body seconds")
CLOSED = 0


def post(path, body, **headers):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return _head("POST", path, {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}) + data


def get(path, **headers):
    return _head("GET", path, headers)


def _head(method, path, headers):
    headers = {"Host": "lab", "Accept": "application/json", **headers}
    lines = ["%s %s HTTP/1.1" % (method, path)] + ["%s: %s" % (name.replace("_", "-"), value) for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def unchunk(data):
    """(bytes, complete) of a chunked body as far as it has come."""
    body, at = bytearray(), 0
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            return bytes(body), False
        size = int(data[at:end].split(b";")[0], 16)
        if size == 0:
            return bytes(body), data.find(b"\r\n", end + 2) >= 0
        if len(data) < end + 2 + size + 2:
            return bytes(body), False
        body += data[end + 2 : end + 2 + size]
        at = end + 2 + size + 2


def percentile(values, part):
    """The value below which `part` of 100 of them are."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part / 100))]


class Connection:
    def __init__(self, number, port, receive_buffer=None):
        self.number = number
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.out = b""
        self.received = bytearray()
        self.sent_at = 0.0
        self.owed = False
        self.closed = False

    def answer(self):
        """The answer, when it is whole; what follows it stays."""
        end = self.received.find(b"\r\n\r\n")
        if end < 0:
            return self._cut()
        head = bytes(self.received[:end]).decode("latin-1").split("\r\n")
        headers = {}
        for line in head[1:]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        status = int(head[0].split()[1])
        if headers.get("transfer-encoding") == "chunked":
            body, whole = unchunk(bytes(self.received[end + 4 :]))
            if not whole:
                return self._cut()
            self.received.clear()
        else:
            length = int(headers.get("content-length", 0))
            if len(self.received) < end + 4 + length:
                return self._cut()
            body = bytes(self.received[end + 4 : end + 4 + length])
            del self.received[: end + 4 + length]
        return Answer(status, headers, body, time.monotonic() - self.sent_at)

    def _cut(self):
        return Answer(CLOSED, {}, bytes(self.received), time.monotonic() - self.sent_at) if self.closed else None


class Swarm:
    def __init__(self, port, n, receive_buffer=None):
        self.epoll = select.epoll()
        self.connections = []
        for number in range(n):
            connection = Connection(number, port, receive_buffer)
            self.connections.append(connection)
            self.epoll.register(connection.socket.fileno(), select.EPOLLIN)
        self.by_fd = {connection.socket.fileno(): connection for connection in self.connections}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for connection in self.connections:
            connection.socket.close()
        self.epoll.close()

    def send(self, number, request):
        connection = self.connections[number]
        connection.sent_at = time.monotonic()
        connection.owed = True
        connection.out += request
        self._flush(connection)

    def _flush(self, connection):
        try:
            while connection.out:
                connection.out = connection.out[connection.socket.send(connection.out) :]
        except BlockingIOError:
            pass
        except OSError:
            connection.out, connection.closed = b"", True
        if not connection.closed:
            self.epoll.modify(connection.socket.fileno(), select.EPOLLIN | (select.EPOLLOUT if connection.out else 0))

    def _receive(self, connection):
        try:
            while True:
                part = connection.socket.recv(262144)
                if not part:
                    connection.closed = True
                    return
                connection.received += part
                if len(part) < 262144:
                    return
        except BlockingIOError:
            pass
        except OSError:
            connection.closed = True

    def turn(self, timeout):
        """Connections on which something came within that time."""
        came = []
        for fd, events in self.epoll.poll(timeout, 4096):
            connection = self.by_fd[fd]
            if events & select.EPOLLOUT:
                self._flush(connection)
            if events & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                self._receive(connection)
                came.append(connection)
            if connection.closed:
                self.epoll.unregister(fd)
                del self.by_fd[fd]
        return came

    def answers(self, timeout):
        """(connection number, answer) of those that were completed within a turn."""
        done = []
        for connection in self.turn(timeout):
            answer = connection.owed and connection.answer()
            if answer:
                connection.owed = False
                done.append((connection.number, answer))
        return done

    def exchange(self, requests, patience=120, every=0.0):
        """Sends request k on connection k (None: nothing), `every` seconds apart, and returns the answers in that order."""
        answers = [None] * len(requests)
        left = {number for number, request in enumerate(requests) if request}
        begin, end = time.monotonic(), time.monotonic() + patience
        if every == 0:
            for number in left:
                self.send(number, requests[number])
            queue = []
        else:
            queue = sorted(left, reverse=True)
        while left:
            assert time.monotonic() < end, "%d of %d requests have no answer after %d s" % (len(left), len(requests), patience)
            while queue and begin + queue[-1] * every <= time.monotonic():
                self.send(queue[-1], requests[queue[-1]])
                queue.pop()
            wait = max(0.0, min(1.0, begin + queue[-1] * every - time.monotonic())) if queue else 1.0
            for number, answer in self.answers(wait):
                answers[number] = answer
                left.discard(number)
        return answers

    def one_by_one(self, requests, patience=120):
        """All requests over all connections, the next on each as soon as the one before is answered: [answer, ...]."""
        waiting = collections.deque(enumerate(requests))
        answers, working = [None] * len(requests), {}
        end = time.monotonic() + patience
        for connection in self.connections[: len(requests)]:
            working[connection.number], request = waiting.popleft()
            self.send(connection.number, request)
        while working:
            assert time.monotonic() < end, "%d requests have no answer after %d s" % (len(working) + len(waiting), patience)
            for number, answer in self.answers(1.0):
                answers[working.pop(number)] = answer
                if waiting:
                    working[number], request = waiting.popleft()
                    self.send(number, request)
        return answers


def memory_kb(process):
    """What a process holds in memory by itself: its resident set without what the files of programs share."""
    total = 0
    with open("/proc/%d/status" % process.pid) as stream:
        for line in stream:
            if line.startswith("RssAnon:"):
                total = int(line.split()[1])
    return total


def descriptors(process):
    return len(os.listdir("/proc/%d/fd" % process.pid))


def web_process(lab):
    processes = lab.role("web")
    assert len(processes) == 1, processes
    return processes[0]
