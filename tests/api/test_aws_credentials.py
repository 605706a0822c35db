"""The administrator's AWS credentials: set, tried, shown by name, forgotten; never shown, kept or written down."""

import os
import pathlib
import re
import signal
import threading

import pytest
import requests

from aws_server import ACCOUNT, AwsServer
from lab import Lab, wait_until

pytestmark = pytest.mark.xdist_group("aws")  # one server for all
KEY, SECRET = "AKIDLABLINKTEST", "planted/aws+secret/access/key=7319"
SESSION_KEY, SESSION = "ASIALABLINKTEST", "planted-session-token/" + "x" * 700
ENVIRONMENTS, ENVIRONMENTS_SECRET = "AKIDENVIRONMENT", "planted-secret-of-the-environment"
SET, UNSET = "/api/admin/set-aws-credentials", "/api/admin/unset-aws-credentials"
JSON = {"Accept": "application/json"}
NO_ROLE = {"AWS_EC2_METADATA_DISABLED": "true"}


@pytest.fixture(scope="module")
def server():
    with AwsServer({KEY: SECRET, SESSION_KEY: SECRET, ENVIRONMENTS: ENVIRONMENTS_SECRET}, {SESSION_KEY: SESSION}) as server:
        yield server


@pytest.fixture(scope="module")
def one_lab(server):
    with Lab(name="aws", environment={**NO_ROLE, **server.environment()}, config={"app": {"region": "us-west-2"}}) as lab:
        yield lab


@pytest.fixture
def aws(server):
    server.reset()
    yield server


@pytest.fixture
def aws_lab(aws, one_lab, request):
    request.node.labs, request.node.mark = [one_lab], len(one_lab.log())
    assert one_lab.post(UNSET, admin=True, headers=JSON).status_code == 200
    aws.requests.clear()
    yield one_lab
    one_lab.check_no_complaints()


def form(key=KEY, secret=SECRET, token=None):
    found = {"aws_access_key_id": key, "aws_secret_access_key": secret}
    return {**found, "aws_token": token} if token else found


def shown(lab):
    return lab.get("/admin", admin=True, headers=JSON).json()["aws"]


def state_after_kill(lab):
    try:
        return shown(lab)["state"]
    except (requests.RequestException, KeyError):
        return None  # what a killed process had accepted is cut; while the new one connects it says 503


def everything_of(lab):
    """What a stranger, an administrator, a log's reader and whoever has the disk can see."""
    texts = [lab.log()]
    for path in ("/admin", "/api/operations", "/readyz"):
        for accept in ("text/html", "application/json"):
            texts.append(lab.get(path, admin=True, headers={"Accept": accept}).text)
    for place in lab.directory.rglob("*"):
        if place.is_file() and not place.is_symlink():
            try:
                texts.append(place.read_bytes().decode("latin-1"))
            except OSError:
                pass
    for process in lab.processes():
        for name in ("cmdline", "environ"):
            try:
                texts.append(pathlib.Path("/proc/%d/%s" % (process.pid, name)).read_text(errors="replace"))
            except OSError:
                pass
    return "\n".join(texts)


def test_set_show_forget(aws, aws_lab):
    assert shown(aws_lab)["state"] == "none"
    answer = aws_lab.post(SET, data=form(), admin=True, headers=JSON)
    assert answer.status_code == 200, answer.text
    assert answer.json()["aws"]["account"] == ACCOUNT and answer.json()["aws"]["state"] == "valid"
    (call,) = aws.calls("sts")
    assert call.key == KEY and call.region == "us-west-2"
    now = shown(aws_lab)
    assert now["state"] == "valid" and now["source"] == "the administrator" and now["arn"].startswith("arn:aws:") and now["region"] == "us-west-2"
    page = aws_lab.get("/admin", admin=True).text
    assert now["arn"] in page and "Forget them" in page
    assert KEY not in page and SECRET not in page
    answer = aws_lab.post(UNSET, admin=True, headers=JSON)
    assert answer.status_code == 200 and answer.json()["aws"]["state"] == "none", answer.text
    assert shown(aws_lab)["state"] == "none"


def test_the_pages_answer_with_the_admin_page(aws, aws_lab):
    good = aws_lab.post(SET, data=form(SESSION_KEY, token=SESSION), admin=True)
    assert good.status_code == 200 and "AWS accepts these credentials." in good.text and "Overview" in good.text
    assert aws.calls("sts")[-1].session == SESSION
    bad = aws_lab.post(SET, data=form(secret="wrong"), admin=True)
    assert bad.status_code == 422 and "secret access key does not belong" in bad.text and "Overview" in bad.text
    gone = aws_lab.post(UNSET, admin=True)
    assert gone.status_code == 200 and "forgotten" in gone.text
    aws.wrong.clear()


def test_bad_credentials_are_not_kept(aws, aws_lab):
    assert aws_lab.post(SET, data=form(), admin=True, headers=JSON).status_code == 200
    answer = aws_lab.post(SET, json=form("AKIDOTHER"), admin=True, headers=JSON)
    assert answer.status_code == 422 and answer.json()["code"] == "aws-credentials-refused" and "does not know" in answer.json()["error"]
    assert "Those that were set before stay in force." in answer.json()["error"]
    # Who looks sees the ones that are in force, tried again.
    assert wait_until(lambda: shown(aws_lab)["state"] == "valid" and shown(aws_lab))["account"] == ACCOUNT
    assert aws.calls("sts")[-1].key == KEY
    again = aws_lab.post(SET, json=form("AKIDOTHER"), admin=True)
    assert again.status_code == 422 and "stay in force" in again.text
    assert aws_lab.post(UNSET, admin=True, headers=JSON).json()["aws"]["state"] == "none"


@pytest.mark.parametrize("data, status", [
    ({}, 400), ({"aws_access_key_id": KEY}, 400), ({"aws_secret_access_key": SECRET}, 400), (form(key="not a key"), 422),
    (form(secret="with\nnewline"), 422), (form(secret="\u00e4"), 422), (form(secret="x" * 257), 422), (form(token="y" * 8193), 422)])
def test_what_are_no_credentials(aws_lab, data, status):
    answer = aws_lab.post(SET, data=data, admin=True, headers=JSON)
    assert answer.status_code == status, answer.text
    assert SECRET not in answer.text


def test_blanks_from_copying_are_dropped(aws, aws_lab):
    assert aws_lab.post(SET, data=form(" %s\r\n" % KEY, "\t%s " % SECRET), admin=True, headers=JSON).status_code == 200


def test_only_the_administrator(aws_lab):
    assert aws_lab.post(SET, data=form()).status_code == 401
    assert aws_lab.post(UNSET).status_code == 401
    assert aws_lab.post(SET, data=form(), admin=True, headers={"Origin": "https://evil.example"}).status_code == 403


def test_those_of_the_environment(aws, new_lab):
    lab = new_lab(name="aws-env", environment={**NO_ROLE, **aws.environment(ENVIRONMENTS)})
    wait_until(lambda: shown(lab)["state"] == "valid", 90, "the environment's credentials were tried at the start")
    assert shown(lab)["source"] == "the environment"
    assert lab.post(SET, data=form(), admin=True, headers=JSON).json()["aws"]["source"] == "the administrator"
    assert lab.post(UNSET, admin=True, headers=JSON).json()["aws"]["source"] == "the environment"


def test_lost_with_the_allocator_and_kept_over_the_web_process(aws, aws_lab):
    assert aws_lab.post(SET, data=form(), admin=True, headers=JSON).status_code == 200
    aws_lab.kill("web")
    wait_until(lambda: state_after_kill(aws_lab) == "valid", 90, "the page says so after the web process was killed")
    aws_lab.restart()
    assert shown(aws_lab)["state"] == "lost"
    assert "Set them again" in aws_lab.get("/admin", admin=True).text


def test_aws_does_not_answer(aws, aws_lab):
    aws.fail("GetCallerIdentity", 503, times=99)
    answer = aws_lab.post(SET, data=form(), admin=True, headers=JSON)
    assert answer.status_code == 422 and "HTTP 503" in answer.json()["error"]


def test_found_nowhere(aws, aws_lab):
    assert aws_lab.post(SET, data=form(SESSION_KEY, token=SESSION), admin=True, headers=JSON).status_code == 200
    assert aws_lab.post(SET, data=form(), admin=True).status_code == 200
    text = everything_of(aws_lab)
    for secret in (SECRET, SESSION, KEY):
        assert secret not in text
        assert secret.replace("/", "%2F").replace("+", "%2B").replace("=", "%3D") not in text


@pytest.mark.skipif(os.geteuid() != 0, reason="reading another user's memory needs root")
@pytest.mark.parametrize("body", ["form", "multipart", "json"])
def test_the_web_process_forgets_them(aws, aws_lab, body):
    fields = form(SESSION_KEY, token=SESSION)
    sent = {"data": fields} if body == "form" else {"json": fields} if body == "json" else {
        "files": {name: (None, value) for name, value in fields.items()}}
    assert aws_lab.post(SET, **sent, admin=True, headers=JSON).status_code == 200
    (web,) = aws_lab.role("web")
    assert not memory_holds(web.pid, SECRET.encode()) and not memory_holds(web.pid, SESSION.encode())
    (supervisor,) = aws_lab.role("supervisor")
    assert memory_holds(supervisor.pid, SECRET.encode()), "the supervisor keeps them"
    assert aws_lab.post(UNSET, admin=True, headers=JSON).status_code == 200
    assert not memory_holds(supervisor.pid, SECRET.encode()) and not memory_holds(supervisor.pid, SESSION.encode())


def memory_holds(pid, secret):
    os.kill(pid, signal.SIGSTOP)
    try:
        with open("/proc/%d/mem" % pid, "rb", 0) as memory:
            for line in pathlib.Path("/proc/%d/maps" % pid).read_text().splitlines():
                match = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
                if not match or "[v" in line:
                    continue
                start, end = (int(word, 16) for word in match.groups())
                if end - start > 1 << 30:
                    continue
                try:
                    memory.seek(start)
                    if secret in memory.read(end - start):
                        return True
                except (OSError, ValueError):
                    continue
    finally:
        os.kill(pid, signal.SIGCONT)
    return False


def test_stopping_does_not_wait_for_aws(aws, new_lab):
    never = threading.Event()
    aws.fail("GetCallerIdentity", 503, times=99, wait=never)
    lab = new_lab(name="aws-stop", environment={**NO_ROLE, **aws.environment(ENVIRONMENTS)})
    wait_until(lambda: aws.calls("sts"), 90, "the environment's credentials are tried at the start")
    lab.interrupt()
    assert "signal 15" not in lab.log() and not lab.role("runner")
    never.set()
