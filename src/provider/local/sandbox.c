/*
 * Starting and ending one VM.
 *
 *   control groups -> user namespace with the VM's ids -> bubblewrap in it -> boot.sh says "lablink-boot: up" and waits
 *   -> the first process inside is identified, the network is plugged in, the record is written -> "go"
 *
 * boot.sh runs nothing before it has read "go", and ends at the end of that stream. So nothing of a VM runs that its
 * record does not know, whenever the runner is killed. Ending a VM is killing its first process: the kernel then kills
 * everything in its pid namespace, and is done when that process is gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "base/text.h"
#include "provider/local/internal.h"

#define BOOT_WAIT_MS 60000
#define STOP_WAIT_MS 30000
#define SAID_MAX 8192

/* What bubblewrap and the boot script find as their descriptors. */
enum { FD_GO = 0, FD_UP = 1, FD_UP_TOO = 2 };

int await_word(int fd, const char *word, int64_t wait_ms, struct buf *said)
{
        int64_t deadline = clock_ms() + wait_ms;
        size_t length = strlen(word);
        for (;;) {
                char block[512];
                const char *found = strstr(buf_str(said), word);
                if (found && (found == said->data || found[-1] == '\n'))
                        return 0;
                int64_t left = deadline - clock_ms();
                struct pollfd wait = {.fd = fd, .events = POLLIN};
                if (left <= 0 || said->len > SAID_MAX + length)
                        return -ETIMEDOUT;
                if (poll(&wait, 1, (int)left) <= 0)
                        continue;
                ssize_t n = read(fd, block, sizeof block);
                if (n == 0)
                        return -EPIPE;
                if (n < 0 && errno != EINTR)
                        return -errno;
                if (n > 0)
                        utf8_scrub(block, (size_t)n, said);
        }
}

/* bubblewrap writes {"child-pid": N, ...} before anything inside runs. */
static int read_init(int fd, struct process_identity *ret, struct error *error)
{
        _cleanup_buf_ struct buf text = BUF_NULL;
        int64_t deadline = clock_ms() + BOOT_WAIT_MS;
        while (!strchr(buf_str(&text), '}') && clock_ms() < deadline) {
                char block[512];
                struct pollfd wait = {.fd = fd, .events = POLLIN};
                ssize_t n = poll(&wait, 1, 1000) > 0 ? read(fd, block, sizeof block) : 0;
                if (n > 0)
                        buf_add(&text, block, (size_t)n);
                else if (n < 0 || (wait.revents & POLLHUP))
                        break;
        }
        const char *key = strstr(buf_str(&text), "\"child-pid\":");
        long pid = key ? strtol(key + strlen("\"child-pid\":"), NULL, 10) : 0;
        if (pid <= 1 || process_identify((pid_t)pid, ret) < 0)
                return error_set(error, -EPROTO, "bubblewrap does not say which process it made");
        return 0;
}

int process_kill(const struct process_identity *identity, int64_t wait_ms)
{
        if (identity->pid <= 1)
                return 0;
        _cleanup_close_ int fd = (int)syscall(SYS_pidfd_open, identity->pid, 0);
        if (fd < 0 || !process_is(identity)) /* looked at after opening: the descriptor is that very process */
                return 0;
        syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        int64_t deadline = clock_ms() + wait_ms;
        while (poll(&wait, 1, (int)MAX(deadline - clock_ms(), 0)) <= 0)
                if (clock_ms() >= deadline)
                        return -ETIMEDOUT;
        return 0;
}

struct boot { /* what one start holds open */
        int go[2], up[2], info[2], alive[2];
};

static void boot_close(struct boot *boot)
{
        int *pairs[] = {boot->go, boot->up, boot->info, boot->alive};
        for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
                closep(&pairs[i][0]);
                closep(&pairs[i][1]);
        }
}
#define _cleanup_boot_ _cleanup_(boot_close)
#define BOOT_NULL ((struct boot){{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}})

static int boot_open(struct boot *boot, struct error *error)
{
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, boot->go) < 0 || pipe2(boot->up, O_CLOEXEC) < 0 ||
            pipe2(boot->info, O_CLOEXEC) < 0 || pipe2(boot->alive, O_CLOEXEC) < 0)
                return error_errno(error, errno, "cannot make pipes");
        return 0;
}

/* In the child, as host root. */
static int prepare(void *userdata, struct error *error)
{
        const struct stage *stage = userdata;
        int r = cgroup_join(stage->provider, stage->vm->name, error);
        if (r == 0)
                r = stage_build(stage, error);
        return r < 0 ? r : cgroup_limit_process(stage->provider, error); /* last: we may be larger than a VM may be */
}

static void drop(int *fd)
{
        closep(fd);
        *fd = -1;
}

static int spawn_bubblewrap(struct provider *p, struct local_vm *vm, struct boot *boot,
                            struct process_identity *ret_monitor, struct error *error)
{
        const struct spawn_fd fds[] = {{boot->go[0], FD_GO},
                                       {boot->up[1], FD_UP},
                                       {boot->up[1], FD_UP_TOO},
                                       {boot->info[1], BUBBLE_INFO},
                                       {boot->alive[1], BUBBLE_ALIVE}};
        _cleanup_args_ struct args args = {0};
        _cleanup_strv_ char **env = bubble_environment(p, vm);
        struct stage stage = {.provider = p, .vm = vm};
        bubble_args(&args, p, vm);
        struct spawn_spec spec = {
                .argv = args.list,
                .env = (const char *const *)env,
                .fds = fds,
                .n_fds = ARRAY_SIZE(fds),
                .first_id = vm->first_id,
                .userns_fd = -1,
                .prepare = prepare,
                .userdata = &stage,
        };
        int r = spawn_mapped(&spec, ret_monitor, error);
        drop(&boot->go[0]);
        drop(&boot->up[1]);
        drop(&boot->info[1]);
        drop(&boot->alive[1]);
        return r;
}

static int await_boot(struct boot *boot, struct local_vm *vm, struct error *error)
{
        _cleanup_buf_ struct buf said = BUF_NULL;
        int r = await_word(boot->up[0], "lablink-boot: up\n", BOOT_WAIT_MS, &said);
        if (r == -EPIPE)
                return error_set(error, r, "the sandbox ended: %s", str_trim(said.data ? said.data : (char[]){""}));
        if (r < 0)
                return error_errno(error, -r, "the sandbox does not come up");
        return read_init(boot->info[0], &vm->init, error);
}

static int let_go(struct provider *p, struct local_vm *vm, struct boot *boot, struct error *error)
{
        vm->made = true;
        int r = local_vm_save(p, vm, error);
        failpoint("launch.sandbox-recorded");
        if (r == 0 && send(boot->go[1], "go\n", 3, MSG_NOSIGNAL) != 3)
                r = error_errno(error, errno, "the sandbox ended before it booted");
        return r;
}

static void plug_network(struct provider *p, struct local_vm *vm, const struct boot *boot,
                         const struct provider_sink *sink)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        vm->network = (struct process_identity){0};
        if (!p->config->local.outside)
                return;
        if (network_start(p, vm, boot->alive[0], &error) < 0)
                sink_line(sink, "%s: no outside network: %s", vm->name, error_text(&error));
}

int sandbox_start(struct provider *p, struct local_vm *vm, const struct provider_sink *sink, struct error *error)
{
        _cleanup_boot_ struct boot boot = BOOT_NULL;
        struct process_identity monitor = {0};
        vm->init = (struct process_identity){0};
        int r = cgroup_make(p, vm->name, error);
        if (r == 0)
                r = boot_open(&boot, error);
        if (r == 0)
                r = spawn_bubblewrap(p, vm, &boot, &monitor, error);
        failpoint("launch.sandbox-spawned");
        if (r == 0)
                r = await_boot(&boot, vm, error);
        if (r == 0) {
                plug_network(p, vm, &boot, sink);
                failpoint("launch.sandbox-up");
                r = let_go(p, vm, &boot, error);
        }
        if (r == 0)
                return 0;
        process_kill(&vm->init, STOP_WAIT_MS);
        process_kill(&monitor, STOP_WAIT_MS);
        process_kill(&vm->network, STOP_WAIT_MS);
        cgroup_remove(p, vm->name, NULL);
        error_wrap(error, "%s", vm->name);
        return r;
}

int sandbox_stop(struct provider *p, const struct local_vm *vm, struct error *error)
{
        bool known = process_is(&vm->init);
        if (process_kill(&vm->init, STOP_WAIT_MS) < 0 || process_kill(&vm->network, STOP_WAIT_MS) < 0)
                return error_set(error, -ETIMEDOUT, "%s: its processes do not end", vm->name);
        int r = cgroup_remove(p, vm->name, error);
        if (r == 0 && !known && remains_kill(p, vm->name, STOP_WAIT_MS) < 0)
                return error_set(error, -ETIMEDOUT, "%s: its processes do not end", vm->name);
        return r;
}

int sandbox_try(struct provider *p, struct error *error)
{
        static const char *const argv[] = {"bwrap",
                                           "--unshare-pid",
                                           "--unshare-ipc",
                                           "--unshare-uts",
                                           "--unshare-net",
                                           "--ro-bind",
                                           "/",
                                           "/",
                                           "--proc",
                                           "/proc",
                                           "--dev",
                                           "/dev",
                                           "--",
                                           "/bin/echo",
                                           "lablink-try: up",
                                           NULL};
        static const char *const env[] = {"PATH=/usr/local/bin:/usr/bin:/bin", NULL};
        _cleanup_boot_ struct boot boot = BOOT_NULL;
        _cleanup_buf_ struct buf said = BUF_NULL;
        struct process_identity process;
        if (pipe2(boot.up, O_CLOEXEC) < 0)
                return error_errno(error, errno, "cannot make pipes");
        _cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        const struct spawn_fd fds[] = {{null, 0}, {boot.up[1], 1}, {boot.up[1], 2}};
        struct spawn_spec spec = {.argv = argv, .env = env, .fds = fds, .n_fds = ARRAY_SIZE(fds), .userns_fd = -1};
        spec.first_id = (uint32_t)p->config->local.uid_base;
        int r = spawn_mapped(&spec, &process, error);
        drop(&boot.up[1]);
        if (r < 0)
                return r;
        r = await_word(boot.up[0], "lablink-try: up\n", BOOT_WAIT_MS, &said);
        if (r < 0)
                error_set(error, r, "%s", str_trim(said.data ? said.data : (char[]){"no answer"}));
        process_kill(&process, STOP_WAIT_MS);
        return r;
}
