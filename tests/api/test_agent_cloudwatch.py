"""The agent's log lines by CloudWatch, and `lablink-client ship`: against servers that play AWS and the allocator."""

import signal
import subprocess
import threading

import pytest

from aws_server import AwsServer
from lab import PATIENCE
from test_agent import agent, allocator, soon  # noqa: F401

pytestmark = pytest.mark.xdist_group("aws")  # one server for all
GROUP = "lablink-cloud-init-test"
DENIED = '{"__type": "AccessDeniedException", "Message": "User: x is not authorized to perform: logs:PutLogEvents"}'


@pytest.fixture(scope="module")
def server():
    with AwsServer({"test-key": "test-secret-key"}, {"test-key": "test-session-token"}) as server:
        yield server


@pytest.fixture
def aws(server, agent):
    server.reset()
    server.boto("logs").create_log_group(logGroupName=GROUP)
    agent.environment.update(server.environment(), LABLINK_LOGS_VIA="cloudwatch", CLOUD_INIT_LOG_GROUP=GROUP)
    yield server


def lines_of(aws, beginning="line "):
    """Those that a test wrote; the agent's own stand between them."""
    try:
        return [line for line in aws.log_lines(GROUP, "vm-1") if line.startswith(beginning)]
    except aws.boto("logs").exceptions.ResourceNotFoundException:
        return []


def test_lines_arrive_in_their_order_in_the_stream_of_the_vm(aws, agent, allocator):
    written = ["line %d \u00e4 \"x\"" % number for number in range(2500)]
    agent.log_file.write_text("".join(line + "\n" for line in written[:1200]) + "\n")
    agent.start()
    soon(lambda: lines_of(aws) == written[:1200], agent)
    with agent.log_file.open("a") as out:
        out.write("".join(line + "\n" for line in written[1200:]))
    soon(lambda: lines_of(aws) == written, agent)
    assert " " in aws.log_lines(GROUP, "vm-1"), "an empty line is a blank"
    assert not allocator.bodies("/api/vm-logs")
    puts = aws.calls("logs", "PutLogEvents")
    assert all(call.key == "test-key" and call.session for call in puts), "signed by the instance's role"
    for call in puts:
        events = call.json["logEvents"]
        assert len(events) <= 10000 and sum(len(event["message"].encode()) + 26 for event in events) <= 1 << 20
        times = [event["timestamp"] for event in events]
        assert times == sorted(times) and times[-1] - times[0] < 24 * 3600 * 1000
    assert len(aws.calls("logs", "CreateLogStream")) == 1


def test_the_loop_goes_on_while_cloudwatch_does_not_answer(aws, agent, allocator):
    go_on = threading.Event()
    aws.fail("PutLogEvents", 503, times=1, wait=go_on)
    agent.log_file.write_text("line 1\n")
    agent.start()
    soon(lambda: aws.calls("logs", "PutLogEvents"), agent)
    heard = len(allocator.bodies("/api/agent/heartbeat"))
    soon(lambda: len(allocator.bodies("/api/agent/heartbeat")) > heard + 2, agent)
    go_on.set()
    soon(lambda: lines_of(aws) == ["line 1"], agent)


def test_stopping_does_not_wait_for_cloudwatch(aws, agent):
    never = threading.Event()
    aws.fail("PutLogEvents", 503, times=1, wait=never)
    agent.log_file.write_text("line 1\n")
    agent.start()
    soon(lambda: aws.calls("logs", "PutLogEvents"), agent)
    agent.stop()
    never.set()
    agent.start()
    soon(lambda: lines_of(aws) == ["line 1"], agent)


def test_slowed_down_and_broken(aws, agent):
    aws.fail("PutLogEvents", 400, '{"__type": "ThrottlingException", "message": "Rate exceeded"}', times=2)
    aws.fail("PutLogEvents", 0, times=1)
    aws.fail("PutLogEvents", 500, times=4)
    agent.log_file.write_text("line 1\nline 2\n")
    agent.start()
    soon(lambda: lines_of(aws) == ["line 1", "line 2"], agent)


def test_a_refused_batch_does_not_hold_the_next_one_up(aws, agent):
    aws.fail("PutLogEvents", 400, '{"__type": "InvalidParameterException", "message": "no"}')
    agent.log_file.write_text("line 1\n")
    agent.start()
    soon(lambda: "lines dropped, CloudWatch refuses them" in agent.log(), agent)
    with agent.log_file.open("a") as out:
        out.write("line 2\n")
    soon(lambda: lines_of(aws) == ["line 2"], agent)


def test_without_rights_the_lines_go_to_the_allocator(aws, agent, allocator):
    aws.fail("PutLogEvents", 400, DENIED, times=99)
    agent.log_file.write_text("line 1\nline 2\n")
    agent.start()
    soon(lambda: [line for line in allocator.lines if line.startswith("line ")] == ["line 1", "line 2"], agent)
    assert "no permission for logs:PutLogEvents" in agent.log()


def test_secrets_are_masked(aws, agent, allocator):
    agent.log_file.write_text("line start-host --code=4/0Planted-code\n")
    agent.start()
    soon(lambda: lines_of(aws) == ["line start-host --code=***"], agent)


def test_kill_9_loses_no_line(aws, agent):
    written = []
    for turn in range(4):
        mine = ["line %d.%d" % (turn, number) for number in range(300)]
        written += mine
        with agent.log_file.open("a") as out:
            out.write("".join(line + "\n" for line in mine))
        agent.start()
        soon(lambda: mine[0] in lines_of(aws), agent)
        agent.kill()
    agent.start()
    soon(lambda: set(written) <= set(lines_of(aws)), agent)
    assert len(lines_of(aws)) <= len(written) + 4 * 300, "at most the batch that was under way comes twice"


# --- ship --------------------------------------------------------------------------------------------------------------


def start_ship(agent, **more):
    with open(agent.output, "ab") as out:
        return subprocess.Popen(agent.argv("ship"), env={**agent.environment, **more}, stdin=subprocess.PIPE, stdout=out, stderr=out)


def test_ship_sends_from_the_first_line_and_ends_with_its_input(agent, allocator):
    ship = start_ship(agent)
    ship.stdin.write(b"first --code=4/0Planted-code\n")
    ship.stdin.flush()
    soon(lambda: allocator.lines == ["first --code=***"], agent)
    ship.stdin.write(b"second\nwithout an end \xff")
    ship.stdin.close()
    assert ship.wait(PATIENCE) == 0, agent.log()
    assert allocator.lines == ["first --code=***", "second", "without an end \ufffd"]


def test_ship_keeps_what_cannot_be_sent_and_holds_nobody_up(agent, allocator):
    allocator.statuses["/api/vm-logs"] = 503
    ship = start_ship(agent)
    wanted = ["line %d " % number + "x" * 100 for number in range(20000)]  # far more than a pipe holds
    ship.stdin.write("".join(line + "\n" for line in wanted).encode())
    ship.stdin.close()
    soon(lambda: len(allocator.bodies("/api/vm-logs")) > 1, agent)
    assert ship.poll() is None
    allocator.statuses.clear()
    assert ship.wait(PATIENCE) == 0, agent.log()
    assert allocator.lines == wanted


def test_ship_reads_a_file_and_ends_at_a_signal(agent, allocator):
    agent.log_file.write_text("one\ntwo\n")
    with agent.log_file.open() as file:
        done = subprocess.run(agent.argv("ship"), env=agent.environment, stdin=file, capture_output=True, timeout=PATIENCE)
    assert done.returncode == 0 and allocator.lines == ["one", "two"], done.stderr
    ship = start_ship(agent)
    ship.stdin.write(b"three\n")
    ship.stdin.flush()
    soon(lambda: "three" in allocator.lines, agent)
    ship.send_signal(signal.SIGTERM)
    assert ship.wait(PATIENCE) == 1


def test_ship_by_cloudwatch(aws, agent):
    ship = start_ship(agent)
    ship.stdin.write(b"line 1\nline 2\n")
    ship.stdin.close()
    assert ship.wait(PATIENCE) == 0, agent.log()
    assert lines_of(aws) == ["line 1", "line 2"]
