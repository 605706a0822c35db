#!/bin/sh
# Starts the participant's software once a seat is assigned: the configured command, else the program whose running is
# watched, where the VM has it, else a terminal session that `lablink vm shell` can join. Run by the agent, and by a VM
# that is started again, as the VM's root; the software runs as the participant, in a session of its own, and once: a
# second assignment finds it running.

home=/home/client
log=/var/log/lablink-software.log
command=$(cat /run/software-command 2>/dev/null)
name=$(cat /run/software-name 2>/dev/null)
path=/opt/lablink/bin:/opt/bin:/usr/local/bin:/usr/bin:/bin
[ -n "$command" ] || command=$(PATH=$path command -v -- "$name")

as_client() {
        setpriv --reuid=1000 --regid=1000 --clear-groups -- env -i HOME="$home" USER=client LOGNAME=client \
                SHELL=/bin/bash LANG=C.UTF-8 TERM=xterm-256color XDG_RUNTIME_DIR=/run/user/1000 \
                PATH="$path" "$@"
}

say() {
        printf '%s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$*" >>/var/log/lablink-boot.log
}

cd "$home" || exit 1
if [ -n "$command" ]; then
        if [ -s /run/software.pid ] && kill -0 "$(cat /run/software.pid)" 2>/dev/null; then
                exit 0
        fi
        as_client setsid sh -c "$command" </dev/null >>"$log" 2>&1 &
        echo $! >/run/software.pid
        say "started the software"
elif command -v tmux >/dev/null; then
        as_client tmux has-session -t terminal 2>/dev/null && exit 0
        as_client setsid tmux new-session -d -s terminal </dev/null >>"$log" 2>&1 && say "started a terminal session"
else
        say "no software is configured (local.software_command) and tmux is not installed: nothing was started"
fi
