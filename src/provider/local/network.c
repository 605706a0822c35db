/*
 * The VM's way to the outside: slirp4netns gives its network namespace one interface and carries the connections as an
 * ordinary process of this machine. It is started inside the VM's user namespace (so it has no right over the host, and
 * firewall rules can name it by the VM's user ids), outside its pid and mount namespaces (so the VM cannot touch it),
 * in its control group, and ends when the descriptor `alive` says that the VM's first process has ended.
 *
 * The host's loopback is closed to it. What the host serves on its other addresses, and what it can reach (a cloud's
 * metadata service among it), stays reachable as for any program on this machine: local.outside: false, or a firewall
 * rule on the range of user ids, closes that (docs/security.md).
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/text.h"
#include "provider/local/internal.h"

#define READY_WAIT_MS 15000
#define SAID_SIZE 4096

enum { FD_NULL = 0, FD_SAID = 1, FD_SAID_TOO = 2, FD_NETNS = 3, FD_READY = 4, FD_EXIT = 5, FD_USERNS = 6 };

bool program_exists(const char *name)
{
        _cleanup_strv_ char **directories = str_split("/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", ':');
        for (char **directory = directories; *directory; directory++) {
                _cleanup_free_ char *path = xasprintf("%s/%s", *directory, name);
                if (access(path, X_OK) == 0)
                        return true;
        }
        return false;
}

/* The tunnel device as others may use it, in a mount namespace of this process's own: some systems keep it to root. */
static int open_tunnel_device(struct error *error)
{
        struct stat st;
        if (stat("/dev/net/tun", &st) < 0)
                return error_errno(error, errno, "there is no /dev/net/tun");
        if ((st.st_mode & 06) == 06)
                return 0;
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0 ||
            mount("lablink", "/dev/net", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755,size=64k") < 0 ||
            mknod("/dev/net/tun", S_IFCHR | 0666, makedev(10, 200)) < 0 || chmod("/dev/net/tun", 0666) < 0)
                return error_errno(error, errno, "cannot open /dev/net/tun to the VM's network");
        return 0;
}

struct plug {
        struct provider *provider;
        const char *name;
};

static int prepare(void *userdata, struct error *error)
{
        struct plug *plug = userdata;
        int r = cgroup_join(plug->provider, plug->name, error);
        return r < 0 ? r : open_tunnel_device(error);
}

static int open_namespace(pid_t pid, const char *name, struct error *error)
{
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/ns/%s", (int)pid, name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        return fd < 0 ? error_errno(error, errno, "cannot open the VM's %s namespace", name) : fd;
}

static int start(struct provider *p, struct local_vm *vm, const struct spawn_fd *fds, size_t n, struct error *error)
{
        static const char *const argv[] = {
                "slirp4netns",       "--configure",      "--mtu=65520",  "--disable-host-loopback",
                "--enable-sandbox",  "--enable-seccomp", "--ready-fd=4", "--exit-fd=5",
                "--netns-type=path", "/proc/self/fd/3",  "tap0",         NULL};
        static const char *const env[] = {"PATH=/usr/local/bin:/usr/bin:/bin", NULL};
        struct plug plug = {.provider = p, .name = vm->name};
        struct spawn_spec spec = {
                .argv = argv,
                .env = env,
                .fds = fds,
                .n_fds = n,
                .first_id = vm->first_id,
                .userns_fd = FD_USERNS,
                .prepare = prepare,
                .userdata = &plug,
        };
        return spawn_mapped(&spec, &vm->network, error);
}

/* What it says, kept for a sentence: a little file in memory that cannot grow, so that it may talk for ever. */
static int make_said_file(void)
{
        _cleanup_close_ int fd = memfd_create("lablink-network", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0 || ftruncate(fd, SAID_SIZE) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) < 0)
                return -1;
        return STEAL_FD(fd);
}

static void add_said(int fd, struct buf *out)
{
        char text[SAID_SIZE + 1] = "";
        if (pread(fd, text, SAID_SIZE, 0) > 0)
                utf8_scrub(text, strlen(text), out);
}

static int plug_in(struct provider *p, struct local_vm *vm, int alive_fd, int said, struct error *error)
{
        _cleanup_buf_ struct buf ready = BUF_NULL, words = BUF_NULL;
        int pair[2];
        _cleanup_close_ int net = open_namespace(vm->init.pid, "net", error);
        if (net < 0)
                return net;
        _cleanup_close_ int user = open_namespace(vm->init.pid, "user", error);
        if (user < 0)
                return user;
        _cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (null < 0 || pipe2(pair, O_CLOEXEC) < 0)
                return error_errno(error, errno, "cannot make a pipe");
        _cleanup_close_ int in = pair[0], out = pair[1];
        const struct spawn_fd fds[] = {{null, FD_NULL}, {said, FD_SAID},     {said, FD_SAID_TOO}, {net, FD_NETNS},
                                       {out, FD_READY}, {alive_fd, FD_EXIT}, {user, FD_USERNS}};
        int r = start(p, vm, fds, ARRAY_SIZE(fds), error);
        if (r < 0)
                return r;
        close(STEAL_FD(out));
        r = await_word(in, "1", READY_WAIT_MS, &ready);
        if (r == 0)
                return 0;
        add_said(said, &words);
        return error_set(error, r, "slirp4netns does not come up: %s", words.len ? str_trim(words.data) : "no word");
}

int network_start(struct provider *p, struct local_vm *vm, int alive_fd, struct error *error)
{
        if (!program_exists("slirp4netns"))
                return error_set(error, -ENOENT, "slirp4netns is not installed");
        _cleanup_close_ int said = make_said_file();
        int r = said < 0 ? error_errno(error, errno, "cannot make a file in memory")
                         : plug_in(p, vm, alive_fd, said, error);
        if (r == 0)
                return 0;
        process_kill(&vm->network, READY_WAIT_MS);
        vm->network = (struct process_identity){0};
        return r;
}
