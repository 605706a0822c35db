"""VMs that are reached by ssh: a real sshd each, on a port of its own on loopback, and a real rsync.

No container engine runs in a test. On the VM's side `docker` and `sudo` are stand-ins, and say so: `docker ps`, `exec` and
`cp` work in the VM's own tree. What a participant who is root may put in their place is a script here, too.
"""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import textwrap

from lab import BUILD, Lab, wait_until

DOCKER = r"""#!/bin/sh
# A stand-in for docker, for tests: its one container is the directory VM/tree.
case "$1" in
--version) echo "docker stand-in of the tests: no container engine" ;;
ps) echo stand-in-container ;;
exec)
        shift 2
        program=$1 place=$2
        shift 2
        exec "$program" "@VM@/tree$place" "$@"
        ;;
cp) exec cp -p -- "@VM@/tree${2#*:}" "$3" ;;
*) echo "docker stand-in: $1 is not there" >&2; exit 1 ;;
esac
"""
SUDO = """#!/bin/sh
# A stand-in for sudo, for tests.
[ "$1" = -n ] && shift
exec "$@"
"""
SHELL = """#!/bin/bash
# What the VM's sshd runs in the place of a login shell.
export HOME=@VM@/home PATH=@VM@/bin:$PATH LC_ALL=C
cd "$HOME" || exit 1
printf '%s\\n' "${SSH_ORIGINAL_COMMAND%% *}" >>@VM@/commands
[ -e @VM@/override ] && . @VM@/override
exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"
"""


class Vm:
    def __init__(self, directory, hostname, address="127.0.0.1", port=None):
        self.address, self.hostname, self.directory = address, hostname, pathlib.Path(directory) / hostname
        self.home = self.directory / "tree/home/client"  # of the participant, in the container
        for place in ("tree/home/client/Desktop", "home", "bin"):
            (self.directory / place).mkdir(parents=True)
        for name, text in (("bin/docker", DOCKER), ("bin/sudo", SUDO), ("shell", SHELL)):
            path = self.directory / name
            path.write_text(text.replace("@VM@", str(self.directory)))
            path.chmod(0o755)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.directory / "host_key")], check=True)
        with socket.socket() as probe:
            probe.bind((address, port or 0))
            self.port = probe.getsockname()[1]
        self.process = None

    def start(self, authorized_key):
        (self.directory / "authorized").write_text(authorized_key)
        (self.directory / "config").write_text(textwrap.dedent("""\
            Port %d
            ListenAddress %s
            HostKey %s/host_key
            AuthorizedKeysFile %s/authorized
            ForceCommand %s/shell
            PidFile none
            UsePAM no
            StrictModes no
            PermitRootLogin prohibit-password
            PasswordAuthentication no
            LogLevel ERROR
            # the cheapest exchange of keys, and a second level of shells, which reads no ~/.bashrc of the tester's
            KexAlgorithms curve25519-sha256
            SetEnv SHLVL=1
            """ % ((self.port, self.address) + (self.directory,) * 3)))
        pathlib.Path("/run/sshd").mkdir(exist_ok=True)
        with open(self.directory / "sshd.log", "ab") as log:
            self.process = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", str(self.directory / "config")],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

        def answers():
            assert self.process.poll() is None, (self.directory / "sshd.log").read_text()
            with socket.socket() as probe:
                return probe.connect_ex((self.address, self.port)) == 0

        wait_until(answers, 60)

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait()
            self.process = None
        for name in os.listdir("/proc"):  # what it had started: each is named by the VM's own directory
            try:
                if name.isdigit() and str(self.directory).encode() in pathlib.Path("/proc/%s/environ" % name).read_bytes():
                    os.kill(int(name), signal.SIGKILL)
            except OSError:
                pass

    def override(self, script=None):
        """A script that the VM's shell reads first: what somebody who is root there may do. None: nothing."""
        path = self.directory / "override"
        if script is None:
            path.unlink(missing_ok=True)
        else:
            path.write_text(script.replace("@VM@", str(self.directory)))

    def commands(self):
        path = self.directory / "commands"
        return path.read_text().split("\n")[:-1] if path.exists() else []

    def forget_commands(self):
        (self.directory / "commands").unlink(missing_ok=True)


class SshLab(Lab):
    """A lab whose VMs are `count` such machines. Its programs are the build's, but for a runner with a provider for tests."""

    def __init__(self, count, name="collect-ssh", state="state", **harvest):
        runner = BUILD / "tests/unit/harvest/lablink-runner-sshd"
        assert runner.exists(), "%s is not built: ninja makes it where cmocka is" % runner
        super().__init__(name=name, config={"provider": {"kind": "terraform"}, "harvest": harvest,
                                            "security": {"client_auth": "token"}})
        module = self.directory / "module"
        module.mkdir()
        self.config["terraform"] = {"directory": str(module)}
        self.programs = self.directory / "programs"
        self.programs.mkdir()
        for program in ("lablink-allocator", "lablink-client"):
            shutil.copy2(BUILD / program, self.programs / program)
        shutil.copy2(runner, self.programs / "lablink-runner")
        self.state = self.directory / state
        self.state.mkdir(mode=0o711)
        self.key, self.hosts = self.state / "key", self.state / "hosts"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)], check=True)
        self.public_key = self.key.with_suffix(".pub").read_text()
        self.hosts.mkdir()
        self.machines = [Vm(self.directory / "vms", "lablink-vm-prod-%d" % number) for number in range(1, count + 1)]
        self.describe()

    def describe(self, **more):
        facts = {vm.hostname: {"address": "127.0.0.1", "port": vm.port, "user": "root", "key": str(self.key),
                               "known_hosts": str(self.hosts / vm.hostname), "container": True,
                               "home": "/home/client", **more.get(vm.hostname, {})} for vm in self.machines}
        (self.state / "test-vms.json").write_text(json.dumps(facts))

    def command_line(self):
        argv = super().command_line()
        return [str(self.programs / "lablink-allocator")] + argv[1:]

    def role(self, role):
        if role == "runner":
            return [process for process in self.processes() if process.program == "lablink-runner"]
        return super().role(role)

    def remove(self):
        for vm in getattr(self, "machines", []):
            vm.stop()
        super().remove()

    def check_nothing_left(self):
        for vm in self.machines:
            vm.stop()
        super().check_nothing_left()

    def launch_all(self):
        self.launch(len(self.machines))
        assert sorted(vm["hostname"] for vm in self.vms()) == sorted(vm.hostname for vm in self.machines)

    def collect(self, wishes=None, states=("done",)):
        answer = self.post("/api/collections", admin=True, json=wishes or {}, headers={"Accept": "application/json"})
        assert answer.status_code == 202, answer.text
        said = answer.json()
        return said["collection"], self.wait_operation(said["operation"]["id"], states=states)

    def archive(self, collection):
        return self.get("/api/collections/%d/archive" % collection, admin=True).content
