"""The module terraform/client-vms as text: it keeps the contract of deployed labs, its arguments exist, its rights are few.

What it makes in AWS cannot be made in a test. Everything short of that is looked at: an HCL parser reads the names,
every argument is compared with the bindings that the AWS provider's schema was made into, checkov looks for what is
known to be unsafe, and the engine renders what the VMs boot with. The facts of deployed labs stand here once more, so
that a change of the contract is a change of two places.
"""

import ast
import base64
import functools
import gzip
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MODULE = ROOT / "terraform" / "client-vms"
NOTHING = object()

# Name: (type, default). What follows the empty line is ours, after deployed labs.
VARIABLES = {
    "instance_count": ("number", 1), "allocator_ip": ("string", NOTHING), "allocator_url": ("string", NOTHING),
    "machine_type": ("string", NOTHING), "image_name": ("string", NOTHING), "repository": ("string", NOTHING),
    "client_ami_id": ("string", NOTHING), "resource_suffix": ("string", NOTHING), "subject_software": ("string", NOTHING),
    "gpu_support": ("bool", NOTHING), "cloud_init_output_log_group": ("string", NOTHING), "region": ("string", NOTHING),
    "ssh_user": ("string", "ubuntu"), "startup_on_error": ("string", "continue"),
    "custom_startup_script_path": ("string", "/config/custom-startup.sh"),

    "vm_tokens": ("${map(string)}", {}), "launch_id": ("string", ""), "owner": ("string", "lablink"),
}
OUTPUTS = {"vm_instance_ids", "vm_public_ips", "vm_instance_names", "lablink_private_key_pem", "instance_terraform_apply_times",
           "terraform_apply_avg_seconds", "terraform_apply_max_seconds", "terraform_apply_min_seconds"}
NAMES = {
    ("aws_security_group", "lablink_sg", "name"): "lablink_client_${var.resource_suffix}_sg",
    ("aws_key_pair", "lablink_key_pair", "key_name"): "lablink_key_pair_client_${var.resource_suffix}",
    ("aws_iam_role", "cloud_watch_agent_role", "name"): "lablink_cloud_watch_agent_role_${var.resource_suffix}",
    ("aws_iam_instance_profile", "lablink_instance_profile", "name"): "lablink_client_instance_profile_${var.resource_suffix}",
}
CONTAINER = ["ALLOCATOR_HOST", "ALLOCATOR_URL", "TUTORIAL_REPO_TO_CLONE", "VM_NAME", "SUBJECT_SOFTWARE", "CLOUD_INIT_LOG_GROUP",
             "AWS_REGION", "STARTUP_ON_ERROR"]
META = {"count", "for_each", "depends_on", "lifecycle", "provider", "provisioner", "connection"}


@functools.lru_cache(maxsize=None)
def packages(name):
    """The directory of a set of Python packages; where it cannot be had, the test says so in the summary."""
    done = subprocess.run([str(ROOT / "tools/python-packages"), name], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else (None, done.stderr.strip())


def needs(name):
    place = packages(name)
    if isinstance(place, tuple):
        pytest.skip("not checked: the Python packages %s could not be had: %s" % (name, place[1]))
    return place


@functools.lru_cache(maxsize=None)
def engine():
    """tofu, else terraform; None when there is neither."""
    getter = ROOT / "tools" / "get-tofu"
    if shutil.which("tofu"):
        return shutil.which("tofu")
    if getter.exists():
        done = subprocess.run([str(getter)], capture_output=True, text=True)
        place = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""
        if done.returncode == 0 and os.access(place, os.X_OK):
            return place
    return shutil.which("terraform")


def needs_engine():
    return engine() or pytest.skip("not checked: neither tofu nor terraform is at hand")


def run_engine(*words, cwd, code=0, **environment):
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
    done = subprocess.run(
        [needs_engine(), *words], cwd=cwd, capture_output=True, text=True,
        env={**kept, "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1", "TF_DATA_DIR": str(cwd / ".terraform"), **environment})
    assert code is None or done.returncode == code, done.stdout + done.stderr
    return done


def plain(value):
    """python-hcl2 keeps a text's quotes; a key's too."""
    if isinstance(value, dict):
        return {plain(key): plain(inner) for key, inner in value.items() if key not in ("__is_block__", "__comments__")}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] == '"':
        return value[1:-1]
    return value


@pytest.fixture(scope="module")
def module():
    """Every block of the module: {"variable": {NAME: body}, "resource": {(TYPE, NAME): body}, ...}."""
    code = "import hcl2, json, sys; print(json.dumps([hcl2.load(open(name)) for name in sys.argv[1:]]))"
    files = sorted(map(str, MODULE.glob("*.tf")))
    done = subprocess.run([sys.executable, "-c", code, *files], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": needs("hcl2"), "PYTHONDONTWRITEBYTECODE": "1"})
    assert done.returncode == 0, done.stderr
    found = {"variable": {}, "output": {}, "resource": {}, "data": {}, "provider": {}, "locals": {}, "terraform": {}}
    for read in json.loads(done.stdout):
        for kind, blocks in plain(read).items():
            for block in blocks:
                if kind in ("resource", "data"):
                    ((of, inner),) = block.items()
                    ((name, body),) = inner.items()
                    found[kind][of, name] = body
                else:
                    found[kind].update(block)
    return found


def test_variables_are_those_of_deployed_labs(module):
    found = {name: (body["type"], body.get("default", NOTHING)) for name, body in module["variable"].items()}
    assert found == VARIABLES
    assert {name for name, body in module["variable"].items() if body.get("sensitive")} == {"vm_tokens"}
    assert all(body.get("description") for body in module["variable"].values())


def test_outputs_are_those_of_deployed_labs(module):
    assert set(module["output"]) == OUTPUTS
    assert {name for name, body in module["output"].items() if body.get("sensitive")} == {"lablink_private_key_pem"}


def test_names_are_those_of_deployed_labs(module):
    for (kind, name, key), expected in NAMES.items():
        assert module["resource"][kind, name][key] == expected
    assert '"lablink-vm-${var.resource_suffix}-${number}"' in module["locals"]["names"]
    vm = module["resource"]["aws_instance", "lablink_vm"]
    assert vm["count"] == "${var.instance_count}" and vm["tags"]["Name"] == "${local.names[count.index]}"
    made = {kind for kind, _ in module["resource"]}
    assert made == {"aws_security_group", "aws_key_pair", "aws_iam_role", "aws_iam_role_policy", "aws_iam_instance_profile", "aws_instance",
                    "tls_private_key", "terraform_data"}


@pytest.mark.parametrize("environment", ["test", "ci-test", "prod"])
def test_state_lies_where_deployed_labs_keep_it(environment):
    text = (MODULE / ("backend-client-%s.hcl" % environment)).read_text()
    found = dict(re.findall(r'^(\w+) += "?([^"\n]+)"?$', text, re.M))
    assert found == {"key": "%s/client/terraform.tfstate" % environment, "dynamodb_table": "lock-table", "encrypt": "true"}


def test_a_vm_is_closed_and_its_disk_encrypted(module):
    vm = module["resource"]["aws_instance", "lablink_vm"]
    (metadata,), (disk,), (life,) = vm["metadata_options"], vm["root_block_device"], vm["lifecycle"]
    assert metadata == {"http_endpoint": "enabled", "http_tokens": "required", "http_put_response_hop_limit": 1, "instance_metadata_tags": "disabled"}
    assert (disk["volume_size"], disk["volume_type"], disk["encrypted"], disk["delete_on_termination"]) == (80, "gp3", True, True)
    # Nothing that a later launch brings touches a machine that is there.
    assert {"ami", "user_data", "user_data_base64", "root_block_device", "instance_type"} <= set(life["ignore_changes"])
    group = module["resource"]["aws_security_group", "lablink_sg"]
    assert "ingress" not in group, "no way in but the one for the allocator's address"
    ((rule,),) = [inner["ingress"]["content"] for inner in group["dynamic"]]
    assert rule["from_port"] == rule["to_port"] == 22 and rule["cidr_blocks"] == "${local.ssh_ipv4}"
    assert "0.0.0.0" not in module["locals"]["ssh_ipv4"] and "var.allocator_ip" in module["locals"]["ssh_ipv4"]


def test_everything_carries_its_environment_and_owner(module):
    ((tags,),) = [[inner["tags"] for inner in module["provider"]["aws"]["default_tags"]]]
    assert tags == {"lablink:environment": "${var.resource_suffix}", "lablink:owner": "${var.owner}", "lablink:managed-by": "lablink"}
    assert "lablink:launch-id" in module["resource"]["aws_instance", "lablink_vm"]["tags"]


def test_a_vm_may_write_its_log_and_nothing_else(module):
    """One policy, for the lab's group; no policy of Amazon's own, which would open every group."""
    assert {name for kind, name in module["resource"] if kind.startswith("aws_iam")} == {
        "cloud_watch_agent_role", "vm_logs", "lablink_instance_profile"}
    documents = {name: body for (kind, name), body in module["data"].items() if kind == "aws_iam_policy_document"}
    assert set(documents) == {"vm_is_ec2", "vm_logs"}
    (trust,) = documents["vm_is_ec2"]["statement"]
    assert trust["actions"] == ["sts:AssumeRole"] and trust["principals"] == [{"type": "Service", "identifiers": ["ec2.amazonaws.com"]}]
    assert module["locals"]["log_groups"].endswith(":log-group") and "*" not in module["locals"]["log_groups"]
    assert module["locals"]["log_group"] == "${local.log_groups}:${var.cloud_init_output_log_group}"
    allowed = {action: set(statement["resources"]) for statement in documents["vm_logs"]["statement"] for action in statement["actions"]}
    group = "${local.log_group}"
    assert allowed == {
        "logs:CreateLogStream": {group, group + ":log-stream:lablink-vm-${var.resource_suffix}-*"},
        "logs:PutLogEvents": {group, group + ":log-stream:lablink-vm-${var.resource_suffix}-*"},
        "logs:DescribeLogStreams": {group, group + ":*"},
        "logs:DescribeLogGroups": {"${local.log_groups}:*"},
    }


def test_the_container_gets_deployed_variables_and_the_token():
    script = (MODULE / "boot.sh").read_text()
    assert re.findall(r'--env "(\w+)=\$\1"', script) == CONTAINER
    assert re.findall(r"--env \"?(\w+)=(?!\$[A-Z])", script) == ["LABLINK_CLIENT_TOKEN_FILE", "LABLINK_LOGS_VIA"], "and what is ours"
    assert "docker run -dit" in script and "--network host" in script and "/etc/config:/docker_scripts:ro" in script


# --- what the provider knows ------------------------------------------------------------------------------------------


class Bindings:
    """The arguments of a resource, out of the classes generated from its schema: {name: (required, nested class)}."""

    def __init__(self, place):
        self.wheels = {wheel.name.split("_")[3].split("-")[0]: zipfile.ZipFile(wheel) for wheel in pathlib.Path(place).glob("*.whl")}

    @functools.lru_cache(maxsize=None)
    def classes(self, provider, short):
        source = self.wheels[provider].read("cdktf_cdktf_provider_%s/%s/__init__.py" % (provider, short)).decode()
        return {node.name: node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}

    def arguments(self, provider, short, name):
        classes = self.classes(provider, short)
        (init,) = [node for node in classes[name].body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
        found = {}
        for argument, default in zip(init.args.kwonlyargs, init.args.kw_defaults):
            named = re.findall(r"['\"](\w+)['\"]", ast.unparse(argument.annotation))
            nested = [inner for inner in named if inner in classes]
            found[argument.arg.rstrip("_")] = (default is None, nested[0] if nested else None)
        return found

    def check(self, provider, short, name, body, where):
        """Each argument exists and each required one is there, in nested blocks too."""
        known = self.arguments(provider, short, name)
        given = {key: value for key, value in body.items() if key not in META and key != "dynamic"}
        for dynamic in body.get("dynamic", []):
            for key, inner in dynamic.items():
                given[key] = inner["content"]
        unknown = set(given) - set(known)
        assert not unknown, "%s: the provider knows no %s" % (where, ", ".join(sorted(unknown)))
        missing = {key for key, (required, _) in known.items() if required} - set(given) - META - {"scope", "id_"}
        assert not missing, "%s: the provider demands %s" % (where, ", ".join(sorted(missing)))
        count = len(given)
        for key, value in given.items():
            if known[key][1] and isinstance(value, list):
                for inner in value:
                    count += self.check(provider, short, known[key][1], inner, "%s.%s" % (where, key))
        return count


@pytest.fixture(scope="module")
def bindings():
    return Bindings(needs("bindings"))


def class_of(kind):
    provider, _, short = kind.partition("_")
    return provider, short, "".join(word.capitalize() for word in short.split("_"))


def test_every_argument_exists_and_none_is_missing(module, bindings):
    count = 0
    for kind, name in module["resource"]:
        if kind == "terraform_data":
            assert set(module["resource"][kind, name]) <= META | {"input", "triggers_replace"}
            continue
        count += bindings.check(*class_of(kind), module["resource"][kind, name], "%s.%s" % (kind, name))
    for kind, name in module["data"]:
        provider, short, title = class_of(kind)
        count += bindings.check(provider, "data_%s_%s" % (provider, short), "Data%s%s" % (provider.capitalize(), title),
                                module["data"][kind, name], "data.%s.%s" % (kind, name))
    count += bindings.check("aws", "provider", "AwsProvider", module["provider"]["aws"], "provider.aws")
    assert count > 40


def test_a_wrong_argument_would_be_found(module, bindings):
    vm = module["resource"]["aws_instance", "lablink_vm"]
    with pytest.raises(AssertionError, match="vm.metadata_options: the provider knows no http_token"):
        bindings.check("aws", "instance", "Instance", {**vm, "metadata_options": [{"http_token": "required"}]}, "vm")
    with pytest.raises(AssertionError, match="the provider demands role"):
        bindings.check("aws", "iam_role_policy", "IamRolePolicy", {"policy": "{}"}, "policy")


def test_every_attribute_that_is_read_exists(module, bindings):
    text = "".join(path.read_text() for path in MODULE.glob("*.tf"))
    read = set(re.findall(r"\b(?<!data\.)((?:aws|tls)_\w+)\.(\w+)(?:\[[^]]*\])?\.(\w+)", text)) - {("aws_instance", "lablink_vm", "tags")}
    read |= {("data_" + kind, name, key) for kind, name, key in re.findall(r"\bdata\.(aws_\w+)\.(\w+)(?:\[[^]]*\])?\.(\w+)", text)}
    assert len(read) > 8
    for kind, name, key in read:
        provider, short, title = class_of(kind.replace("data_", "", 1))
        if kind.startswith("data_"):
            short, title = "data_%s_%s" % (provider, short), "Data%s%s" % (provider.capitalize(), title)
        members = {node.name.rstrip("_") for node in bindings.classes(provider, short)[title].body if isinstance(node, ast.FunctionDef)}
        assert key in members, "%s.%s has no %s" % (kind, name, key)


def test_checkov_finds_only_what_is_reasoned():
    place = needs("checkov")
    done = subprocess.run(
        [sys.executable, "-m", "checkov.main", "-d", str(MODULE), "--framework", "terraform", "--output", "json", "--skip-download", "--quiet"],
        capture_output=True, text=True, cwd="/", env={**os.environ, "PYTHONPATH": place, "PYTHONDONTWRITEBYTECODE": "1"})
    assert done.stdout.strip(), done.stderr[-3000:]
    report = json.loads(done.stdout)
    failed = {check["check_id"]: check["resource"] for check in report["results"]["failed_checks"]}
    assert report["summary"]["passed"] >= 35 and report["summary"]["parsing_errors"] == 0
    reasoned = yaml.safe_load((ROOT / "terraform/checkov.yaml").read_text())["skip-check"]
    assert set(failed) == set(reasoned), failed


# --- what the engine says ---------------------------------------------------------------------------------------------


def test_layout_is_the_engines():
    done = run_engine("fmt", "-check", "-diff", "-recursive", str(ROOT / "terraform"), cwd=ROOT, code=None)
    assert done.returncode == 0, done.stdout


def test_the_engine_finds_it_valid(tmp_path):
    """With the providers' schemas, which not every machine can have: from LABLINK_PROVIDERS, else from where the engine looks."""
    place, mirror = tmp_path / "module", os.environ.get("LABLINK_PROVIDERS")
    shutil.copytree(MODULE, place, ignore=shutil.ignore_patterns(".terraform*"))
    words = ["-plugin-dir=" + mirror] if mirror else []
    done = run_engine("init", "-backend=false", "-input=false", "-no-color", *words, cwd=place, code=None)
    if done.returncode != 0:
        assert not mirror, done.stdout + done.stderr
        assert re.search("Failed to (query|install|resolve)", done.stdout + done.stderr), done.stdout + done.stderr
        pytest.skip("not validated: the AWS provider could not be had here; its arguments were compared with the generated bindings")
    run_engine("validate", "-no-color", cwd=place)


HOSTILE = "it's \"quoted\" $(touch /tmp/lablink-pwned) `id`; ${HOME} %{x} \\ é\n\t'\\''"


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """Applies what needs no AWS, with the instances played by terraform_data: returns outputs of two launches."""
    place = tmp_path_factory.mktemp("rendered")
    for name in ("variables.tf", "boot.tf", "boot.sh"):
        shutil.copy(MODULE / name, place)
    for name in ("times.tf", "outputs.tf"):
        text = (MODULE / name).read_text()
        for old, new in (("aws_instance.lablink_vm[*].public_ip", "aws_instance.lablink_vm[*].id"), ('vm.tags["Name"]', "vm.output.name"),
                         ("tls_private_key.lablink_key.private_key_pem", '"key"'), ("aws_instance.", "terraform_data.")):
            text = text.replace(old, new)
        (place / name).write_text(text)
    (place / "stand-in.tf").write_text("""
        resource "terraform_data" "lablink_vm" {
          count = var.instance_count
          input = { name = local.names[count.index] }
        }
        output "user_data" {
          value     = { for name, text in local.user_data : name => base64gzip(text) }
          sensitive = true
        }""")
    script = place / "custom.sh"
    script.write_text("#!/bin/sh\necho \"it's mine\"\n")
    values = {"allocator_ip": HOSTILE, "allocator_url": HOSTILE, "machine_type": "t", "image_name": HOSTILE, "repository": HOSTILE,
              "client_ami_id": "ami", "resource_suffix": "test", "subject_software": HOSTILE, "gpu_support": "true",
              "cloud_init_output_log_group": HOSTILE, "region": "us-west-2", "custom_startup_script_path": str(script)}
    (place / "terraform.tfvars.json").write_text(json.dumps(values))
    run_engine("init", "-input=false", "-no-color", cwd=place)
    launches = []
    for count, tokens in ((2, {1: "token-1", 2: "token-2"}), (3, {3: "token-3"})):
        named = {"lablink-vm-test-%d" % number: token for number, token in tokens.items()}
        done = run_engine("apply", "-auto-approve", "-input=false", "-no-color", "-var", "instance_count=%d" % count, cwd=place,
                          TF_VAR_vm_tokens=json.dumps(named))
        assert "token-" not in done.stdout + done.stderr
        outputs = json.loads(run_engine("output", "-json", "-no-color", cwd=place).stdout)
        launches.append({name: inner["value"] for name, inner in outputs.items()})
    return launches, values


def test_every_value_reaches_the_vm_as_it_is(rendered, tmp_path):
    (first, second), values = rendered
    assert list(first["user_data"]) == ["lablink-vm-test-1", "lablink-vm-test-2"]
    sent = base64.b64decode(second["user_data"]["lablink-vm-test-3"])
    assert len(sent) < 16384, "the limit of user data"
    text = gzip.decompress(sent).decode()
    assert text.startswith("#!/bin/bash\n") and text.endswith((MODULE / "boot.sh").read_text())
    settings = text[: -len((MODULE / "boot.sh").read_text())]
    place = tmp_path / "settings"
    place.write_text(settings + "declare -p $(grep -o '^[A-Z_]*=' \"$0\" | tr -d =) >/dev/null\nenv -0\n")
    done = subprocess.run(["bash", "-a", str(place)], capture_output=True, env={"PATH": os.environ["PATH"]}, check=True)
    found = dict(item.split("=", 1) for item in done.stdout.decode().split("\0") if item)
    expected = {"VM_NAME": "lablink-vm-test-3", "ALLOCATOR_HOST": HOSTILE, "ALLOCATOR_URL": HOSTILE, "CLIENT_TOKEN": "token-3",
                "IMAGE_NAME": HOSTILE, "TUTORIAL_REPO_TO_CLONE": HOSTILE, "SUBJECT_SOFTWARE": HOSTILE, "GPU_SUPPORT": "true",
                "CLOUD_INIT_LOG_GROUP": HOSTILE, "AWS_REGION": "us-west-2", "STARTUP_ON_ERROR": "continue"}
    assert {key: found.get(key) for key in expected} == expected
    assert base64.b64decode(found["STARTUP_SCRIPT"]) == b"#!/bin/sh\necho \"it's mine\"\n"
    assert not os.path.exists("/tmp/lablink-pwned")
    needed = re.search(r"^# Settings: ((?:.*\n# )*?.*\(base64\))", (MODULE / "boot.sh").read_text(), re.M)[1]
    assert set(re.findall(r"[A-Z][A-Z_]{5,}", needed)) <= set(expected) | {"STARTUP_SCRIPT"}


def test_a_token_is_in_its_own_vms_user_data_alone(rendered):
    (first, second), _ = rendered
    for launch, own in ((first, {1: "token-1", 2: "token-2"}), (second, {3: "token-3"})):
        for number, token in own.items():
            for name, sent in launch["user_data"].items():
                assert (token in gzip.decompress(base64.b64decode(sent)).decode()) == (name == "lablink-vm-test-%d" % number)


def test_times_are_seconds_and_names_are_in_order(rendered):
    (first, second), _ = rendered
    assert second["vm_instance_names"] == ["lablink-vm-test-%d" % number for number in (1, 2, 3)]
    assert second["vm_instance_ids"][:2] == first["vm_instance_ids"] and len(second["vm_public_ips"]) == 3
    times = second["instance_terraform_apply_times"]
    assert {name: times[name] for name in list(times)[:2]} == first["instance_terraform_apply_times"], "those that are there keep theirs"
    for time in times.values():
        assert re.fullmatch(r"\d\dh:\d\dm:\d\ds", time["formatted"]) and time["start_time"] <= time["end_time"]
        assert 0 <= time["seconds"] == (parse(time["end_time"]) - parse(time["start_time"]))
    assert second["terraform_apply_min_seconds"] <= second["terraform_apply_avg_seconds"] <= second["terraform_apply_max_seconds"]


def parse(text):
    import datetime
    return int(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp())


@pytest.mark.parametrize("start, end", [("2024-02-28T23:59:59Z", "2024-03-01T00:00:01Z"), ("2025-12-31T23:00:00Z", "2026-01-01T01:02:03Z"),
                                        ("2026-08-09T08:09:08Z", "2026-10-10T09:08:07Z"), ("2000-02-29T00:00:00Z", "2100-03-01T00:00:00Z")])
def test_the_calendar(start, end, tmp_path):
    text = (MODULE / "times.tf").read_text()
    (tmp_path / "times.tf").write_text(text[text.index("locals {"):].replace("terraform_data.start[*].output", '["%s"]' % start)
                                       .replace("terraform_data.end[*].output.time", '["%s"]' % end)
                                       + '\noutput "seconds" {\n  value = local.apply_seconds\n}\n')
    run_engine("init", "-input=false", "-no-color", cwd=tmp_path)
    run_engine("apply", "-auto-approve", "-input=false", "-no-color", cwd=tmp_path)
    assert json.loads(run_engine("output", "-json", "-no-color", "seconds", cwd=tmp_path).stdout) == [parse(end) - parse(start)]


@pytest.mark.parametrize("wrong, told", [({"resource_suffix": "a b"}, "resource_suffix"), ({"startup_on_error": "ignore"}, "startup_on_error"),
                                         ({"instance_count": "-1"}, "instance_count"), ({"resource_suffix": "x'$(id)"}, "resource_suffix"),
                                         ({"resource_suffix": "x" * 34}, "resource_suffix")])
def test_wrong_values_are_refused(wrong, told, tmp_path):
    shutil.copy(MODULE / "variables.tf", tmp_path)
    values = {name: "true" if kind == "bool" else "x" for name, (kind, default) in VARIABLES.items() if default is NOTHING}
    (tmp_path / "terraform.tfvars.json").write_text(json.dumps({**values, **wrong}))
    run_engine("init", "-input=false", "-no-color", cwd=tmp_path)
    done = run_engine("plan", "-input=false", "-no-color", cwd=tmp_path, code=1)
    assert "Invalid value for variable" in done.stderr and told + " must be" in done.stderr


@pytest.mark.parametrize("address, opened", [("203.0.113.7", ["203.0.113.7/32"]), ("2001:db8::1", ["2001:db8::1/128"]), ("N/A", []), ("", []),
                                             ("lab.example.org", []), ("0.0.0.0/0", []), ("203.0.113.7/0", [])])
def test_ssh_is_open_to_one_address(address, opened, tmp_path):
    text = (MODULE / "main.tf").read_text()
    (tmp_path / "main.tf").write_text(
        text[text.index("locals {"):text.index("\n}\n") + 3] + 'variable "allocator_ip" {}\n'
        + 'output "opened" {\n  value = concat(local.ssh_ipv4, local.ssh_ipv6)\n}\n')
    run_engine("apply", "-auto-approve", "-input=false", "-no-color", "-var", "allocator_ip=" + address, cwd=tmp_path)
    assert json.loads(run_engine("output", "-json", "-no-color", "opened", cwd=tmp_path).stdout) == opened
