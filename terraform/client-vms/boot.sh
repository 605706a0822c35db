#!/bin/bash
# Boots a client VM in the cloud, by cloud-init, as root: status initializing, docker and the GPU's runtime, the image,
# the container with its custom start-up script, timings, status running. boot.tf puts this VM's settings before these
# lines. Whatever fails, the line that failed goes to the log and the VM's status becomes `error`.
#
# Settings: VM_NAME, ALLOCATOR_HOST, ALLOCATOR_URL, CLIENT_TOKEN, IMAGE_NAME, TUTORIAL_REPO_TO_CLONE, SUBJECT_SOFTWARE,
# GPU_SUPPORT, CLOUD_INIT_LOG_GROUP (empty: log lines go straight to the allocator), AWS_REGION, STARTUP_ON_ERROR,
# STARTUP_SCRIPT (base64).
#
# Words to the allocator and log lines are sent by two processes of their own, in order and for as long as it takes: a
# boot never waits for an allocator that is away, and what it said is not lost.

set -Eeuo pipefail
umask 077

boot_began=$(date +%s.%3N)
run=/run/lablink-boot
log=/var/log/cloud-init-output.log
token_file=/etc/lablink/client-token
container=lablink-client
delay=${LABLINK_BOOT_DELAY:-5}      # seconds between two looks, and before the second try
longest=${LABLINK_BOOT_LONGEST:-60} # seconds between two tries at last
metadata=${AWS_EC2_METADATA_SERVICE_ENDPOINT:-http://169.254.169.254}
base=${ALLOCATOR_URL:-http://$ALLOCATOR_HOST}
base=${base%/}
[[ $base = *://* ]] || base=https://$base
words=0
shown=0 # bytes of the container's output

say() {
        printf '%s lablink-boot: %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$*"
}

# --- words to the allocator ---------------------------------------------------------------------------------------------

# tell PATH JSON: leaves a word for the sender. Whole files only: written aside, then renamed.
tell() {
        words=$((words + 1))
        printf '%s\n%s\n' "$1" "$2" >"$run/part"
        mv "$run/part" "$run/words/$(printf '%04d' "$words")"
}

tell_status() {
        say "status $1"
        tell /api/vm-status "{\"hostname\":\"$VM_NAME\",\"status\":\"$1\"}"
}

# tell_metrics KEY=NUMBER...
tell_metrics() {
        local pair body=''
        for pair in "$@"; do
                body+="${body:+,}\"${pair%%=*}\":${pair#*=}"
        done
        tell "/api/vm-metrics/$VM_NAME" "{$body}"
}

seconds_since() {
        awk -v a="$1" -v b="$(date +%s.%3N)" 'BEGIN { d = b - a; printf "%.3f", d < 0 ? 0 : d }'
}

# post PATH FILE: prints the answer's status, 000 when there was none. The token is in a file, never an argument.
post() {
        curl --silent --globoff --output /dev/null --write-out '%{http_code}' --connect-timeout 10 --max-time 60 \
                --header 'Content-Type: application/json' --header "@$run/authorization" \
                --data-binary "@$2" -- "$base$1" || true
}

# These say that the same words would be refused again.
refused_for_good() {
        [[ $1 = 400 || $1 = 413 || $1 = 415 || $1 = 422 ]]
}

# deliver PATH FILE: for as long as it takes.
deliver() {
        local code pause=$delay
        until code=$(post "$1" "$2") && [[ $code = 2?? ]]; do
                if refused_for_good "$code"; then
                        say "the allocator refused $1 with $code"
                        return 0
                fi
                sleep "$pause"
                pause=$((pause * 2 > longest ? longest : pause * 2))
        done
}

# Ends with the boot, once everything was said.
send_words() {
        local word
        while :; do
                for word in "$run"/words/*; do
                        [ -e "$word" ] || continue
                        tail -n +2 "$word" >"$run/word"
                        deliver "$(head -n 1 "$word")" "$run/word"
                        rm -f "$word"
                done
                [ ! -e "$run/ended" ] || [ -n "$(ls -A "$run/words")" ] || return 0
                sleep 1
        done
}

# --- log lines ----------------------------------------------------------------------------------------------------------

# A line as the inside of a JSON string: bytes that are no UTF-8 and control characters go, colours stay.
json_lines() {
        { iconv -c -f UTF-8 -t UTF-8 || true; } | LC_ALL=C tr -d '\000-\010\013\014\016-\032\034-\037\177' |
                LC_ALL=C sed -e 's/\r$//' -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/\t/\\t/g' -e 's/\r/\\r/g' -e 's/\x1b/\\u001b/g'
}

json_text() {
        printf '"%s"' "$(printf '%s' "$1" | tr '\n' ' ' | json_lines)"
}

# take_lines OFFSET: whole lines of the log from there on, at most 500 and 128 KiB; false when there is none. Half a line
# is taken only when it is too long, or when the boot has ended and nobody will write its other half.
take_lines() {
        tail -c "+$(($1 + 1))" "$log" 2>/dev/null | head -c 131072 | head -n 500 >"$run/lines"
        [ -s "$run/lines" ] || return 1
        [ "$(tail -c 1 "$run/lines" | wc -l)" = 0 ] || return 0
        [ "$(wc -l <"$run/lines")" = 0 ] || sed -i '$d' "$run/lines"
        [ "$(tail -c 1 "$run/lines" | wc -l)" = 1 ] || [ -e "$run/ended" ] || [ "$(wc -c <"$run/lines")" = 131072 ]
}

post_lines() { # OFFSET
        {
                printf '{"log_group":%s,"log_stream":"%s","batch_id":"boot-%s-%s","messages":[' \
                        "$(json_text "$CLOUD_INIT_LOG_GROUP")" "$VM_NAME" "$boot_id" "$1"
                json_lines <"$run/lines" | LC_ALL=C sed 's/.*/"&"/' | paste -sd, | tr -d '\n'
                printf ']}'
        } >"$run/batch"
        deliver /api/vm-logs "$run/batch"
}

# The instance role's keys, as configuration for curl: they are never an argument.
read_role() {
        local token role keys
        token=$(curl --silent --fail --max-time 10 --request PUT --header 'X-aws-ec2-metadata-token-ttl-seconds: 300' \
                "$metadata/latest/api/token") || return 1
        role=$(curl --silent --fail --max-time 10 --header "@-" "$metadata/latest/meta-data/iam/security-credentials/" \
                <<<"X-aws-ec2-metadata-token: $token" | head -n 1) || return 1
        keys=$(curl --silent --fail --max-time 10 --header "@-" \
                "$metadata/latest/meta-data/iam/security-credentials/$role" <<<"X-aws-ec2-metadata-token: $token" |
                tr -d '\n') || return 1
        member() {
                sed -n "s/.*\"$1\" *: *\"\([^\"]*\)\".*/\1/p" <<<"$keys"
        }
        printf 'user = "%s:%s"\nheader = "X-Amz-Security-Token: %s"\n' "$(member AccessKeyId)" "$(member SecretAccessKey)" \
                "$(member Token)" >"$run/role"
}

# call_logs ACTION FILE: prints the answer's status; the answer itself is left in $run/answer.
call_logs() {
        local suffix=amazonaws.com
        [[ $AWS_REGION != cn-* ]] || suffix=amazonaws.com.cn
        : >"$run/answer"
        curl --silent --globoff --output "$run/answer" --write-out '%{http_code}' --max-time 60 --config "$run/role" \
                --aws-sigv4 "aws:amz:$AWS_REGION:logs" --header 'Content-Type: application/x-amz-json-1.1' \
                --header "X-Amz-Target: Logs_20140328.$1" --data-binary "@$2" -- \
                "${AWS_ENDPOINT_URL_CLOUDWATCH_LOGS:-https://logs.$AWS_REGION.$suffix}/" || true
}

make_stream() {
        printf '{"logGroupName":%s,"logStreamName":"%s"}' "$(json_text "$CLOUD_INIT_LOG_GROUP")" "$VM_NAME" >"$run/stream"
        [ "$(call_logs CreateLogStream "$run/stream")" = 200 ] || grep -q ResourceAlreadyExists "$run/answer"
}

# One try at CloudWatch. 500 lines and 128 KiB are far below its limits of 10,000 and 1 MB; it refuses an empty message.
put_lines() {
        local now
        now=$(date +%s%3N)
        {
                printf '{"logGroupName":%s,"logStreamName":"%s","logEvents":[' \
                        "$(json_text "$CLOUD_INIT_LOG_GROUP")" "$VM_NAME"
                json_lines <"$run/lines" | LC_ALL=C sed -e 's/^$/ /' -e "s/.*/{\"timestamp\":$now,\"message\":\"&\"}/" |
                        paste -sd, | tr -d '\n'
                printf ']}'
        } >"$run/batch"
        if [ ! -e "$run/role" ]; then
                read_role && make_stream || return 1
        fi
        [ "$(call_logs PutLogEvents "$run/batch")" = 200 ]
}

# CloudWatch when it takes the lines, else the allocator: a VM without rights on its log group is not a VM without a log.
ship_lines() { # OFFSET
        local try
        if [ -n "$CLOUD_INIT_LOG_GROUP" ] && [ ! -e "$run/direct" ]; then
                for try in 1 2 3 4 5; do
                        ! put_lines || return 0
                        rm -f "$run/role"
                        [ "$try" = 5 ] || sleep "$delay"
                done
                say "CloudWatch took no log lines ($(head -c 300 "$run/answer" 2>/dev/null | tr -d '\n')): they go to the allocator"
                : >"$run/direct"
        fi
        post_lines "$1"
}

send_log() {
        local offset=0 ended
        while :; do
                ended=$(cat "$run/ended" 2>/dev/null || true)
                while take_lines "$offset"; do
                        ship_lines "$offset"
                        offset=$((offset + $(wc -c <"$run/lines")))
                done
                [ -z "$ended" ] || return 0
                sleep 1
        done
}

# start_sender FUNCTION: outlives this script; says nothing into the log that it reads.
start_sender() {
        (
                trap - ERR EXIT
                trap '' HUP
                set +eE +o pipefail
                "$1"
        ) </dev/null >>"/var/log/lablink-boot-$1.log" 2>&1 &
        disown
}

# --- the end ------------------------------------------------------------------------------------------------------------

# A failure inside $(...) is told by the line that asked. The line is shown as it stands in this file, without values.
failed() { # LINE STATUS
        [ "$BASH_SUBSHELL" = 0 ] || exit "$2"
        trap - ERR EXIT
        set +e
        finish error "error: line $1: exit status $2: $(sed -n "$1s/^ *//p" "$0")"
        exit 1
}

stop() { # SENTENCE
        trap - ERR EXIT
        set +e
        finish error "error: line ${BASH_LINENO[0]}: $*"
        exit 1
}

# What the container says while it starts belongs to the boot's log.
show_container() { # FILE: what it holds beyond what was shown
        tail -c "+$((shown + 1))" "$1" >"$run/fresh" || true
        cat "$run/fresh"
        shown=$((shown + $(wc -c <"$run/fresh")))
}

# All of it, whatever the one that followed had not got to: the last lines tell most.
show_container_whole() {
        sleep 1
        kill "$follower" 2>/dev/null || true
        docker logs "$container" >"$run/whole" 2>&1 || true
        show_container "$run/whole"
}

# The last words of this script: the senders end when they have sent them.
finish() { # STATUS SENTENCE
        [ -z "${follower:-}" ] || show_container_whole
        tell_metrics "cloud_init_end=$(date +%s.%3N)" "cloud_init_duration_seconds=$(seconds_since "$boot_began")"
        tell_status "$1"
        say "$2"
        echo yes >"$run/ended"
}

# --- steps --------------------------------------------------------------------------------------------------------------

# again TRIES COMMAND...: the pause between two doubles.
again() {
        local tries=$1 count=1 pause=$delay
        shift
        until "$@"; do
                [ "$count" -lt "$tries" ] || return 1
                say "failed ($count of $tries), once more in $pause s: $*"
                sleep "$pause"
                count=$((count + 1)) pause=$((pause * 2 > longest ? longest : pause * 2))
        done
}

# A fresh machine updates itself when it starts.
wait_for_dpkg() {
        local count=0
        while fuser /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock /var/lib/apt/lists/lock >/dev/null 2>&1; do
                [ "$count" -gt 0 ] || say "waiting for another installation to end"
                count=$((count + 1))
                [ "$count" -lt 180 ] || stop "another installation holds dpkg's lock"
                sleep "$delay"
        done
}

packages() {
        wait_for_dpkg
        export DEBIAN_FRONTEND=noninteractive
        again 5 apt-get -q -o DPkg::Lock::Timeout=600 update
        again 5 apt-get -q -y -o DPkg::Lock::Timeout=600 install --no-install-recommends "$@"
}

# The metadata service gives out this script, with the VM's token, and the role's keys: it is root's alone, after a
# restart too.
guard_metadata() {
        local rule='-d 169.254.169.254 -m owner ! --uid-owner 0 -j REJECT' place=/var/lib/cloud/scripts/per-boot
        mkdir -p "$place"
        printf '#!/bin/sh\niptables -C OUTPUT %s 2>/dev/null || iptables -I OUTPUT %s\n' "$rule" "$rule" >"$place/lablink-metadata"
        chmod 0700 "$place/lablink-metadata"
        "$place/lablink-metadata" || say "the metadata service could not be closed to participants"
}

docker_answers() {
        docker info >/dev/null
}

set_up_docker() {
        if ! command -v docker >/dev/null; then
                say "installing docker"
                packages docker.io
        fi
        systemctl enable --now docker
        again 10 docker_answers
}

# Both must say so: the type has a GPU, and the machine sees it.
set_up_gpu() {
        local device
        gpu=()
        [ "$GPU_SUPPORT" = true ] || return 0
        if ! nvidia-smi; then
                say "this type of machine has a GPU, but nvidia-smi does not see it: the VM goes on without"
                return 0
        fi
        if ! command -v nvidia-ctk >/dev/null; then
                say "installing docker's GPU runtime"
                again 5 curl --silent --show-error --fail --location --max-time 60 --create-dirs \
                        --output /etc/apt/keyrings/nvidia-container-toolkit.asc https://nvidia.github.io/libnvidia-container/gpgkey
                chmod 0644 /etc/apt/keyrings/nvidia-container-toolkit.asc
                # shellcheck disable=SC2016 # apt replaces $(ARCH), not the shell
                printf 'deb [signed-by=%s] %s /\n' /etc/apt/keyrings/nvidia-container-toolkit.asc \
                        'https://nvidia.github.io/libnvidia-container/stable/deb/$(ARCH)' \
                        >/etc/apt/sources.list.d/nvidia-container-toolkit.list
                chmod 0644 /etc/apt/sources.list.d/nvidia-container-toolkit.list
                packages nvidia-container-toolkit
        fi
        nvidia-ctk runtime configure --runtime=docker
        systemctl restart docker
        again 10 docker_answers
        gpu=(--gpus all)
        # Named to docker too: else systemd, when it reloads, takes devices away that only the GPU's runtime knew of.
        for device in /dev/nvidia*; do
                [ ! -c "$device" ] || gpu+=(--device "$device")
        done
}

pull_image() {
        local began
        began=$(date +%s.%3N)
        say "pulling $IMAGE_NAME"
        again 5 timeout 1800 docker pull --quiet -- "$IMAGE_NAME"
        tell_metrics "docker_pull_start=$began" "docker_pull_end=$(date +%s.%3N)"
}

# The image runs /docker_scripts/custom-startup.sh. What it finds there runs the lab's script and leaves the exit status
# where this machine reads it: the VM is "running" when the script has ended, not before. Deployed images gave every
# script to bash; one for another interpreter is now executed.
place_startup_script() {
        mkdir -p /etc/config "$run/startup"
        chmod 0755 /etc/config
        chmod 1777 "$run/startup"
        rm -f /etc/config/custom-startup.sh /etc/config/lab-startup
        [ -n "$STARTUP_SCRIPT" ] || return 0
        base64 -d <<<"$STARTUP_SCRIPT" >/etc/config/lab-startup
        cat >/etc/config/custom-startup.sh <<'SCRIPT'
#!/bin/bash
script=$(dirname "$0")/lab-startup
case $(head -c 100 "$script" | tr -d '\0' | head -n 1) in
'#!'*sh* | [!#]* | '#'[!!]* | '') bash "$script" ;;
*) "$script" ;;
esac
status=$?
{ echo "$status" >/run/lablink-startup/part && mv /run/lablink-startup/part /run/lablink-startup/status; } 2>/dev/null
exit "$status"
SCRIPT
        chmod 0755 /etc/config/lab-startup /etc/config/custom-startup.sh
}

start_container() {
        local secret=() via=direct
        [ -z "$CLOUD_INIT_LOG_GROUP" ] || via=cloudwatch
        [ ! -e "$token_file" ] ||
                secret=(--volume "$token_file:/run/secrets/lablink-client-token:ro"
                        --env LABLINK_CLIENT_TOKEN_FILE=/run/secrets/lablink-client-token)
        docker rm --force "$container" >/dev/null 2>&1 || true
        docker run -dit --name "$container" --network host "${gpu[@]}" \
                --volume /etc/config:/docker_scripts:ro --volume "$run/startup:/run/lablink-startup" "${secret[@]}" \
                --env "ALLOCATOR_HOST=$ALLOCATOR_HOST" \
                --env "ALLOCATOR_URL=$ALLOCATOR_URL" \
                --env "TUTORIAL_REPO_TO_CLONE=$TUTORIAL_REPO_TO_CLONE" \
                --env "VM_NAME=$VM_NAME" \
                --env "SUBJECT_SOFTWARE=$SUBJECT_SOFTWARE" \
                --env "CLOUD_INIT_LOG_GROUP=$CLOUD_INIT_LOG_GROUP" \
                --env "AWS_REGION=$AWS_REGION" \
                --env "STARTUP_ON_ERROR=$STARTUP_ON_ERROR" \
                --env "LABLINK_LOGS_VIA=$via" \
                -- "$IMAGE_NAME" >/dev/null
        docker logs --follow "$container" >"$run/said" 2>&1 &
        follower=$!
}

# container_state: "true 0" while it runs, "false CODE" after its end.
container_state() {
        docker inspect --format '{{.State.Running}} {{.State.ExitCode}}' "$container"
}

startup_status() {
        local status
        status=$(head -c 4 "$run/startup/status" 2>/dev/null || true)
        [[ ! $status =~ ^[0-9]+$ ]] || printf '%s' "$status"
}

# Until the start-up script has ended (half an hour at most), or three looks at a container that has none.
await_container() {
        local looks=3 count=0 state status=''
        [ -z "$STARTUP_SCRIPT" ] || looks=$((1800 / (delay > 0 ? delay : 1)))
        while [ "$count" -lt "$looks" ]; do
                state=$(container_state)
                status=$(startup_status)
                show_container "$run/said"
                [ -z "$status" ] || break
                [ "${state% *}" = true ] || stop "the container ended with exit code ${state#* }"
                count=$((count + 1))
                sleep "$delay"
        done
        [ -n "$STARTUP_SCRIPT" ] || return 0
        if [ "${status:-none}" = none ]; then
                say "the custom start-up script has not ended after half an hour"
        else
                say "the custom start-up script ended with status $status"
        fi
        [ "$STARTUP_ON_ERROR" != fail ] || [ "$status" = 0 ] ||
                stop "the custom start-up script failed (${status:-it does not end}) and startup_script.on_error is fail"
}

prepare() {
        mkdir -p "$run/words" /etc/lablink
        boot_id=$(cat /proc/sys/kernel/random/boot_id)
        : >"$run/authorization"
        if [ -n "$CLIENT_TOKEN" ]; then
                printf '%s' "$CLIENT_TOKEN" >"$token_file"
                printf 'Authorization: Bearer %s\n' "$CLIENT_TOKEN" >"$run/authorization"
        fi
        unset CLIENT_TOKEN
}

prepare
trap 'failed "$LINENO" "$?"' ERR EXIT
trap 'stop "the boot was stopped by a signal"' HUP INT TERM
start_sender send_words
start_sender send_log
say "$VM_NAME boots"
tell_status initializing
tell_metrics "cloud_init_start=$boot_began"
set_up_docker
guard_metadata # docker brings iptables
set_up_gpu
pull_image
place_startup_script
container_began=$(date +%s.%3N)
start_container
await_container
tell_metrics "container_start_time=$container_began" "container_end_time=$(date +%s.%3N)" \
        "container_startup_duration_seconds=$(seconds_since "$container_began")"
docker update --restart unless-stopped "$container" >/dev/null
trap - ERR EXIT
finish running "$VM_NAME runs"
