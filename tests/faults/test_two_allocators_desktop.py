"""Two allocators on one database behind one balancer: the agent's tunnel is at one, the participant's page at the other.
What is done at either reaches the socket at the other, and each can take over the desktops of one that is gone."""

import asyncio
import base64
import contextlib
import time

import pytest
import websockets

from balanced import claim, pair  # noqa: F401 (a fixture)
from desktop_net import Desktop, Viewer, browse, connect, ending, has_xvnc
from lab import PATIENCE, wait_until
from workshop import JSON


def call(what, *words, **more):
    return asyncio.get_running_loop().run_in_executor(None, lambda: what(*words, **more))


def told(lab, cookie):
    return lab.get("/api/desktop", headers={"Cookie": "lablink_seat=" + cookie}).json()


@contextlib.asynccontextmanager
async def desktop_page(at, tunnel, cookie):
    """As the page does: its socket at `at` is told where the desktop is, and a ticket opens it there."""
    async with browse(at, cookie) as socket:
        assert await ending(socket) == (4012, "other-allocator")
    ticket = (await call(at.post, "/api/desktop/ticket", headers={"Cookie": "lablink_seat=" + cookie})).json()
    assert ticket["url"] == "ws://localhost:%d/desktop/ws" % tunnel.port
    async with connect(tunnel, "/desktop/ws", origin=at.url, protocols=ticket["protocols"]) as socket:
        await shows_the_desktop(socket)
        yield socket


async def shows_the_desktop(socket):
    viewer = await Viewer(socket).begin()
    assert (viewer.width, viewer.height) == (640, 480)
    assert len(await viewer.picture()) == 4 * 640 * 480


@pytest.mark.skipif(not has_xvnc(), reason="Xvnc is not installed")
def test_the_page_at_one_and_the_tunnel_at_the_other(pair):
    a, b, balancer = pair
    b.add_vm("vm-1")
    first = claim(b)

    async def go():
        async with desktop_page(b, a, first["cookie"]) as page:
            assert (await call(a.get, "/admin", admin=True)).status_code == 200
            admin = {"Authorization": "Basic " + base64.b64encode(":".join(a.admin).encode()).decode()}
            async with browse(a, headers=admin, query="?view=vm-1") as watcher:
                await shows_the_desktop(watcher)
                await call(wait_until, lambda: told(b, first["cookie"])["watching"], PATIENCE)
            await call(wait_until, lambda: not told(b, first["cookie"])["watching"], PATIENCE)
            second = await call(claim, b, return_code=first["return_code"])
            assert await ending(page) == (4001, "elsewhere")
        async with desktop_page(b, a, second["cookie"]) as page:
            done = await call(b.post, "/api/admin/vms/vm-1/release", admin=True, json={"yes": True}, headers=JSON)
            assert done.status_code == 200, done.text
            assert await ending(page) == (4003, "seat-ended")
        b.sql("update vms set needs_reset = false")
        third = await call(claim, b)
        async with desktop_page(b, a, third["cookie"]) as page:
            balancer.target = b.port
            await call(a.kill_all)
            assert (await ending(page))[0] in (1001, 1006)  # its web process may outlive its supervisor by a word
        end = time.monotonic() + PATIENCE
        while True:  # as the page does: until the agent has come here it is sent there, where nobody answers
            try:
                async with browse(b, third["cookie"]) as page:
                    return await shows_the_desktop(page)
            except websockets.exceptions.ConnectionClosed:
                assert page.close_code in (1013, 4010, 4011, 4012) and time.monotonic() < end, page.close_code
                await asyncio.sleep(0.1)

    with Desktop(a, "vm-1", "http://127.0.0.1:%d" % balancer.port):
        asyncio.run(asyncio.wait_for(go(), 5 * PATIENCE))
    wait_until(lambda: not b.sql("select 1 from agent_links"), PATIENCE)
