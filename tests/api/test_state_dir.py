"""The state directory: whose it may be, who may enter it, and what stands in it for others to read."""

import contextlib
import os
import stat

import pytest

from lab import Lab

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")


def refused(prepare):
    """The allocator's last words, when it ends before it listens."""
    lab = Lab(name="refused")
    prepare(lab)
    try:
        lab.start(wait=False)
        assert lab.process.wait(60) == 1
        return lab.log()
    finally:
        lab.remove()


@ROOT_ONLY
def test_somebody_elses_directory_is_not_used():
    """Its owner would be an administrator, and could replace what root reads there."""
    def prepare(lab):
        lab.state.mkdir()
        os.chown(lab.state, 1, 1)

    assert "belongs to the user with the id 1" in refused(prepare)


def test_a_directory_of_all_users_is_not_used():
    def prepare(lab):
        lab.state.mkdir()
        lab.state.chmod(0o1777)

    assert "is shared by all users" in refused(prepare)


@pytest.mark.parametrize("before, after", [(0o755, 0o755), (0o700, 0o711), (0o775, 0o755)])
def test_a_directory_that_is_there_keeps_its_mode(before, after):
    lab = Lab(name="mode")
    lab.state.mkdir()
    lab.state.chmod(before)
    try:
        lab.start()
        assert stat.S_IMODE(lab.state.stat().st_mode) == after
        assert lab.interrupt() == 0
    finally:
        lab.remove()


def test_nothing_secret_is_for_others(new_lab):
    """Every file that others may read is named here; nothing but sockets may be written by others."""
    lab = new_lab(config={"app": {"pin": "135790"}, "security": {"access_code": "word-of-the-day"}},
                  environment={"LABLINK_SECURITY_LOG_TOKEN": "l" * 32})
    secrets = [lab.password, "135790", "word-of-the-day", "l" * 32]
    for folder, folders, files in os.walk(lab.state):
        if folder.endswith("/db/data"):
            folders.clear()
            assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
            continue
        for name in files:
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISSOCK(mode):
                continue
            assert not mode & 0o022, path
            if mode & 0o044:
                text = open(path, errors="replace").read()
                assert not any(secret in text for secret in secrets), path
    log = lab.log().replace("password " + lab.password, "", 1)
    assert not any(secret in log for secret in secrets)
    for process in lab.processes():
        assert not any(secret in process.command for secret in secrets), process
        if process.pid == lab.process.pid:
            continue  # what its starter put into its environment stands there
        with contextlib.suppress(OSError):  # it may end meanwhile
            environment = open("/proc/%d/environ" % process.pid, errors="replace").read()
            assert not any(secret in environment for secret in secrets), process


def test_the_passwords_hash_is_kept_and_another_password_is_noticed():
    """A start makes no new hash of the same password; what is kept of another password lets nobody in."""
    def let_in(lab, password):
        return lab.get("/admin", auth=("admin", password)).status_code == 200

    lab = Lab(name="hash")
    try:
        lab.start()
        kept, first = lab.state / "admin-hash", lab.password
        before = kept.read_text()
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600 and first not in before
        lab.restart()
        assert kept.read_text() == before and let_in(lab, first)
        lab.interrupt()
        lab.config["app"] = {"admin_password": "another-password-1"}
        lab.start()
        assert kept.read_text() != before
        assert let_in(lab, "another-password-1") and not let_in(lab, first)
        lab.interrupt()
        kept.write_text("$2b$12$" + "a" * 53 + "\n$argon2id$v=19$m=8192,t=1,p=1$nonsense\n")
        lab.start()
        assert let_in(lab, "another-password-1")
        lab.stop()
    finally:
        lab.remove()
