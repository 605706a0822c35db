"""What a lab holds, told by its API, so that it can be compared across schemas: before and after a restore or an upgrade.

What changes by itself while a lab runs (shown status, times of the last change, uptime) is left out.
"""

SEAT = ("email", "pin", "crd_command", "generation", "assigned_at")
MACHINE = ("reported_status", "healthy", "in_use", "metrics", "created_at", "terraform_timing_seconds",
           "terraform_timing_start", "terraform_timing_end", "total_startup_time_seconds", "boot_id", "carried_generation")
WORK = ("kind", "state", "arguments", "progress", "result", "error", "requested_by", "created_at", "started_at", "ended_at")


def facts(lab):
    json = {"Accept": "application/json"}
    vms = lab.get("/admin/instances", admin=True, headers=json).json()["instances"]
    operations = lab.get("/api/operations", admin=True).json()["operations"]
    return {
        "vms": {vm["hostname"]: {name: vm[name] for name in SEAT + MACHINE} for vm in vms},
        "logs": {vm["hostname"]: lab.get("/api/vm-logs/%s?tail=10000" % vm["hostname"], admin=True).json()["logs"] for vm in vms},
        "operations": {str(operation["id"]): {name: operation[name] for name in WORK} for operation in operations},
        "output": {str(operation["id"]): [row["message"] for row in lab.sql(
            "select message from operation_lines where operation_id = %s order by line", operation["id"])] for operation in operations},
        "retired": [row["hostname"] for row in lab.sql("select hostname from retired_hostnames order by hostname")],
        "audit": [[row["who"], row["action"]] for row in lab.sql("select who, action from audit order by id")],
        "keys": [row["request_key"] for row in lab.sql("select request_key from operations union select request_key from audit order by 1")],
    }


# Lines that a careless reader of a dump would stumble over.
LINES = ["boot: ok", "\\.", "COPY public.vms (id, hostname) FROM stdin;", "tab\there, back\\slash, 'quotes' \"both\"", "",
         "  spaces  ", "naïve café — 日本語 🙂", "$1 %s {{x}} <b>&amp;", "x" * 8400, "\\N", "--; drop table vms;"]


def furnish(lab):
    """VMs in every state, seats taken, given back and taken again, logs, and operations with every end."""
    json = {"Accept": "application/json"}

    def post(path, admin=False, **more):
        answer = lab.post(path, admin=admin, headers={**json, **more.pop("headers", {})}, **more)
        assert answer.status_code in (200, 202), (path, answer.status_code, answer.text)
        return answer.json()

    def claim(email):
        command = "start-host --code=4/0AeanS0a_%s --name=$(hostname)" % email.encode().hex()
        return post("/api/request_vm", json={"email": email, "crd_command": command})["hostname"]

    for number in (1, 2):
        post("/api/vm-status", json={"hostname": "old-%d" % number, "status": "running"})
        post("/api/vm-logs", json={"log_stream": "old-%d" % number, "messages": ["gone soon"]})
    lab.wait_operation(post("/destroy", admin=True, headers={"Idempotency-Key": "destroy-key"})["operation"]["id"])
    for number in range(1, 8):
        name = "vm-%d" % number
        post("/api/vm-status", json={"hostname": name, "status": "initializing"})
        post("/api/vm-logs", json={"log_stream": name, "messages": ["%s: %s" % (name, line) for line in (LINES if number in (1, 6) else LINES[:3])], "batch_id": "b%d" % number})
    for number in range(1, 6):
        post("/api/vm-status", json={"hostname": "vm-%d" % number, "status": "running"})
    post("/api/vm-status", json={"hostname": "vm-6", "status": "error"})
    people = {email: claim(email) for email in ("ada@example.org", "ben@example.org", "zoë@example.org")}
    post("/api/admin/vms/%s/release" % people["ben@example.org"], admin=True, json={"yes": True}, headers={"Idempotency-Key": "release-key"})
    people["cem@example.org"] = claim("cem@example.org")
    post("/api/update_inuse_status", json={"hostname": people["ada@example.org"], "status": True})
    post("/api/gpu_health", json={"hostname": people["ada@example.org"], "gpu_status": "Healthy"})
    post("/api/gpu_health", json={"hostname": "vm-5", "gpu_status": "Unhealthy"})
    post("/api/vm-metrics/vm-1", json={"cloud_init_start": 1764070000, "cloud_init_end": 1764070042, "note": "a \"word\""})
    for kind, state, arguments, error in (("launch", "failed", '{"num_vms": 3}', "no room"), ("launch", "cancelled", '{"num_vms": 2}', None),
                                          ("reconcile", "done", "{}", None)):
        number = lab.sql("insert into operations (kind, state, arguments, progress_done, progress_total, progress_text, error, epoch,"
                         " requested_by, started_at, ended_at, last_line) values (%s, %s, %s, 1, 3, 'one of three', %s, 1, 'admin',"
                         " now(), now(), 2) returning id", kind, state, arguments, error)[0]["id"]
        lab.sql("insert into operation_lines (operation_id, line, message) values (%s, 1, 'first'), (%s, 2, %s)", number, number, LINES[3])
    return people
