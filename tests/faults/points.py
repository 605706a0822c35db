"""The points of src/base/failpoint.h: which there are, read from the sources, and the order that fires one."""

import collections
import mmap
import os
import re
import tempfile

from lab import ROOT

SIZE = 128


def all_points():
    """{prefix: [name, ...]} of every failpoint("PREFIX.WHERE") in the sources."""
    found = collections.defaultdict(list)
    for path in sorted((ROOT / "src").rglob("*.c")):
        for name in re.findall(r'\bfailpoint\("([^"]+)"\)', path.read_text()):
            assert re.fullmatch(r"[a-z]+\.[a-z-]+", name), "%s: %s is no name of a point" % (path, name)
            found[name.partition(".")[0]].append(name)
    return dict(found)


def order_bytes(name, action="kill"):
    return b"A" + ("%s %s" % (name, action)).encode().ljust(SIZE - 1, b"\0")


class Order:
    """The file that a test build reads. One order at a time; it hits once."""

    def __init__(self):
        with tempfile.NamedTemporaryFile(prefix="lablink-test-order-", dir="/tmp", delete=False) as stream:
            stream.write(b"-" * SIZE)
            stream.flush()
            os.chmod(stream.name, 0o666)  # the web process is somebody else
            self.path = stream.name
            self.map = mmap.mmap(stream.fileno(), SIZE)

    def close(self):
        self.map.close()
        os.unlink(self.path)

    def arm(self, name, action="kill"):
        text = order_bytes(name, action)
        self.map[0:1] = b"-"
        self.map[1:SIZE] = text[1:]
        self.map[0:1] = text[:1]

    def disarm(self):
        self.map[0:1] = b"-"

    def hit(self):
        return self.map[0:1] == b"H"
