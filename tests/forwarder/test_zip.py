"""The zip that `make lambda` builds, in a root directory that holds nothing else: no C library, no certificates, no shell;
only /dev, /proc and, where a test says so, what the Lambda runtime has there.

`make test-lambda` names a zip that is there already, by LABLINK_LAMBDA_ZIP. One for another processor is run by qemu's user
mode emulation, a static program that is the only other thing in that root.
"""

import os
import pathlib
import re
import shutil
import ssl
import subprocess
import sys
import zipfile

import pytest

from function import Front, event, failed, function, stored
from lab import BUILD, ROOT, SANITIZED

GIVEN = os.environ.get("LABLINK_LAMBDA_ZIP")
# A sanitized program is not what is shipped: then it is the one in build/.
PLAIN = ROOT / "build" if SANITIZED else BUILD
MACHINE = re.search(r"-([^-]+)\.zip$", GIVEN).group(1) if GIVEN else os.uname().machine
QEMU = [] if MACHINE == os.uname().machine else ["qemu-%s-static" % MACHINE]
pytestmark = [
    pytest.mark.skipif(not GIVEN and not (PLAIN / "build.ninja").exists(), reason="no build of what is shipped"),
    pytest.mark.xdist_group("zip"),
]
# As Lambda sets it: the runtime's own directories come first, and the C library there is another.
LIBRARY_PATH = "/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib"


def built(path):
    subprocess.run([str(ROOT / "tools/make-lambda"), "--build", str(PLAIN), "--output", str(path)], check=True)
    return path


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return pathlib.Path(GIVEN) if GIVEN else built(tmp_path_factory.mktemp("zip") / "forwarder.zip")


@pytest.fixture
def task(archive, tmp_path):
    """The zip's content, with the modes it says, as Lambda unpacks it."""
    place = tmp_path / "task"
    with zipfile.ZipFile(archive) as files:
        files.extractall(place)
        for entry in files.infolist():
            (place / entry.filename).chmod(entry.external_attr >> 16 & 0o777)
    return place


def bare(task, *more):
    """The command line that starts the function in such a root; `more`: words for bwrap."""
    for emulator in QEMU:
        more = [*more, "--ro-bind", shutil.which(emulator), "/emulator", "/emulator"]
    return ["bwrap", "--die-with-parent", "--ro-bind", str(task), "/var/task", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp",
            "--chdir", "/var/task", *more, "/var/task/bootstrap"]


def test_content(archive, tmp_path):
    assert GIVEN or built(tmp_path / "again.zip").read_bytes() == archive.read_bytes()
    assert archive.stat().st_size < 15 << 20
    with zipfile.ZipFile(archive) as files:
        modes = {entry.filename: entry.external_attr >> 16 & 0o777 for entry in files.infolist()}
        listed = files.read("libraries.txt").decode()
    assert modes["bootstrap"] == 0o755
    assert {name.split("/")[-1] for name in modes if name.startswith("lib/")} == {
        line.split()[0] for line in listed.splitlines() if ".so" in line.split()[0]}
    assert all("/" not in name or name.startswith("lib/") for name in modes)


@pytest.mark.skipif(bool(GIVEN), reason="about make-lambda, not about the zip")
def test_of_a_sysroot(archive, tmp_path):
    """As another processor's are found, which cannot be run; and what is no good for Lambda is refused."""
    def make(*words, code=0):
        done = subprocess.run([sys.executable, str(ROOT / "tools/make-lambda"), "--output", str(tmp_path / "zip"), *map(str, words)],
                              capture_output=True, text=True)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stderr

    root = tmp_path / "root"
    place = root / "usr/lib/some-linux-gnu"
    place.mkdir(parents=True)
    for name in ("lib", "lib64"):
        (root / name).symlink_to(place)
    with zipfile.ZipFile(archive) as files:
        carried = {name for name in files.namelist() if name.startswith("lib/")}
        for name in carried:
            (place / name[4:]).write_bytes(files.read(name))
        listed = [line.split(maxsplit=1) for line in files.read("libraries.txt").decode().splitlines()]
    (root / "owners").write_text("".join("/usr/lib/some-linux-gnu/%s %s\n" % (name, owner) for name, owner in listed))
    make("--build", PLAIN, "--sysroot", root)
    with zipfile.ZipFile(tmp_path / "zip") as other, zipfile.ZipFile(archive) as files:
        assert {name: other.read(name) for name in other.namelist()} == {name: files.read(name) for name in files.namelist()}
    curl = place / "libcurl.so.4"
    library = bytearray(curl.read_bytes())
    library[18:20] = b"\x08\0"  # MIPS
    curl.write_bytes(library)
    assert "another processor" in make("--build", PLAIN, "--sysroot", root, code=1)
    curl.unlink()
    assert "not found below" in make("--build", PLAIN, "--sysroot", root, code=1)
    (tmp_path / "build.ninja").write_text("build bootstrap: phony\n")
    shutil.copy(PLAIN / "lablink-log-forwarder", tmp_path / "bootstrap")
    assert "does not look for" in make("--build", tmp_path, code=1)


def test_in_a_bare_root(task, lab, front):
    with function(front.url, lab.token, bare(task)) as it:
        stored(it.invoke(event("vm-1", ["from nowhere"])))
        assert set(os.listdir(task)) == {"bootstrap", "lib", "ca-certificates.crt", "libraries.txt"}
    assert lab.lines() == ["from nowhere"]


def test_beside_the_runtime(task, lab, front, tmp_path):
    """Another C library in the directories that Lambda names first is not taken; names are looked up."""
    other = tmp_path / "lib64"
    other.mkdir()
    for path in (task / "lib").iterdir():
        (other / path.name).write_bytes(b"not this one")
    (tmp_path / "hosts").write_text("127.0.0.1 allocator.example.org\n")
    (tmp_path / "nsswitch.conf").write_text("hosts: files dns myhostname\n")
    words = ["--ro-bind", str(other), "/lib64", "--ro-bind", str(tmp_path / "hosts"), "/etc/hosts",
             "--ro-bind", str(tmp_path / "nsswitch.conf"), "/etc/nsswitch.conf", "--setenv", "LD_LIBRARY_PATH", LIBRARY_PATH]
    with function(front.url.replace("127.0.0.1", "allocator.example.org"), lab.token, bare(task, *words)) as it:
        stored(it.invoke(event("vm-1", ["beside another"])))
    assert lab.lines() == ["beside another"]


@pytest.fixture
def tls(lab, tmp_path):
    """(a front that speaks TLS, the certificate that it must be trusted by)"""
    key, certificate = tmp_path / "key.pem", tmp_path / "own-ca.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=allocator", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
                   check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    it = Front(lab, context)
    yield it, certificate
    it.close()


def test_https(task, lab, front, tls):
    """With the function's own certificate file; a server that none of the carried ones signed is not trusted."""
    secure, certificate = tls
    shutil.copy(certificate, task / "own-ca.pem")
    with function(secure.url.replace("https://", ""), lab.token, bare(task), SSL_CERT_FILE="/var/task/own-ca.pem") as it:
        stored(it.invoke(event("vm-1", ["by TLS"])))
    assert lab.lines() == ["by TLS"]
    with function(secure.url, lab.token, bare(task)) as it:
        assert "certificate" in failed(it.invoke(event("vm-1", ["x"], first=1)), "0 of 1")
    seen = len(secure.seen)
    # From http to https, as the proxy of an allocator with TLS says: without a token only.
    moved = (308, [("Location", secure.url + "/api/vm-logs")])
    front.play = [moved, moved]
    with function(front.url, lab.token, bare(task), SSL_CERT_FILE="/var/task/own-ca.pem") as it:
        failed(it.invoke(event("vm-1", ["x"], first=1)), "HTTP 308")
    assert len(secure.seen) == seen
    with function(front.url, None, bare(task), SSL_CERT_FILE="/var/task/own-ca.pem") as it:
        failed(it.invoke(event("vm-1", ["x"], first=1)), "HTTP 401")
    assert secure.seen[-1][2] == front.seen[-1][2] and secure.seen[-1][2]["messages"] == ["x"]
