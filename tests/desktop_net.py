"""Both ends of a desktop for tests: a browser's socket and an agent, by an independent WebSocket library; sockets that
break its rules by hand; and a real X server that speaks RFB.
"""

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import pathlib
import secrets
import select
import shutil
import socket
import ssl
import subprocess
import tempfile

import websockets
import websockets.exceptions

from lab import BUILD, CRD, PATIENCE, wait_until

PROTOCOL = "lablink.tunnel.1"
# The library's own interface changed with version 14.
OLD = int(websockets.__version__.split(".")[0]) < 14
HEADERS = "extra_headers" if OLD else "additional_headers"
Refused = websockets.exceptions.InvalidStatusCode if OLD else websockets.exceptions.InvalidStatus
VERSION = b"RFB 003.008\n"


def status_of(refused):
    return refused.status_code if OLD else refused.response.status_code


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def sit(lab, hostname, email="person@example.org"):
    """A cookie for the seat on `hostname`, which `email` takes when nobody has it."""
    cookie = secrets.token_urlsafe(32)
    lab.sql("update vms set email = %s, crd_command = %s, pin = '123456', generation = generation + 1, assigned_at = now()"
            " where hostname = %s and email is null", email, CRD, hostname)
    lab.sql("insert into desktop_cookies (hash, vm_id, tenancy) select %s, id, tenancy from vms where hostname = %s", digest(cookie), hostname)
    return cookie


def address(lab, path):
    return lab.url.replace("http", "ws", 1) + path


def connect(lab, path, headers=None, protocols=("binary",), origin=True, **more):
    headers = dict(headers or {})
    if origin:
        headers["Origin"] = lab.url if origin is True else origin
    return websockets.connect(
        address(lab, path), **{HEADERS: headers}, subprotocols=list(protocols) or None, max_size=None, ping_interval=None,
        open_timeout=PATIENCE, close_timeout=PATIENCE, **more)


def browse(lab, cookie=None, query="", **more):
    headers = {"Cookie": "lablink_seat=" + cookie} if cookie else {}
    headers.update(more.pop("headers", {}))
    return connect(lab, "/desktop/ws" + query, headers, **more)


async def ending(socket_):
    """(code, reason) of a socket that the other side closes; what comes before is thrown away."""
    async def drain():
        try:
            while True:
                await socket_.recv()
        except websockets.exceptions.ConnectionClosed:
            return

    await asyncio.wait_for(drain(), PATIENCE)
    reason = socket_.close_reason or ""
    return socket_.close_code, (json.loads(reason) if reason.startswith("{") else {}).get("code", reason)


async def said(future):
    return await asyncio.wait_for(future, PATIENCE)


class Agent:
    """An agent that answers as the test wants. Data connections greet with `greeting` and collect what comes."""

    def __init__(self, lab, hostname, token=None, greeting=b"hello from ", dial=True, spare=False):
        self.lab, self.hostname, self.dial, self.spare = lab, hostname, dial, spare
        self.greeting = greeting + hostname.encode() if greeting else b""
        self.headers = {"X-Lablink-Hostname": hostname, "X-Lablink-Boot": "boot"}
        if token:
            self.headers["Authorization"] = "Bearer " + token
        self.asked, self.taken, self.data, self.news = [], bytearray(), [], asyncio.Event()

    async def __aenter__(self):
        self.control = await connect(self.lab, "/api/agent/tunnel", self.headers, (PROTOCOL,), origin=False)
        self.task = asyncio.ensure_future(self.run())
        assert "hello" in json.loads(await said(self.next_message()))
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        await self.control.close()
        for connection in self.data:
            await connection.close()

    async def next_message(self):
        while not self.asked:
            self.news.clear()
            await self.news.wait()
        return self.asked.pop(0)

    async def run(self):
        with contextlib.suppress(websockets.exceptions.ConnectionClosed):
            async for message in self.control:
                self.asked.append(message)
                self.news.set()
                asked = json.loads(message)
                if self.dial and "open" in asked:
                    asyncio.ensure_future(self.open(asked["open"]["id"]))
                if self.spare and "spare" in asked:
                    asyncio.ensure_future(self.open(asked["spare"]["id"], True))

    async def open(self, name, spare=False):
        connection = await connect(self.lab, "/api/agent/data/" + name, self.headers, (PROTOCOL,), origin=False)
        self.data.append(connection)
        self.news.set()
        with contextlib.suppress(websockets.exceptions.ConnectionClosed):
            if spare:
                assert json.loads(await connection.recv()) == {"start": {"target": "desktop"}}
            if self.greeting:
                await connection.send(self.greeting)
            async for message in connection:
                self.taken += message
                self.news.set()

    async def ended(self):
        """(code, reason) with which the allocator ends the control connection."""
        await said(self.control.wait_closed())
        reason = self.control.close_reason or ""
        return self.control.close_code, (json.loads(reason) if reason.startswith("{") else {}).get("code", reason)

    async def until(self, condition):
        async def wait():
            while not condition():
                self.news.clear()
                await self.news.wait()

        await said(wait())

    async def asked_for(self, what):
        while True:
            message = json.loads(await said(self.next_message()))
            if what in message:
                return message[what]


# --- by hand ----------------------------------------------------------------------------------------------------------


def handshake(lab, path, headers=(), early=b""):
    """A socket after its handshake, and the status; the head is read byte by byte, so that nothing behind it is lost."""
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    lines = ["GET %s HTTP/1.1" % path, "Host: 127.0.0.1:%d" % lab.port, "Connection: keep-alive, Upgrade", "Upgrade: WebSocket",
             "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + key, *headers, "", ""]
    connection = socket.create_connection(("127.0.0.1", lab.port), PATIENCE)
    connection.sendall("\r\n".join(lines).encode() + early)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        assert byte, head
        head += byte
    return connection, int(head.split()[1]), head.decode()


def frame(opcode, payload=b"", fin=True, mask=True, first=None, length=None):
    size = len(payload) if length is None else length
    out = bytes([first if first is not None else (0x80 if fin else 0) | opcode])
    bit = 0x80 if mask else 0
    if length is not None or size > 65535:
        out += bytes([bit | 127]) + size.to_bytes(8, "big")
    elif size > 125:
        out += bytes([bit | 126]) + size.to_bytes(2, "big")
    else:
        out += bytes([bit | size])
    key = secrets.token_bytes(4) if mask else b""
    return out + key + (bytes(byte ^ key[at % 4] for at, byte in enumerate(payload)) if mask else payload)


def close_code(connection):
    """The code of the close frame that the other side sends; None: it just went. Other frames are passed over."""
    connection.settimeout(PATIENCE)
    data = b""
    while True:
        try:
            piece = connection.recv(65536)
        except ConnectionResetError:
            piece = b""
        if not piece:
            break
        data += piece
    while len(data) >= 2:
        size, at = data[1] & 127, 2
        if size == 126:
            size, at = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, at = int.from_bytes(data[2:10], "big"), 10
        if data[0] & 15 == 8:
            return int.from_bytes(data[at : at + 2], "big")
        data = data[at + size :]
    return None


# --- a real desktop ---------------------------------------------------------------------------------------------------


def has_xvnc():
    return shutil.which("Xvnc") is not None


class Desktop:
    """Xvnc on a unix socket, with the real agent (lablink-client) before it."""

    def __init__(self, lab, hostname, url=None, token=None, start=True, **environment):
        self.lab, self.hostname, self.url, self.token, self.environment = lab, hostname, url, token, environment
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="lablink-test-desktop-", dir="/tmp"))
        self.socket = self.directory / "rfb"
        self.at_once = start
        self.xvnc = self.agent = None

    def start(self, linked=True):
        self.start_xvnc()
        self.start_agent(linked)

    def start_xvnc(self):
        reader, writer = os.pipe()
        self.xvnc = subprocess.Popen(
            ["Xvnc", "-displayfd", str(writer), "-rfbunixpath", str(self.socket), "-rfbport", "-1", "-SecurityTypes", "None",
             "-geometry", "640x480", "-UseBlacklist=0"],
            pass_fds=[writer], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(self.directory / "xvnc.log", "ab"))
        os.close(writer)
        number = b""
        while not number.endswith(b"\n"):
            assert select.select([reader], [], [], PATIENCE)[0], "Xvnc does not start"
            piece = os.read(reader, 16)
            assert piece, (self.directory / "xvnc.log").read_text()
            number += piece
        os.close(reader)
        wait_until(self.socket.exists)

    def start_agent(self, linked=True):
        environment = {**self.lab.environ(), **self.environment}
        if self.token:
            environment["LABLINK_CLIENT_TOKEN"] = self.token
        self.agent = subprocess.Popen(
            [str(BUILD / "lablink-client"), "--url", self.url or self.lab.url, "--hostname", self.hostname,
             "--set", "client.desktop_socket=%s" % self.socket, "--set", "client.state_file=%s/state" % self.directory, "run"],
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(self.directory / "agent.log", "ab"))
        if linked:
            self.wait_linked()

    def wait_linked(self):
        wait_until(lambda: self.lab.sql("select 1 from agent_links l join vms v on v.id = l.vm_id where v.hostname = %s", self.hostname),
                   PATIENCE, lambda: (self.directory / "agent.log").read_text()[-3000:])

    def __enter__(self):
        if self.at_once:
            self.start()
        return self

    def __exit__(self, *_):
        log = (self.directory / "agent.log").read_text() if self.agent else ""
        for process in (self.agent, self.xvnc):
            if process and process.poll() is None:
                process.terminate()
        status = self.agent.wait(PATIENCE) if self.agent else 0
        if self.xvnc:
            self.xvnc.wait(PATIENCE)
        shutil.rmtree(self.directory, ignore_errors=True)
        assert "Sanitizer" not in log and "runtime error" not in log, log[-6000:]
        assert status in (0, -9), log[-3000:]


class Viewer:
    """The client's side of RFB, as far as a test needs it, over a browser's socket."""

    def __init__(self, connection):
        self.connection, self.buffer = connection, b""

    async def take(self, count):
        while len(self.buffer) < count:
            self.buffer += await said(self.connection.recv())
        piece, self.buffer = self.buffer[:count], self.buffer[count:]
        return piece

    async def begin(self):
        assert await self.take(12) == VERSION
        await self.connection.send(VERSION)
        types = await self.take((await self.take(1))[0])
        assert 1 in types
        await self.connection.send(b"\1")
        assert await self.take(4) == b"\0\0\0\0"
        await self.connection.send(b"\1")
        head = await self.take(24)
        self.width, self.height = int.from_bytes(head[:2], "big"), int.from_bytes(head[2:4], "big")
        await self.take(int.from_bytes(head[20:24], "big"))
        await self.connection.send(b"\2\0\0\1\0\0\0\0")  # Raw alone
        return self

    async def picture(self, incremental=False):
        """The pixels of one whole update, 4 bytes each."""
        await self.connection.send(bytes([3, incremental, 0, 0, 0, 0]) + self.width.to_bytes(2, "big") + self.height.to_bytes(2, "big"))
        assert (await self.take(1))[0] == 0
        count = int.from_bytes((await self.take(3))[1:], "big")
        pixels = b""
        for _ in range(count):
            head = await self.take(12)
            assert head[8:] == b"\0\0\0\0"
            pixels += await self.take(4 * int.from_bytes(head[4:6], "big") * int.from_bytes(head[6:8], "big"))
        return pixels


# --- TLS before the allocator -----------------------------------------------------------------------------------------


class Front:
    """What ends TLS before a lab, as a load balancer does, with a certificate of its own making. Bytes pass unread."""

    def __init__(self, lab):
        self.lab = lab
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="lablink-test-front-", dir="/tmp"))
        self.certificate = self.directory / "certificate.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self.directory / "key.pem", "-out", self.certificate,
                        "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.certificate, self.directory / "key.pem")

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=self.context)
        self.url = "https://localhost:%d" % self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    async def serve(self, reader, writer):
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self.lab.port)

        async def pump(source, sink):
            with contextlib.suppress(OSError, ssl.SSLError):
                while piece := await source.read(65536):
                    sink.write(piece)
                    await sink.drain()
            sink.close()

        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))
