#!/bin/sh
# Boots a local client VM, as the VM's root, in the same steps as a cloud VM boots: agent, status initializing, clone
# the repository, custom start-up script, timings, status running. It says "up" and runs nothing before it has read
# "go", so that no VM runs that the host does not know of; the end of this script is the end of the VM.
#
# Environment: VM_NAME, ALLOCATOR_URL, LABLINK_CLIENT_TOKEN_FILE, SUBJECT_SOFTWARE, TUTORIAL_REPO_TO_CLONE,
# STARTUP_ON_ERROR, SUBJECT_SOFTWARE_COMMAND, LABLINK_DESKTOP (yes: participants come by their browser).

echo 'lablink-boot: up'
read -r go || exit 1
[ "$go" = go ] || exit 1
exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-

umask 022
home=/home/client
script=/opt/lablink/custom-startup.sh

# Whatever the VM's root made of these places: directories and files again, so that it boots.
for place in /var/log /var/lib /var/lib/lablink-client /var/cache /var/spool /var/tmp; do
        { [ -d "$place" ] && [ ! -L "$place" ]; } || rm -rf "$place"
        mkdir -p "$place"
done
for place in /var/log/lablink-boot.log /var/log/lablink-agent.log; do
        { [ -f "$place" ] && [ ! -L "$place" ]; } || rm -rf "$place"
done
mkdir -p /run/lock /run/user/1000
chmod 1777 /var/tmp /run/lock
chmod 0700 /run/user/1000
chown 1000:1000 /run/user/1000
ln -sfn /run /var/run
ln -sfn /run/lock /var/lock
exec </dev/null >>/var/log/lablink-boot.log 2>&1

now() {
        date +%s.%3N
}

seconds_between() {
        awk -v a="$1" -v b="$2" 'BEGIN { printf "%.3f", b - a }'
}

say() {
        printf '%s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$*"
}

as_client() {
        setpriv --reuid=1000 --regid=1000 --clear-groups -- env -i HOME="$home" USER=client LOGNAME=client \
                SHELL=/bin/bash LANG=C.UTF-8 PATH="$PATH" XDG_RUNTIME_DIR=/run/user/1000 GIT_TERMINAL_PROMPT=0 "$@"
}

# The agent lives as long as the VM: whatever ends it, it comes back.
keep_agent() {
        while :; do
                lablink-client run >>/var/log/lablink-agent.log 2>&1
                say "the agent ended with status $?: it is started again"
                sleep 1
        done
}

# The desktop too, where it is wanted and its programs are installed.
keep_desktop() {
        lablink-desktop check >/dev/null || { say "no desktop: $(lablink-desktop check)"; return; }
        : >/run/desktop-wanted
        while :; do
                lablink-desktop
                sleep 1
        done
}

# Who gets this VM finds the desktop standing. One that does not come up keeps nobody from the rest.
await_desktop() {
        [ "$LABLINK_DESKTOP" = yes ] && lablink-desktop check >/dev/null || return 0
        tries=0
        until [ -s /run/lablink-desktop/display ] || [ "$tries" -ge 300 ]; do
                tries=$((tries + 1))
                sleep 0.1
        done
}

# report TRIES WORD...: 0 tries means for as long as it takes.
report() {
        tries=$1
        shift
        count=0
        until lablink-client report "$@" >>/var/log/lablink-agent.log 2>&1; do
                count=$((count + 1))
                [ "$tries" -gt 0 ] && [ "$count" -ge "$tries" ] && say "could not report $1 $2" && return 1
                sleep 1
        done
}

make_home() {
        [ -e "$home/.profile" ] || as_client cp -R /etc/skel/. "$home/"
        as_client mkdir -p "$home/Desktop"
}

# A failure is told and the VM boots on without the files. Half a clone is never taken for a whole one.
clone_repository() {
        [ -n "$TUTORIAL_REPO_TO_CLONE" ] || return 0
        name=$(basename "$TUTORIAL_REPO_TO_CLONE" .git)
        target=$home/Desktop/$name
        if [ -e "$target" ]; then
                say "the repository $name is there already"
                return 0
        fi
        say "cloning the repository $name"
        as_client rm -rf "$home/Desktop/.$name.part"
        if as_client timeout 900 git clone -- "$TUTORIAL_REPO_TO_CLONE" "$home/Desktop/.$name.part" &&
                as_client mv -T "$home/Desktop/.$name.part" "$target"; then
                say "cloned the repository $name"
        else
                say "could not clone the repository $name"
        fi
}

run_startup_script() {
        [ -e "$script" ] || return 0
        say "running the custom start-up script"
        (cd / && "$script")
        status=$?
        say "the custom start-up script ended with status $status"
        [ "$status" -eq 0 ] || [ "$STARTUP_ON_ERROR" != fail ]
}

# A VM that is started again has its files and its seat, so it gets its software back too.
start_software_again() {
        grep -Eq '"generation": *[1-9]' /var/lib/lablink-client/state.json 2>/dev/null || return 0
        say "the seat is taken: its software is started again"
        lablink-software
}

boot() {
        began=$(now)
        say "$VM_NAME boots"
        report 5 status initializing
        report 5 metrics "cloud_init_start=$began"
        container_began=$(now)
        make_home
        if [ "$LABLINK_DESKTOP" = yes ]; then keep_desktop & fi
        clone_repository
        if ! run_startup_script; then
                say "$VM_NAME stays in error"
                report 0 status error
                return
        fi
        container_ended=$(now)
        report 5 metrics "container_start_time=$container_began" "container_end_time=$container_ended" \
                "container_startup_duration_seconds=$(seconds_between "$container_began" "$container_ended")"
        await_desktop
        start_software_again
        report 0 status running
        ended=$(now)
        report 5 metrics "cloud_init_end=$ended" "cloud_init_duration_seconds=$(seconds_between "$began" "$ended")"
        say "$VM_NAME runs"
}

: >/var/log/lablink-agent.log
printf '%s' "$SUBJECT_SOFTWARE_COMMAND" >/run/software-command
printf '%s' "$SUBJECT_SOFTWARE" >/run/software-name
keep_agent &
boot
while :; do
        wait
        keep_agent
done
