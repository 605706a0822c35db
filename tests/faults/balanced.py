"""Two allocators on one database, each with a URL of its own for browsers, behind one balancer that agents connect to."""

import contextlib

import pytest

from lab import PATIENCE, Lab
from postgres import Cluster, Proxy, free_port, url
from workshop import JSON

EMAIL = "person@example.org"


@pytest.fixture
def pair(request):
    """(a, b, balancer): the balancer leads to `a` until its target is another."""
    labs = request.node.labs = []
    with contextlib.ExitStack() as stack:
        cluster = Cluster()
        stack.callback(cluster.remove)
        for name in ("a", "b"):
            port = free_port()
            lab = Lab(name=name, config={"db": {"url": url(cluster.port)}, "desktop": {"mode": "browser", "url": "http://localhost:%d" % port}})
            stack.callback(lab.remove)
            lab.port, lab.database = port, cluster.connection
            labs.append(lab.start())
        balancer = Proxy(labs[0].port)
        stack.callback(balancer.close)
        yield (*labs, balancer)
        if not getattr(request.node, "failed", False):
            for lab in labs:
                lab.stop()


def claim(lab, **fields):
    """By a fresh browser: what the lab said, with the cookie."""
    with lab.session() as browser:
        answer = browser.post(lab.url + "/api/request_vm", json={"email": EMAIL, **fields}, headers=JSON, timeout=PATIENCE)
        assert answer.status_code == 200, answer.text
        return {**answer.json(), "cookie": browser.cookies["lablink_seat"]}
