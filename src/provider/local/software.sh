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

# One at a time: agent, boot script and desktop may ask in the same moment.
exec 9>/run/software.lock
flock 9

# With a desktop the software's window is on it. It is waited for: a VM that boots may be asked before it stands.
display=
if [ -e /run/desktop-wanted ]; then
        tries=0
        until [ -s /run/lablink-desktop/display ] || [ "$tries" -ge 300 ]; do
                tries=$((tries + 1))
                sleep 0.1
        done
        display=$(cat /run/lablink-desktop/display 2>/dev/null)
fi

as_client() {
        setpriv --reuid=1000 --regid=1000 --clear-groups -- env -i HOME="$home" USER=client LOGNAME=client \
                SHELL=/bin/bash LANG=C.UTF-8 TERM=xterm-256color XDG_RUNTIME_DIR=/run/user/1000 \
                ${display:+DISPLAY="$display"} PATH="$path" "$@"
}

say() {
        printf '%s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$*" >>/var/log/lablink-boot.log
}

alive() { # FILE with a process's number
        [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null
}

start_software() {
        alive /run/software.pid && return
        (exec 9>&- </dev/null >>"$log" 2>&1 && as_client setsid sh -c "$command") &
        echo $! >/run/software.pid
        say "started the software"
}

start_terminal() {
        if ! as_client tmux has-session -t terminal 2>/dev/null 9>&-; then
                (exec 9>&- </dev/null >>"$log" 2>&1 && as_client setsid tmux new-session -d -s terminal) &&
                        say "started a terminal session"
        fi
        [ -n "$display" ] || return
        as_client tmux set-option -t terminal status off 9>&-
        alive /run/terminal.pid && return
        (exec 9>&- </dev/null >>"$log" 2>&1 && as_client setsid /run/lablink-desktop/bin/terminal tmux attach-session -t terminal) &
        echo $! >/run/terminal.pid
}

# After an assignment of somebody: `again` is the desktop, which stands again, and a free seat has no software.
if [ "${1:-}" = again ]; then
        grep -Eq '"generation": *[1-9]' /var/lib/lablink-client/state.json 2>/dev/null || exit 0
fi
cd "$home" || exit 1
if [ -n "$command" ]; then
        start_software
elif command -v tmux >/dev/null; then
        start_terminal
else
        say "no software is configured (local.software_command) and tmux is not installed: nothing was started"
fi
