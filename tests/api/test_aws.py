"""The signed calls of src/aws against a server that plays AWS and checks every signature."""

import json
import os
import subprocess

import pytest

from aws_server import ACCOUNT, AwsServer
from lab import BUILD

pytestmark = pytest.mark.xdist_group("aws")  # one server for all
CALLS = BUILD / "tests/unit/aws/aws_calls"
KEY, SECRET = "AKIDLABLINKTEST", "test/secret+key/of=the-tests"
SESSION_KEY, SESSION = "ASIALABLINKTEST", "session//token+of==the/tests" + "x" * 900


@pytest.fixture(scope="module")
def server():
    with AwsServer({KEY: SECRET, SESSION_KEY: SECRET + "2", "test-key": "test-secret-key"},
                   {SESSION_KEY: SESSION, "test-key": "test-session-token"}) as server:
        yield server


@pytest.fixture
def aws(server):
    server.reset()
    yield server
    assert not server.wrong, "wrongly signed: %r" % server.wrong


def run(aws, *words, key=KEY, session=None, environment=(), fails=False):
    environ = {name: os.environ[name] for name in ("PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS") if name in os.environ}
    environ.update(aws.environment(key, session))
    environ.update(environment)
    done = subprocess.run([str(CALLS), *words], env=environ, capture_output=True, text=True, timeout=300)
    assert done.returncode == (1 if fails else 0), (done.returncode, done.stdout, done.stderr)
    return done.stderr if fails else done.stdout.strip()


def test_who_am_i(aws):
    account, arn = run(aws, "identity").split(" ")
    assert account == ACCOUNT and arn.startswith("arn:aws:")
    (call,) = aws.calls("sts")
    assert (call.method, call.action, call.region) == ("POST", "GetCallerIdentity", "us-west-2")
    assert "expect" not in call.head


def test_a_session_token_is_sent_and_signed(aws):
    run(aws, "identity", key=SESSION_KEY, session=SESSION)
    (call,) = aws.calls("sts")
    assert call.session == SESSION and "x-amz-security-token" in call.names


@pytest.mark.parametrize("name, nvidia", [("g4dn.xlarge", True), ("g5.12xlarge", True), ("t3.large", False), ("g4ad.xlarge", False)])
def test_gpu_of_an_instance_type(aws, name, nvidia):
    facts, _, gpu = run(aws, "instance-type", name).partition(" gpu=")
    said = dict(word.split("=") for word in facts.split(" "))
    assert said["nvidia"] == str(int(nvidia)) and int(said["vcpus"]) > 0 and int(said["memory"]) > 1000
    assert (gpu == "-") == (int(said["gpus"]) == 0)


def test_an_instance_type_that_does_not_exist(aws):
    assert run(aws, "instance-type", "g4dn.enormous", fails=True).startswith(("ENOENT", "EINVAL"))


def test_objects_in_s3(aws):
    s3 = aws.boto("s3")
    s3.create_bucket(Bucket="lab-state", CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    keys = ["test/client/terraform.runtime.tfvars", "a b+c%20d/\u00e4\u1234 (1)!*'~.txt"]
    for key in keys:
        run(aws, "put-object", "lab-state", key, "x = \"y\"\n\u00fc")
        stored = s3.get_object(Bucket="lab-state", Key=key)
        assert stored["Body"].read().decode() == "x = \"y\"\n\u00fc" and stored["ServerSideEncryption"] == "AES256"
    run(aws, "put-object", "lab-state", "empty", "")
    assert "NoSuchBucket" in run(aws, "put-object", "not-there", "k", "x", fails=True)
    assert "no name of an S3 bucket" in run(aws, "put-object", "../evil", "k", "x", fails=True)


def test_a_bucket_in_another_region(aws):
    aws.fail("PUT /lab-state", 301, headers=[("x-amz-bucket-region", "eu-central-1")],
             body="<Error><Code>PermanentRedirect</Code><Message>The bucket is elsewhere.</Message></Error>")
    said = run(aws, "put-object", "lab-state", "k", "x", fails=True)
    assert "wrong region" in said and "eu-central-1, not us-west-2" in said


def test_log_streams_and_lines(aws):
    assert "ENOENT" in run(aws, "create-stream", "lab-logs", "vm-1", fails=True)
    aws.boto("logs").create_log_group(logGroupName="lab-logs")
    run(aws, "create-stream", "lab-logs", "vm-1")
    run(aws, "create-stream", "lab-logs", "vm-1")
    assert run(aws, "put-events", "lab-logs", "vm-1", "one", "two \u00e4 \"quoted\" \\") == "rejected=0"
    assert aws.log_lines("lab-logs", "vm-1") == ["one", "two \u00e4 \"quoted\" \\"]
    assert "ENOENT" in run(aws, "put-events", "lab-logs", "vm-2", "x", fails=True)


def test_rejected_events_are_counted(aws):
    aws.fail("PutLogEvents", 200, json.dumps({"rejectedLogEventsInfo": {"tooOldLogEventEndIndex": 1, "tooNewLogEventStartIndex": 3}}))
    assert run(aws, "put-events", "g", "s", "a", "b", "c", "d") == "rejected=2"


def test_credentials_of_the_instance(aws):
    assert run(aws, "credentials", key=None) == "test-key test-secret-key test-session-token 1 us-west-2"
    assert run(aws, "credentials", key=None, environment={"AWS_REGION": ""}).endswith(" us-east-1")
    token = [call for call in aws.calls() if call.target == "/latest/api/token"]
    assert token and all(call.method == "PUT" and call.head["x-aws-ec2-metadata-token-ttl-seconds"] for call in token)
    asked = [call for call in aws.calls() if call.target.startswith("/latest/meta-data/")]
    assert asked and all(call.head["x-aws-ec2-metadata-token"] for call in asked)
    run(aws, "identity", key=None)


def test_an_instance_without_a_role(aws):
    aws.fail("GET /latest/meta-data/iam/security-credentials/", 404, times=9)
    said = run(aws, "identity", key=None, fails=True)
    assert said.startswith("ENOKEY") and "there are no AWS credentials" in said and "no role is attached" in said


def test_renewed_role_credentials_are_fetched_once_more(aws):
    aws.fail("GetCallerIdentity", 403, "<ErrorResponse><Error><Code>ExpiredToken</Code><Message>x</Message></Error></ErrorResponse>")
    run(aws, "identity", key=None)
    assert len([call for call in aws.calls() if call.target.endswith("/default-role")]) == 2


@pytest.mark.parametrize("status, body, headers", [
    (503, "", []), (500, "<ErrorResponse><Error><Code>InternalFailure</Code></Error></ErrorResponse>", []), (0, "", []),
    (400, "<ErrorResponse><Error><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>", []), (429, "", [("Retry-After", "1")])])
def test_tried_again(aws, status, body, headers):
    aws.fail("GetCallerIdentity", status, body, times=2, headers=headers)
    assert run(aws, "identity").startswith(ACCOUNT)
    assert len(aws.calls("sts")) == 3


def test_given_up_at_last(aws):
    aws.fail("GetCallerIdentity", 503, times=99)
    assert run(aws, "identity", fails=True).startswith("EAGAIN")
    assert len(aws.calls("sts")) == 3


@pytest.mark.parametrize("code, status, errno, words", [
    ("ExpiredToken", 403, "EKEYEXPIRED", "the AWS session token has expired"),
    ("SignatureDoesNotMatch", 403, "EKEYREJECTED", "secret access key does not belong"),
    ("RequestTimeTooSkewed", 403, "EKEYREJECTED", "clock is wrong"),
    ("UnauthorizedOperation", 403, "EACCES", "no permission for ec2:DescribeInstanceTypes"),
    ("OptInRequired", 401, "EACCES", "not enabled the region"),
    ("VcpuLimitExceeded", 400, "EDQUOT", "vCPU quota"),
    ("InsufficientInstanceCapacity", 400, "ENOSPC", "no capacity"),
    ("InvalidInstanceType", 400, "ENOENT", "no instance type of that name")])
def test_failures_in_plain_words_and_tried_once(aws, code, status, errno, words):
    aws.fail("DescribeInstanceTypes", status, "<Response><Errors><Error><Code>%s</Code><Message>m %s</Message></Error></Errors></Response>" % (code, SECRET))
    said = run(aws, "instance-type", "g4dn.xlarge", fails=True)
    assert said.startswith(errno) and words in said and SECRET not in said
    assert len(aws.calls("ec2")) == 1


def test_wrong_keys(aws):
    assert "does not know this access key ID" in run(aws, "identity", fails=True, environment={"AWS_ACCESS_KEY_ID": "AKIDOTHER"})
    said = run(aws, "identity", key=SESSION_KEY, session=SESSION, fails=True, environment={"AWS_SECRET_ACCESS_KEY": "wrong"})
    assert "secret access key does not belong" in said and SESSION not in said
    aws.wrong.clear()


def test_hostile_answers(aws):
    bomb = "<!DOCTYPE a [<!ENTITY b \"" + "x" * 1000 + "\">]><a>" + "&b;" * 1000 + "</a>"
    for body in (b"", b"<", b"{}", b"\xff" * 100, bomb.encode(), b"<a>" * 5000, b"x" * (2 << 20), b"[" * 5000):
        aws.fail("GetCallerIdentity", 200, body, times=3)
        run(aws, "identity", fails=True)
        aws.faults.clear()
        aws.fail("DescribeInstanceTypes", 400, body, times=3)
        run(aws, "instance-type", "g4dn.xlarge", fails=True)
        aws.faults.clear()


def test_no_region_by_that_name(aws):
    said = run(aws, "identity", fails=True, environment={"AWS_ENDPOINT_URL": "", "AWS_REGION": "nowhere-1.invalid"})
    assert "is no AWS region" in said
