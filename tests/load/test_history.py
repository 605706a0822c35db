"""Log lines: what a batch and the last lines cost does not follow what is stored; and what is stored does not grow for ever."""

import json
import time

from lab import wait_until
from swarm import Swarm, get, memory_kb, percentile, post, web_process

LINE_BYTES = 164  # 100 of text, and 64 for its row
REPEATS = 40


def fill(lab, hostname, megabytes):
    """A history, as if it had come in batches: the rows and the head."""
    lab.add_vm(hostname, "running")
    lines = megabytes * 1000000 // 100
    lab.sql("insert into vm_log_lines (vm_id, line, message) select v.id, n, rpad('line ' || n, 99, '.')"
            " from vms v, generate_series(1, %d) n where v.hostname = %%s order by n" % lines, hostname)
    lab.sql("insert into vm_log_heads (vm_id, last_line, bytes) select id, %d, %d from vms where hostname = %%s"
            % (lines, lines * LINE_BYTES), hostname)
    return lines


def alternate(lab, names, request):
    """Median seconds by VM of requests that take turns, so that whatever else this machine does meets both."""
    seconds = {name: [] for name in names}
    with Swarm(lab.port, 1) as swarm:
        for number in range(REPEATS):
            for name in names:
                answer = swarm.exchange([request(name, number)])[0]
                assert answer.status == 200, answer
                seconds[name].append(answer.seconds)
    return {name: percentile(times, 50) for name, times in seconds.items()}


def test_cost_does_not_follow_the_history(load_lab, say, soak):
    lab = load_lab()
    megabytes = {"small": 1, "large": 200 if soak else 30}
    lines = {name: fill(lab, name, size) for name, size in megabytes.items()}
    lab.sql("vacuum analyze vm_log_lines")
    lab.sql("analyze")

    def batch(name, number):
        return post("/api/vm-logs", {"log_group": "g", "log_stream": name, "messages": ["a line of the %d. batch" % number] * 20})

    requests = {
        "a batch of 20 lines": batch,
        "the last 100 lines": lambda name, number: get("/api/vm-logs/%s?tail=100" % name),
        "what came after a line": lambda name, number: get("/api/vm-logs/%s?after=%d" % (name, lines[name] - 50)),
    }
    for what, request in requests.items():
        times = alternate(lab, ("small", "large"), request)
        say("%s: %.2f ms at %d MB, %.2f ms at %d MB", what, times["small"] * 1e3, megabytes["small"], times["large"] * 1e3, megabytes["large"])
        assert times["large"] < 5 * times["small"] + 0.002, (what, times)
    whole_text_costs_no_memory(lab, say, lines["large"] + 20 * REPEATS)


def whole_text_costs_no_memory(lab, say, lines):
    web = web_process(lab)
    before, peak, size, last = memory_kb(web), 0, 0, b""
    with lab.session() as session, session.get(lab.url + "/api/vm-logs/large", stream=True, timeout=120) as answer:
        for part in answer.iter_content(1 << 20):
            size, last = size + len(part), (last + part)[-200:]
            peak = max(peak, memory_kb(web))
    assert json.loads(b'{"' + last[last.rindex(b'"last"') + 1 :])["last"] == lines
    say("the whole text, %.0f MB: memory grew by %.1f MB", size / 1e6, (peak - before) / 1024)
    assert peak - before < 24 * 1024


def test_retention_by_size_takes_from_who_has_the_most(load_lab):
    lab = load_lab(logs={"keep_size": "1M"})
    lab.add_vm("chatty", "running"), lab.add_vm("quiet", "running")
    sent = 0
    with Swarm(lab.port, 1) as swarm:
        quiet = swarm.exchange([post("/api/vm-logs", {"log_group": "g", "log_stream": "quiet", "messages": ["quiet %d" % n for n in range(20)]})])
        assert quiet[0].status == 200
        for _ in range(40):
            messages = [("chatty %d " % (sent + n)).ljust(100, ".") for n in range(400)]
            answer = swarm.exchange([post("/api/vm-logs", {"log_group": "g", "log_stream": "chatty", "messages": messages})])[0]
            assert answer.status == 200
            sent += 400
    total = "select sum(bytes)::bigint as n from vm_log_heads"
    wait_until(lambda: lab.sql(total)[0]["n"] <= 1 << 20, 120, lambda: lab.sql(total))
    time.sleep(0.5)
    kept = lab.sql("select v.hostname, count(*) as n, min(line) as first, max(line) as last, sum(octet_length(message) + 64) as size, max(h.bytes) as bytes"
                   " from vm_log_lines l join vms v on v.id = l.vm_id join vm_log_heads h on h.vm_id = v.id group by 1 order by 1")
    chatty, quiet = kept
    assert (quiet["n"], quiet["first"], quiet["last"]) == (20, 1, 20)
    assert chatty["last"] == sent and chatty["n"] == sent - chatty["first"] + 1, "the oldest went, and no other"
    assert 1 << 19 < chatty["size"] <= 1 << 20, "no more went than had to"
    assert all(row["size"] == row["bytes"] for row in kept), kept
    text = lab.get("/api/vm-logs/chatty?tail=1").json()
    assert text["last"] == sent and text["logs"].startswith("chatty %d " % (sent - 1))
