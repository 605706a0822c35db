/*
 * What a VM of the provider `local` is, sees and reaches, tried from inside with the real bubblewrap. Needs root, and
 * says so when it is not.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "rig.h"

static int open_lab(void **state)
{
        struct rig *rig = xcalloc(1, sizeof *rig);
        _cleanup_error_ struct error error = ERROR_NULL;
        *state = rig;
        rig_open(rig);
        if (rig_launch(rig, &error, "one", "two", NULL) < 0)
                fail_msg("%s", error_text(&error));
        assert_int_equal(rig->created, 2);
        return 0;
}

static int close_lab(void **state)
{
        rig_close(*state);
        free(*state);
        return 0;
}

#define assert_says(rig, vm, root, script, expected) \
        do { \
                _cleanup_free_ char *_said = rig_say(rig, vm, root, script); \
                assert_string_equal(_said, expected); \
        } while (0)
#define assert_refused(rig, vm, root, script) \
        do { \
                _cleanup_buf_ struct buf _said = BUF_NULL; \
                if (rig_run(rig, vm, root, script, &_said) == 0) \
                        fail_msg("in %s, \"%s\" was not refused: %s", vm, script, buf_str(&_said)); \
        } while (0)

static void test_boots(void **state)
{
        struct rig *rig = *state;
        assert_int_equal(rig_state(rig, "one"), PROVIDER_RUNNING);
        assert_int_equal(rig_state(rig, "two"), PROVIDER_RUNNING);
        rig_wait(rig, "one", "grep -q 'one runs$' /var/log/lablink-boot.log");
        _cleanup_free_ char *calls = rig_say(rig, "one", true, "cat /var/log/agent-calls");
        const char *const wanted[] = {"run",
                                      "report status initializing",
                                      "report metrics cloud_init_start=",
                                      "report metrics container_start_time=",
                                      "report status running",
                                      "report metrics cloud_init_end="};
        for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
                if (!strstr(calls, wanted[i]))
                        fail_msg("the agent was never told \"%s\": %s", wanted[i], calls);
}

static void test_is_who_it_should_be(void **state)
{
        struct rig *rig = *state;
        assert_says(rig, "one", false, "id -u; id -g; id -G; hostname; pwd; id -un",
                    "1000\n1000\n1000\none\n/home/client\nclient");
        assert_says(rig, "two", true, "id -u; hostname; pwd", "0\ntwo\n/root");
        assert_says(rig, "one", false, "echo $PATH", PATH_INSIDE);
        assert_says(rig, "one", false, "bash -lc 'echo $PATH'", PATH_INSIDE);
        assert_says(rig, "one", false, "touch ~/mine && stat -c %U ~/mine ~", "client\nclient");
        assert_says(rig, "one", false, "env | grep -c -e LABLINK -e TOKEN -e SUDO || true", "0");
        assert_says(rig, "one", false, "ls /proc/self/fd | wc -l", "4");
}

static void test_sees_nothing_of_the_host(void **state)
{
        struct rig *rig = *state;
        _cleanup_free_ char *look = xasprintf("ls -d %s", rig->directory);
        assert_refused(rig, "one", true, look);
        assert_refused(rig, "one", true, "ls -d /etc/shadow /etc/sudoers");
        assert_refused(rig, "one", true, "ls -d /etc/ssh/ssh_host_*");
        assert_refused(rig, "one", true, "touch /usr/x");
        assert_refused(rig, "one", true, "touch /opt/lablink/x");
        assert_refused(rig, "one", true, "ls -d /boot /root/* /home/[^c]* /sys /lost+found /media");
        assert_refused(rig, "one", true, "mount -o remount,rw /usr");
        assert_refused(rig, "one", true, "mount -o remount,bind,rw /usr");
        assert_refused(rig, "one", true, "mount -o remount,bind,rw /opt/lablink");
        assert_refused(rig, "one", true, "mount -o remount,bind,rw /run/lablink");
        assert_refused(rig, "one", true, "umount /etc/ld.so.cache");
        assert_refused(rig, "one", true, "mknod /tmp/disk b 8 0");
        assert_refused(rig, "one", true, "echo 1 >/proc/sys/kernel/sysrq");
        assert_refused(rig, "one", true, "ls /sys/kernel");
        assert_refused(rig, "one", true, "echo x >/proc/sysrq-trigger");
        assert_says(rig, "one", true, "ls -A /root /srv /mnt | grep -v : | grep -c . || true", "0");
        assert_says(rig, "one", true, "touch /opt/works /var/works /etc/works && ls -d /opt/works", "/opt/works");
}

/* Memory, clock, disks, modules and the kernel's settings are the machine's; not even the VM's root has them. */
static void test_has_no_hold_of_the_kernel(void **state)
{
        struct rig *rig = *state;
        static const char *const attempts[] = {
                "echo 1 >/proc/sys/vm/drop_caches",
                "echo x >/proc/sys/kernel/core_pattern",
                "echo 1 >/proc/sys/kernel/panic",
                "echo x >/proc/sys/kernel/modprobe",
                "echo 0 >/proc/sys/kernel/randomize_va_space",
                "echo 1000 >/proc/sys/fs/file-max",
                "mkdir -p /mnt/s && mount -t sysfs s /mnt/s && echo 1 >/mnt/s/kernel/profiling",
                "mkdir -p /mnt/d && mount -t devtmpfs d /mnt/d && head -c1 /mnt/d/mem",
                "mkdir -p /mnt/g && mount -t debugfs g /mnt/g",
                "mknod /dev/shm/mem c 1 1",
                "mknod /var/disk b 254 0",
                "mknod /home/client/tun c 10 200",
                "head -c 1 /dev/mem",
                "head -c 1 /dev/core",
                "head -c 1 /proc/kcore",
                "head -c 1 /proc/kmsg",
                "date -s @0",
                "touch /dev/x",
        };
        for (size_t i = 0; i < ARRAY_SIZE(attempts); i++)
                assert_refused(rig, "one", true, attempts[i]);
        assert_says(rig, "one", true, "cd /dev; echo *",
                    "core fd full null ptmx pts random shm stderr stdin stdout tty urandom zero");
        assert_says(rig, "one", false, "touch /dev/shm/mine /tmp/mine && echo made", "made");
        assert_says(rig, "one", true, "awk '{print $1, $3}' /proc/self/uid_map /proc/self/gid_map", "0 65536\n0 65536");
}

/* Its limits are not its own to raise. */
static void test_cannot_raise_its_limits(void **state)
{
        struct rig *rig = *state;
        assert_refused(
                rig, "one", true,
                "mkdir -p /mnt/c && mount -t cgroup -o memory c /mnt/c && echo -1 >/mnt/c/memory.limit_in_bytes");
        assert_refused(rig, "one", true, "mkdir -p /mnt/c && mount -t cgroup -o pids c /mnt/c && mkdir /mnt/c/x");
        assert_refused(rig, "one", true, "mkdir -p /mnt/u && mount -t cgroup2 u /mnt/u && echo max >/mnt/u/memory.max");
        assert_says(rig, "one", true, "cut -d: -f3 /proc/self/cgroup | sort -u", "/");
        assert_says(rig, "one", true, "ulimit -c; ulimit -Sn; cat /proc/self/oom_score_adj", "0\n1024\n300");
        assert_refused(rig, "one", true, "echo -500 >/proc/self/oom_score_adj");
}

/* Only what runs inside is in /proc, and no process of another VM or of the host answers. */
static void test_sees_no_other_process(void **state)
{
        struct rig *rig = *state;
        _cleanup_free_ char *kill_us = xasprintf("kill -0 %d", (int)getpid());
        _cleanup_free_ char *hidden = rig_say(rig, "two", true,
                                              "sleep 4242 >/dev/null 2>&1 & sleep 0.1; pgrep -x sleep | head -1");
        assert_true(strlen(hidden) > 0);
        assert_refused(rig, "one", true, kill_us);
        assert_refused(rig, "one", true, "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -q 'sleep [4]242'");
        assert_says(rig, "one", true, "cat /proc/1/comm", "bwrap");
        assert_says(rig, "one", true, "ls /proc | grep -c '^[0-9]' | awk '{print $1 < 20}'", "1");
}

static void test_keeps_its_token(void **state)
{
        struct rig *rig = *state;
        assert_says(rig, "one", true, "cat $(tr '\\0' '\\n' </proc/2/environ | sed -n s/LABLINK_CLIENT_TOKEN_FILE=//p)",
                    TOKEN_ONE);
        assert_says(rig, "two", true, "cat /run/lablink-client/token", TOKEN_TWO);
        assert_refused(rig, "one", false, "cat /run/lablink-client/token");
        assert_refused(rig, "one", false, "cat /proc/2/environ");
        _cleanup_buf_ struct buf found = BUF_NULL;
        const char *argv[] = {
                "/bin/sh", "-c",
                "grep -l token-of-the- /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | grep -v self || true",
                NULL};
        _cleanup_error_ struct error error = ERROR_NULL;
        assert_int_equal(process_capture(argv, &found, &error), 0);
        _cleanup_strv_ char **files = str_split(buf_str(&found), '\n');
        for (char **file = files; *file; file++) { /* the searching shell names the word itself */
                _cleanup_buf_ struct buf text = BUF_NULL;
                if (**file && file_read(*file, 1 << 20, &text, NULL) == 0 &&
                    memmem(text.data, text.len, TOKEN_ONE, strlen(TOKEN_ONE)))
                        fail_msg("%s holds a token", *file);
        }
}

static int listen_on_loopback(in_port_t *ret_port)
{
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof address;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
        assert_int_equal(listen(fd, 8), 0);
        assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
        *ret_port = ntohs(address.sin_port);
        return fd;
}

static int listen_on_path(const char *path, bool abstract)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        snprintf(address.sun_path + abstract, sizeof address.sun_path - 1, "%s", path);
        socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)abstract + strlen(path));
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
        assert_int_equal(listen(fd, 8), 0);
        return fd;
}

static void test_reaches_only_the_allocator(void **state)
{
        struct rig *rig = *state;
        in_port_t port;
        char script[256];
        _cleanup_close_ int loopback = listen_on_loopback(&port);
        snprintf(script, sizeof script, "timeout 2 bash -c 'exec 3<>/dev/tcp/127.0.0.1/%u'", port);
        assert_refused(rig, "one", true, script);
        snprintf(script, sizeof script, "timeout 2 bash -c 'exec 3<>/dev/tcp/10.0.2.2/%u'", port);
        assert_refused(rig, "one", true, script);
        _cleanup_free_ char *name = xasprintf("lablink-test-%d", (int)getpid());
        _cleanup_close_ int abstract = listen_on_path(name, true);
        snprintf(script, sizeof script,
                 "perl -MSocket -e 'socket(S,AF_UNIX,SOCK_STREAM,0); connect(S,pack(\"Sa*\",AF_UNIX,\"\\0%s\")) or "
                 "exit 1'",
                 name);
        assert_refused(rig, "one", true, script);
        /* a socket that appears after the VM has started, as after an allocator's restart */
        _cleanup_free_ char *path = path_join(rig->provider->socket_dir, "allocator.sock");
        _cleanup_close_ int allocator = listen_on_path(path, false);
        assert_int_equal(chmod(path, 0666), 0);
        const char *connect_script =
                "perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Peer=>\"/run/lablink/allocator.sock\") or exit 1'";
        assert_says(rig, "one", true, connect_script, "");
        assert_says(rig, "two", false, connect_script, "");
        assert_refused(rig, "one", true, "rm /run/lablink/allocator.sock");
}

static void test_has_its_own_network(void **state)
{
        struct rig *rig = *state;
        assert_says(rig, "one", true, "grep -c lo: /proc/net/dev", "1");
        assert_says(rig, "one", true, "grep -c eth0: /proc/net/dev || true", "0");
        if (!program_exists("slirp4netns")) {
                print_message("slirp4netns is not installed: the outside network was not tested\n");
                return;
        }
        assert_null(strstr(buf_str(&rig->lines), "no outside network"));
        assert_says(rig, "one", true, "grep -c tap0: /proc/net/dev", "1");
        assert_says(rig, "one", true, "cat /etc/resolv.conf", "nameserver 10.0.2.3");
}

/* What the VM's root makes belongs to nobody that the host knows. */
static void test_setuid_is_nobody(void **state)
{
        struct rig *rig = *state;
        struct stat st;
        _cleanup_free_ char *made = rig_say(
                rig, "one", true, "cp /usr/bin/id /home/client/id && chmod 4755 /home/client/id && echo made");
        _cleanup_free_ char *path = path_join(rig->provider->vms, "one/home/id");
        _cleanup_vm_ struct local_vm vm = {0};
        assert_int_equal(local_vm_load(rig->provider, "one", &vm, NULL), 0);
        assert_int_equal(lstat(path, &st), 0);
        assert_true(st.st_mode & S_ISUID);
        assert_int_equal(st.st_uid, vm.first_id);
        assert_null(getpwuid(st.st_uid));
        assert_says(rig, "one", false, "/home/client/id -u", "1000"); /* nor does it raise anybody inside */
        _cleanup_free_ char *home = path_join(rig->provider->vms, "one");
        assert_int_equal(lstat(home, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0700);
        assert_int_equal(st.st_uid, 0);
}

static void test_ids_are_not_shared(void **state)
{
        struct rig *rig = *state;
        _cleanup_vm_ struct local_vm one = {0}, two = {0};
        assert_int_equal(local_vm_load(rig->provider, "one", &one, NULL), 0);
        assert_int_equal(local_vm_load(rig->provider, "two", &two, NULL), 0);
        assert_true(one.first_id + LOCAL_IDS <= two.first_id || two.first_id + LOCAL_IDS <= one.first_id);
        assert_true(one.first_id >= rig->config->local.uid_base);
}

static void test_exec_passes_outcomes(void **state)
{
        struct rig *rig = *state;
        _cleanup_buf_ struct buf out = BUF_NULL;
        assert_int_equal(rig_run(rig, "one", false, "exit 7", &out), 7);
        assert_int_equal(rig_run(rig, "one", false, "kill -9 $$", &out), 128 + SIGKILL);
        assert_int_equal(out.len, 0);
        assert_int_equal(rig_run(rig, "nowhere", false, "true", &out), -1);
        assert_non_null(strstr(buf_str(&out), "nowhere"));
        assert_int_equal(rig_run(rig, "../one", false, "true", &out), -1);
        assert_says(rig, "one", false, "sleep 1000 & echo done", "done"); /* does not wait for what keeps the stream */
        _cleanup_buf_ struct buf much = BUF_NULL;
        assert_int_equal(rig_run(rig, "one", false, "head -c 3000000 /dev/zero | tr '\\0' x", &much), 0);
        assert_int_equal(much.len, 3000000);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_boots),
                cmocka_unit_test(test_is_who_it_should_be),
                cmocka_unit_test(test_sees_nothing_of_the_host),
                cmocka_unit_test(test_has_no_hold_of_the_kernel),
                cmocka_unit_test(test_cannot_raise_its_limits),
                cmocka_unit_test(test_sees_no_other_process),
                cmocka_unit_test(test_keeps_its_token),
                cmocka_unit_test(test_reaches_only_the_allocator),
                cmocka_unit_test(test_has_its_own_network),
                cmocka_unit_test(test_setuid_is_nobody),
                cmocka_unit_test(test_ids_are_not_shared),
                cmocka_unit_test(test_exec_passes_outcomes),
        };
        if (!rig_possible())
                return RIG_SKIP;
        return cmocka_run_group_tests_name("inside", tests, open_lab, close_lab);
}
