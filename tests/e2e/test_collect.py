"""Participants' files of sandboxed VMs: one download, hostile names and trees, what is kept, and nothing destroyed unsaved."""

import concurrent.futures
import contextlib
import csv
import fcntl
import hashlib
import io
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import time
import zipfile

import pytest
import requests

from lab import BUILD, Lab, wait_until
from workshop import JSON, claim, running

pytestmark = pytest.mark.xdist_group("collect")  # one lab for all

SECRET = "root-only-%s" % os.urandom(8).hex()
BIG = os.urandom(3_000_000)


@pytest.fixture(scope="module")
def lab():
    with Lab(name="collect", config={"harvest": {"vm_limit": "64M", "files_max": 500}}) as lab:
        lab.launch(3)
        lab.names = sorted(vm["hostname"] for vm in lab.vms())
        lab.secret = lab.directory / "secret.slp"
        lab.secret.write_text(SECRET)
        furnish(lab)
        yield lab


def home(lab, number):
    return lab.state / "vms" / lab.names[number] / "home"


def put(place, name, data=b"x", **times):
    path = os.path.join(os.fsencode(place), name if isinstance(name, bytes) else os.fsencode(name))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as stream:
        stream.write(data)
    return path


def furnish(lab):
    """What every test may find, in whatever order they run."""
    for number in range(3):
        put(home(lab, number), "Desktop/labels %d.slp" % number, b"labels of %d" % number)
        put(home(lab, number), "Desktop/models/none.slp"), put(home(lab, number), "predictions/none.slp")
        put(home(lab, number), "Desktop/other.txt")
    put(home(lab, 0), "Desktop/big.slp", BIG)


def collect(lab, wishes=None, states=("done",)):
    answer = lab.post("/api/collections", admin=True, json=wishes or {}, headers=JSON)
    assert answer.status_code == 202, answer.text
    said = answer.json()
    return said["collection"], lab.wait_operation(said["operation"]["id"], states=states)


def download(lab, collection, **headers):
    return lab.get("/api/collections/%d/archive" % collection, admin=True, headers=headers)


def opened(content):
    archive = zipfile.ZipFile(io.BytesIO(content))
    assert archive.testzip() is None
    return archive


def rows(archive, status="collected"):
    return [row for row in json.loads(archive.read("manifest.json"))["files"] if row["status"] == status]


def check_hashes(archive):
    for row in rows(archive):
        data = archive.read(row["file"])
        assert len(data) == row["size"] and hashlib.sha256(data).hexdigest() == row["sha256"], row


def test_one_download_while_it_is_collected(lab, tmp_path):
    for number in range(3):
        put(home(lab, number), "Desktop/deep/er/größe \"q\" 'q' $(touch x) `x`.slp", b"quotes")
    path = put(home(lab, 0), "Desktop/big.slp", BIG)
    os.chmod(path, 0o640), os.utime(path, (1_700_000_000, 1_700_000_000))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:  # the second joins the first
        both = list(pool.map(lambda _: lab.get("/api/scp-client", admin=True), range(2)))
    for answer in both:
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"] == "application/zip"
        assert answer.headers["Content-Disposition"].startswith('attachment; filename="lablink_data20')
    archive = opened(both[0].content)
    names = {"%s/Desktop/labels %d.slp" % (lab.names[n], n) for n in range(3)} | {"%s/Desktop/big.slp" % lab.names[0]}
    names |= {"%s/Desktop/deep/er/größe \"q\" 'q' $(touch x) `x`.slp" % name for name in lab.names}
    assert set(archive.namelist()) == names | {"manifest.json", "manifest.csv"}
    check_hashes(archive)
    big = archive.getinfo("%s/Desktop/big.slp" % lab.names[0])
    assert stat.S_IMODE(big.external_attr >> 16) == 0o640
    assert big.date_time[:3] == time.localtime(1_700_000_000)[:3]
    table = list(csv.DictReader(io.StringIO(archive.read("manifest.csv").decode())))
    assert {row["file"] for row in table} == names
    (tmp_path / "x.zip").write_bytes(both[0].content)
    subprocess.run(["unzip", "-tq", str(tmp_path / "x.zip")], check=True, stdout=subprocess.DEVNULL)
    collecting = [o for o in lab.get("/api/operations", admin=True).json()["operations"] if o["kind"] == "collect"]
    assert len(collecting) <= 2


def test_what_is_lost_is_brought_again(lab):
    """Objects that a loss of power has emptied: the archive must not stay broken for ever."""
    for number in range(3):
        put(home(lab, number), "kept.lost", b"kept %d" % number), put(home(lab, number), "gone.lost", b"gone %d" % number)
    collection, _ = collect(lab, {"extensions": ["lost"]})
    place = lab.state / "collections" / str(collection) / "objects"
    for number, kind in ((0, b"kept"), (1, b"kept"), (0, b"gone")):
        name = hashlib.sha256(b"%s %d" % (kind, number)).hexdigest()
        with open(place / name[:2] / name[2:], "wb"):
            pass
    os.unlink(place / name[:2] / name[2:])
    os.unlink(home(lab, 0) / "gone.lost")
    _, operation = collect(lab, {"extensions": ["lost"]})
    assert operation["result"]["new_files"] == 2 and operation["result"]["files"] == 5, operation["result"]
    archive = opened(download(lab, collection).content)
    check_hashes(archive)
    assert len(rows(archive)) == 5
    assert [(row["vm"], row["path"]) for row in rows(archive, "left out")] == [(lab.names[0], "gone.lost")]


@contextlib.contextmanager
def open_directory(place):
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def archivists(lab):
    return [process for process in lab.role("runner") if " archive " in process.command]


def test_a_reader_that_leaves_is_not_written_for(lab):
    """Also while nothing comes: a runner that waited on would take the place of another download."""
    with open(lab.state / "files.lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # collecting cannot begin
        answer = lab.get("/api/operations", admin=True).json()["operations"]
        with socket.create_connection(("127.0.0.1", lab.port)) as reader:
            reader.sendall(b"GET /api/scp-client?extension=left HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\n\r\n" %
                           requests.auth._basic_auth_str(*lab.admin).encode())
            wait_until(lambda: archivists(lab), 60)
        wait_until(lambda: not archivists(lab), 60)
    newest = lab.get("/api/operations", admin=True).json()["operations"][0]
    assert newest["id"] not in [one["id"] for one in answer]
    lab.wait_operation(newest["id"], states=("done", "interrupted", "failed"))


def test_what_is_kept_has_a_length_and_ranges(lab):
    collect(lab)
    collection, operation = collect(lab)
    assert operation["result"]["new_files"] == 0, "nothing is transferred twice"
    whole = download(lab, collection)
    assert whole.status_code == 200 and int(whole.headers["Content-Length"]) == len(whole.content) > len(BIG)
    tag = whole.headers["ETag"]
    for wanted in ("0-0", "10-19", "5000-"):
        part = download(lab, collection, Range="bytes=" + wanted, **{"If-Range": tag})
        first, _, last = wanted.partition("-")
        assert part.status_code == 206
        assert part.content == whole.content[int(first) : int(last) + 1 if last else None]
    assert download(lab, collection, Range="bytes=%d-" % len(whole.content)).status_code == 416
    assert download(lab, collection, Range="bytes=7-", **{"If-Range": '"another"'}).status_code == 200
    head = lab.session().head(lab.url + "/api/collections/%d/archive" % collection, auth=("admin", lab.password))
    assert head.status_code == 200 and int(head.headers["Content-Length"]) == len(whole.content)
    _, again = collect(lab)
    assert again["result"]["new_files"] == 0
    assert download(lab, collection).headers["ETag"] == tag, "the same content keeps its name"
    put(home(lab, 1), "Desktop/late.slp", b"late")
    _, later = collect(lab)
    assert later["result"]["new_files"] == 1 and later["result"]["new_bytes"] == 4
    assert download(lab, collection).headers["ETag"] != tag


def test_what_is_read_stays(lab):
    """A download waits while the collection is tidied, and a collection that is being downloaded is not deleted."""
    put(home(lab, 1), "notes/a.kept", b"kept")
    collection, _ = collect(lab, {"extensions": ["kept"]})
    place = lab.state / "collections" / str(collection)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with open_directory(place) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            waiting = pool.submit(download, lab, collection)
            wait_until(lambda: archivists(lab), 60)
            assert not waiting.done()
        check_hashes(opened(waiting.result().content))
    wait_until(lambda: not archivists(lab), 60)
    with open_directory(place) as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        answer = lab.post("/api/collections/%d/delete" % collection, admin=True, headers=JSON).json()["operation"]
        refused = lab.wait_operation(answer["id"], states=("failed",))
        assert "is being downloaded" in refused["error"]
    check_hashes(opened(download(lab, collection).content))


def test_wishes(lab):
    put(home(lab, 0), "notes/a.csv", b"a"), put(home(lab, 2), "notes/b.txt", b"b")
    collection, _ = collect(lab, {"extensions": [".csv", "txt"]})
    found = {row["path"] for row in rows(opened(download(lab, collection).content))}
    assert {"notes/a.csv", "notes/b.txt", "Desktop/other.txt"} <= found
    collection, _ = collect(lab, {"directory": "/home/client/notes", "vms": [lab.names[2]]})
    assert [row["path"] for row in rows(opened(download(lab, collection).content))] == ["b.txt"]
    collection, _ = collect(lab, {"everything": True, "vms": [lab.names[0]]})
    assert {"Desktop/models/none.slp", "notes/a.csv"} <= {row["path"] for row in rows(opened(download(lab, collection).content))}
    for bad in ({"extensions": ["../x"]}, {"extensions": ["a/b"]}, {"directory": "../etc"}, {"vms": ["-x"]}, {"extensions": ["*"]}):
        assert lab.post("/api/collections", admin=True, json=bad, headers=JSON).status_code == 422, bad
    assert lab.get("/api/scp-client?extension=nosuch", admin=True).json()["code"] == "no-files"
    before = len(lab.get("/api/operations", admin=True).json()["operations"])
    assert lab.session().head(lab.url + "/api/scp-client", auth=("admin", lab.password)).status_code == 200
    assert len(lab.get("/api/operations", admin=True).json()["operations"]) == before, "HEAD starts nothing"
    refused = lab.get("/api/scp-client", admin=True, headers={"Sec-Fetch-Site": "cross-site"})
    assert refused.status_code == 403 and refused.json()["code"] == "cross-site"


def plant_traps(lab, place):
    """Whatever a participant who is root in the VM may do with names and kinds of files."""
    at = os.fsencode(place)
    put(place, b"traps/line\nbreak.trap", b"1"), put(place, b"traps/-rf --x.trap", b"2"), put(place, b"traps/\xff\xfe.trap", b"3")
    put(place, b"traps/..\\..\\up.trap", b"4"), put(place, b"traps/...trap", b"5"), put(place, b"traps/" + b"n" * 250 + b".trap", b"6")
    put(place, b"traps/\x1b[31m.trap", b"7"), put(place, "traps/=cmd|x.trap", b"8")
    os.symlink(str(lab.secret), at + b"/traps/link.trap")
    os.symlink("/etc", at + b"/traps/etc")
    os.symlink(os.path.dirname(str(lab.secret)), at + b"/traps/out")
    os.symlink("loop.trap", at + b"/traps/loop.trap")
    os.mkfifo(at + b"/traps/pipe.trap")
    with contextlib.suppress(OSError):
        os.mknod(at + b"/traps/zero.trap", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    os.link(at + b"/traps/...trap", at + b"/traps/hard.trap")
    with open(at + b"/traps/sparse.trap", "wb") as stream:
        stream.truncate(1 << 40)
    deep = os.open(at + b"/traps", os.O_RDONLY)
    for _ in range(200):
        os.mkdir(b"d", dir_fd=deep)
        deeper = os.open(b"d", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = deeper
    os.close(os.open(b"deep.trap", os.O_CREAT | os.O_WRONLY, dir_fd=deep))
    os.close(deep)


def test_traps(lab):
    plant_traps(lab, home(lab, 0))
    put(home(lab, 1), "fine.trap", b"fine")
    for number in range(700):
        put(home(lab, 2), "many/%d.trap" % number, b"many")
    collection, operation = collect(lab, {"extensions": ["trap"]})
    assert operation["result"]["failed"] == []
    content = download(lab, collection).content
    assert SECRET.encode() not in content
    archive = opened(content)
    check_hashes(archive)
    first = [row for row in rows(archive) if row["vm"] == lab.names[0]]
    assert sorted(archive.read(row["file"]) for row in first) == [b"1", b"2", b"3", b"4", b"5", b"5", b"6", b"7", b"8"]
    assert {row["path"] for row in rows(archive) if row["vm"] == lab.names[1]} == {"fine.trap"}
    assert len([row for row in rows(archive) if row["vm"] == lab.names[2]]) == 500
    for name in archive.namelist():
        assert not name.startswith("/") and ".." not in name.split("/") and "\\" not in name and "\x1b" not in name, name
    assert any("line\nbreak" in name for name in archive.namelist())
    left = {row["path"]: row["reason"] for row in rows(archive, "left out")}
    assert "vm_limit" in left["traps/sparse.trap"]
    assert "too deep" in left["traps/" + 64 * "d/"], "what lies deeper does not vanish without a word"
    assert "files_max" in left["(what was not found)"]
    assert operation["result"]["left_out"] == len(rows(archive, "left out")) == 3
    for row in csv.reader(io.StringIO(archive.read("manifest.csv").decode())):
        assert not any(cell.startswith("=") for cell in row)
    used = subprocess.run(["du", "-sk", str(lab.state / "collections")], capture_output=True, text=True).stdout.split()[0]
    assert int(used) < 64 * 1024
    kept = [name for _, folders, files in os.walk(lab.state / "collections") for name in folders + files]
    assert not any("trap" in name for name in kept), "no participant's name becomes one on the allocator's disk"
    subprocess.run(["rm", "-rf", str(home(lab, 0) / "traps"), str(home(lab, 2) / "many")], check=True)


def test_a_tree_that_changes_under_the_hands(lab):
    """A directory that is swapped for a link over and over never leads out."""
    put(home(lab, 0), "swap/real/a.swap", b"real")
    script = "cd /home/client/swap; while :; do mv real kept; ln -s %s real; rm real; mv kept real; done" % os.path.dirname(str(lab.secret))
    for name in range(300):
        put(home(lab, 0), "swap/real/%d.swap" % name, b"real")
    with open(os.devnull, "wb") as null:
        swapper = subprocess.Popen(["sh", "-c", script.replace("/home/client", str(home(lab, 0)))], stdout=null, stderr=null,
                                   start_new_session=True)
    try:
        for _ in range(5):
            collection, _ = collect(lab, {"extensions": ["swap", "slp"]})
            assert SECRET.encode() not in download(lab, collection).content
    finally:
        os.killpg(swapper.pid, signal.SIGKILL)  # a last mv of it may still be ending
        swapper.wait()
    wait_until(lambda: subprocess.run(["rm", "-rf", str(home(lab, 0) / "swap")], check=False).returncode == 0)


def test_command_line_goes_on_after_interrupts(lab, tmp_path):
    put(home(lab, 0), "notes/a.csv", b"a")
    target = tmp_path / "files.zip"
    argv = [str(BUILD / "lablink"), "--state-dir", str(lab.state), "download", "-o", str(target)]
    lab.cli("download", "-o", str(target))
    whole = target.read_bytes()
    check_hashes(opened(whole))
    collection = lab.get("/api/collections", admin=True).json()["collections"]
    mine = next(one for one in collection if one["selection"] == {"extensions": ["slp"]})
    tag = download(lab, mine["id"]).headers["ETag"]
    # as Ctrl-C leaves it: a beginning, and what it is the beginning of
    target.unlink()
    (tmp_path / "files.zip.part").write_bytes(whole[:1_000_000])
    (tmp_path / "files.zip.part.json").write_text(json.dumps({"path": mine["archive"], "etag": tag, "wishes": {}}))
    before = len(lab.get("/api/operations", admin=True).json()["operations"])
    done = subprocess.run(argv, env=lab.environ(), capture_output=True, text=True, timeout=90)
    assert done.returncode == 0 and "going on with" in done.stdout, (done.stdout, done.stderr)
    assert target.read_bytes() == whole and not (tmp_path / "files.zip.part").exists()
    assert "\" 206 %d" % (len(whole) - 1_000_000) in lab.log()
    assert len(lab.get("/api/operations", admin=True).json()["operations"]) == before
    lab.cli("download", "--extension", "csv", "--vm", lab.names[0], "-o", str(tmp_path) + "/")
    assert list(tmp_path.glob("lablink_data2*.zip"))
    missing = lab.cli("download", "--extension", "nosuch", "-o", str(target), check=False)
    assert missing.returncode == 1 and "none has such a file" in missing.stderr


def test_pages(lab):
    running(lab, 3)
    seat = claim(lab, 1, "ada@example.org").json()["hostname"]
    collection, _ = collect(lab)
    page = lab.get("/admin/collections/%d" % collection, admin=True, headers={"Accept": "text/html"})
    assert page.status_code == 200 and "ada@example.org" in page.text and lab.names[2] in page.text
    assert "/api/scp-client" in lab.get("/admin/instances", admin=True, headers={"Accept": "text/html"}).text
    assert "/api/scp-client" in lab.get("/admin", admin=True, headers={"Accept": "text/html"}).text
    named = lab.get("/api/collections/%d/archive?names=email" % collection, admin=True)
    assert any(name.startswith("%s ada@example.org/" % seat) for name in opened(named.content).namelist())
    answer = lab.post("/api/collections/%d/delete" % collection, admin=True, headers=JSON)
    assert answer.status_code == 202
    lab.wait_operation(answer.json()["operation"]["id"])
    assert lab.get("/api/collections/%d" % collection, admin=True).status_code == 404
    assert not (lab.state / "collections" / str(collection)).exists()


def test_killed_and_taken_up_again(lab):
    """The allocator's kill ends no collection; a killed runner's files are not brought again."""
    for number in range(3):
        for name in range(120):
            put(home(lab, number), "data/%d.kill" % name, os.urandom(20_000))
    answer = lab.post("/api/collections", admin=True, json={"extensions": ["kill"]}, headers=JSON).json()
    lab.kill("web")

    def answers():
        with contextlib.suppress(requests.ConnectionError):
            return lab.get("/healthz").status_code == 200

    wait_until(answers, 60)
    operation = lab.wait_operation(answer["operation"]["id"])
    assert operation["result"]["new_files"] == 360
    check_hashes(opened(download(lab, answer["collection"]).content))
    for number in range(3):
        for name in range(120):
            put(home(lab, number), "data/%d.kill2" % name, os.urandom(20_000))
    answer = lab.post("/api/collections", admin=True, json={"extensions": ["kill2"]}, headers=JSON).json()
    place = lab.state / "collections" / str(answer["collection"])
    wait_until(lambda: any(place.glob("objects/*/*")) if place.exists() else None, 60, every=0.005)
    lab.kill("runner")
    lab.wait_operation(answer["operation"]["id"], states=("interrupted", "done"))
    there = {path.name: path.stat().st_ino for path in place.glob("objects/*/*")}
    _, operation = collect(lab, {"extensions": ["kill2"]})
    assert operation["result"]["files"] == 360
    check_hashes(opened(download(lab, answer["collection"]).content))
    assert there


def test_nothing_is_destroyed_unsaved(lab):
    wait_until(lambda: lab.get("/api/unassigned_vms_count").json()["count"], 120)
    seat = claim(lab, 2, "cem@example.org").json()["hostname"]
    put(home(lab, lab.names.index(seat)), "Desktop/unsaved.slp", b"unsaved")
    refused = lab.post("/destroy", admin=True, json={}, headers=JSON)
    assert refused.status_code == 409 and refused.json()["code"] == "uncollected-files", refused.text
    assert lab.post("/destroy", admin=True, data={"_key": "k1"}, headers=JSON).status_code == 409
    page = lab.get("/admin/instances/delete", admin=True, headers={"Accept": "text/html"}).text
    assert "never collected" in page and "Collect, then destroy" in page
    answer = lab.post("/api/collections", admin=True, json={"look": True}, headers=JSON)
    looked = lab.wait_operation(answer.json()["operation"]["id"])["result"]
    assert looked["new_files"] >= 1
    collect(lab, {"extensions": ["slp"]})
    put(home(lab, lab.names.index(seat)), "Desktop/later.slp", b"later")
    answer = lab.post("/api/collections", admin=True, json={"look": True}, headers=JSON)
    lab.wait_operation(answer.json()["operation"]["id"])
    refused = lab.post("/destroy", admin=True, json={}, headers=JSON).json()
    assert "1 file is newer" in refused["error"] and refused["files"]["uncollected"] == 0, refused
    lab.sql("update settings set value = value || jsonb_build_object('at', now() - interval '1 hour', 'new_files', 0)"
            " where key = 'files_look'")
    lab.sql("update collection_vms set collected_at = now() - interval '1 hour'")
    refused = lab.post("/destroy", admin=True, json={}, headers=JSON).json()
    assert "Nobody has looked" in refused["error"] and refused["files"]["stale"] == refused["files"]["vms"], refused
    lab.sql("update settings set value = value || jsonb_build_object('at', now(), 'new_files', 1) where key = 'files_look'")
    assert "are new since" in lab.get("/admin/instances/delete", admin=True, headers={"Accept": "text/html"}).text
    with open(put(home(lab, 0), "Desktop/too-large.slp", b""), "wb") as stream:
        stream.truncate(65 << 20)
    put(home(lab, 0), "d/" * 64 + "too-deep.slp")
    destroy = lab.post("/destroy", admin=True, json={"collect": True}, headers=JSON)
    stopped = lab.wait_operation(destroy.json()["operation"]["id"], states=("failed",))
    assert "nothing was destroyed: 2 files were left out" in stopped["error"] and len(lab.vms()) == 3, stopped
    os.unlink(home(lab, 0) / "Desktop/too-large.slp"), shutil.rmtree(home(lab, 0) / "d")
    done = lab.cli("destroy", "--yes", "--collect")
    assert "unsaved" in str([row["path"] for row in rows(opened(download(lab, answer.json()["collection"]).content))]), done.stdout
    assert lab.vms() == [] and not lab.vm_names_on_disk()
    kept = lab.get("/api/collections", admin=True).json()["collections"]
    assert kept and not any(one["open"] for one in kept)
    assert lab.get("/api/scp-client", admin=True).json()["code"] == "no-vms"
