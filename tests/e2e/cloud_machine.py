"""A machine that boots by terraform/client-vms/boot.sh: a sandbox whose root may write to /etc, /run and /var.

What a test cannot have is stood in for: docker's daemon (its command line is a stand-in that writes down what it was
told and runs a small "image" with the container's environment), apt's archives, systemd, iptables, the GPU's driver and
Amazon's addresses. The shell, curl, the log, the files and the allocator are real, and so is the agent in the "image".
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

from lab import BUILD, ROOT, wait_until

MODULE = ROOT / "terraform" / "client-vms"

# The part of docker that boot.sh uses. A container is the stand-in image in a session of its own; its mounts are links.
DOCKER = r'''#!/usr/bin/python3
import json, os, pathlib, subprocess, sys
state = pathlib.Path("/var/stand-ins")
plan = json.loads((state / "plan").read_text())
verb, words = sys.argv[1], sys.argv[2:]
with open(state / "docker.calls", "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\n")

def fail(name):
    left = plan.get(name, 0)
    done = len(list(state.glob(name + ".*")))
    if done < left:
        (state / ("%s.%d" % (name, done))).touch()
        sys.exit("docker: stand-in: %s %d of %d" % (name, done + 1, left))

if verb == "info":
    fail("deaf_daemon")
elif verb == "pull":
    fail("failing_pulls")
elif verb == "run":
    fail("failing_runs")
    environment, image = {"PATH": os.environ["PATH"]}, None
    it = iter(words)
    for word in it:
        if word == "--env":
            key, _, value = next(it).partition("=")
            environment[key] = value
        elif word == "--volume":
            source, target = next(it).split(":")[:2]
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if not os.path.lexists(target):
                os.symlink(source, target)
        elif word in ("--name", "--network", "--gpus"):
            next(it)
        elif word == "--":
            image = list(it)
    (state / "environment").write_text(json.dumps(environment))
    environment.update((key, os.environ[key]) for key in os.environ if key.startswith("AWS_E"))  # where Amazon is played
    log = open("/var/log/container.log", "ab")
    child = subprocess.Popen(["/stand-ins/image"], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    (state / "pid").write_text(str(child.pid))
    print("c0ffee")
elif verb == "inspect":
    ended = state / "container.exit"
    print("false " + ended.read_text().strip() if ended.exists() else "true 0")
elif verb == "logs":
    os.execvp("tail", ["tail", "-n", "+1", *["-f"] * ("--follow" in words), "/var/log/container.log"])
elif verb == "rm" and not (state / "pid").exists():
    sys.exit("docker: stand-in: no such container")
'''

# What the container of a deployed image does, with the real agent for the three services.
IMAGE = r'''#!/bin/bash
trap 'echo $? >/var/stand-ins/container.exit' EXIT
echo "container: starts"
if [ -e /docker_scripts/custom-startup.sh ]; then
        bash /docker_scripts/custom-startup.sh
        status=$?
        if [ "$status" != 0 ] && [ "$STARTUP_ON_ERROR" = fail ]; then exit 1; fi
fi
echo "container: is up"
while :; do
        LABLINK_CLIENT_LOG_FILES=/var/log/agent.log lablink-client run >>/var/log/agent.log 2>&1
        sleep 1
done
'''

OTHERS = {
    "apt-get": r'''#!/bin/bash
echo "apt-get $*" >>/var/stand-ins/calls
[ -e /var/stand-ins/apt.failed ] || { touch /var/stand-ins/apt.failed; echo "apt-get: stand-in: the first time fails" >&2; exit 100; }
case " $* " in
*" docker.io "*) cp /stand-ins/later/docker /stand-ins/docker ;;
*" nvidia-container-toolkit "*) cp /stand-ins/later/nvidia-ctk /stand-ins/nvidia-ctk ;;
esac
''',
    "systemctl": 'echo "systemctl $*" >>/var/stand-ins/calls',
    "iptables": '[ "$1" != -C ] && echo "iptables $*" >>/var/stand-ins/calls',
    "nvidia-smi": 'echo "nvidia-smi: one GPU"; [ ! -e /var/stand-ins/blind ]',
    "nvidia-ctk": 'echo "nvidia-ctk $*" >>/var/stand-ins/calls',
    # dpkg's lock is held for the first two looks.
    "fuser": 'n=$(ls /var/stand-ins/look.* 2>/dev/null | wc -l); touch "/var/stand-ins/look.$n"; [ "$n" -lt 2 ]',
}

# As cloud-init does: its own words first, everything into one log.
CLOUD_INIT = r'''
printf '%s\n' "Cloud-init: the first line of all" >>/var/log/cloud-init-output.log
[ ! -e /var/stand-ins/before ] || cat /var/stand-ins/before >>/var/log/cloud-init-output.log
/var/stand-ins/user-data </dev/null >>/var/log/cloud-init-output.log 2>&1
echo $? >/var/stand-ins/exit
while [ ! -e /var/stand-ins/off ]; do sleep 0.2; done
'''


def quoted(value):
    """As boot.tf quotes; tests/tools/test_client_vms.py asks the engine whether it does."""
    return "'%s'" % value.replace("'", "'\\''")


def user_data(**settings):
    words = dict(
        VM_NAME="lablink-vm-test-1", ALLOCATOR_HOST="", ALLOCATOR_URL="", CLIENT_TOKEN="", IMAGE_NAME="image:1", TUTORIAL_REPO_TO_CLONE="",
        SUBJECT_SOFTWARE="sleap", GPU_SUPPORT="false", CLOUD_INIT_LOG_GROUP="", AWS_REGION="us-west-2", STARTUP_ON_ERROR="continue",
        STARTUP_SCRIPT="")
    assert set(settings) <= set(words)
    words.update(settings)
    lines = ["%s=%s\n" % (key, quoted(words[key])) for key in sorted(words)]
    return "#!/bin/bash\n" + "".join(lines) + (MODULE / "boot.sh").read_text()


class Machine:
    """One boot. plan: how often a stand-in fails; without: commands that the machine does not have when it starts."""

    def __init__(self, script, plan=None, without=(), before=None, environment=None, blind=False):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="lablink-test-machine-", dir="/tmp"))
        self.var, self.etc, self.run, self.commands = (self.directory / name for name in ("var", "etc", "run", "stand-ins"))
        for place in (self.var / "log", self.var / "lib", self.var / "stand-ins", self.etc, self.run, self.commands / "later"):
            place.mkdir(parents=True)
        for name in ("passwd", "group", "nsswitch.conf", "ld.so.cache", "hosts"):
            if os.path.exists("/etc/" + name):
                shutil.copy("/etc/" + name, self.etc / name)
        for name, text in {"docker": DOCKER, **OTHERS}.items():
            self._command(("later/" if name in without else "") + name, text)
        self._command("image", IMAGE)
        shutil.copy(BUILD / "lablink-client", self.commands / "lablink-client")
        (self.var / "stand-ins/plan").write_text(json.dumps(plan or {}))
        if before is not None:
            (self.var / "stand-ins/before").write_bytes(before)
        if blind:
            (self.var / "stand-ins/blind").touch()
        place = self.var / "stand-ins/user-data"
        place.write_text(script)
        place.chmod(0o700)
        self.environment = {"PATH": "/stand-ins:/usr/sbin:/usr/bin:/sbin:/bin", "LABLINK_BOOT_DELAY": "1", "LABLINK_BOOT_LONGEST": "1",
                            "AWS_EC2_METADATA_DISABLED": "true", **(environment or {})}
        self.process = None

    def _command(self, name, text):
        place = self.commands / name
        place.write_text(text if text.startswith("#!") else "#!/bin/bash\n%s\n" % text)
        place.chmod(0o755)

    def boot(self):
        argv = ["bwrap", "--die-with-parent", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", "machine", "--new-session",
                "--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--clearenv"]
        for name in ("bin", "sbin", "lib", "lib32", "lib64"):
            if os.path.islink("/" + name):
                argv += ["--symlink", os.readlink("/" + name), "/" + name]
        for name in ("var", "etc", "run", "stand-ins"):
            argv += ["--bind", str(self.directory / name), "/" + name]
        argv += ["--ro-bind-try", "/etc/alternatives", "/etc/alternatives", "--ro-bind-try", "/etc/ssl", "/etc/ssl"]
        for key, value in self.environment.items():
            argv += ["--setenv", key, value]
        self.process = subprocess.Popen([*argv, "/bin/bash", "-c", CLOUD_INIT], stdin=subprocess.DEVNULL, start_new_session=True)
        return self

    def off(self):
        if self.process:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def exit_status(self, timeout=120):
        place = self.var / "stand-ins/exit"
        return int(wait_until(lambda: place.exists() and place.read_text().strip(), timeout, self.log))

    def log(self):
        place = self.var / "log/cloud-init-output.log"
        return place.read_text(errors="replace") if place.exists() else ""

    def calls(self, verb):
        place = self.var / "stand-ins/docker.calls"
        lines = place.read_text().splitlines() if place.exists() else []
        return [words for words in map(json.loads, lines) if words[0] == verb]

    def other_calls(self):
        place = self.var / "stand-ins/calls"
        return place.read_text().splitlines() if place.exists() else []

    def container_environment(self):
        return json.loads((self.var / "stand-ins/environment").read_text())

    def said_everything(self):
        return (self.run / "lablink-boot/ended").exists() and not os.listdir(self.run / "lablink-boot/words")
