/*
 * The host's side of what a VM sees, laid out on a small file system in a mount namespace of its own before bubblewrap
 * starts: the VM's directories bound by descriptor (so it does not matter who may walk the path to the state
 * directory), the token in memory only, and an /etc made new at each start: the VM's own passwd, group, hosts and
 * resolver, and of the host's /etc only what programs need, read-only. No password file, key, sudoers or credential is
 * in the list: the list is what is allowed.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/file.h"
#include "provider/local/internal.h"

static const char *const host_etc[] = {
        "X11",
        "alternatives",
        "bash.bashrc",
        "ca-certificates",
        "ca-certificates.conf",
        "dconf",
        "debian_version",
        "drirc",
        "emacs",
        "fonts",
        "gai.conf",
        "glvnd",
        "gtk-2.0",
        "gtk-3.0",
        "host.conf",
        "inputrc",
        "java-*",
        "ld.so.cache",
        "ld.so.conf",
        "ld.so.conf.d",
        "locale.alias",
        "localtime",
        "login.defs",
        "lsb-release",
        "magic",
        "mailcap",
        "mime.types",
        "OpenCL",
        "os-release",
        "protocols",
        "python3*",
        "rpc",
        "services",
        "shells",
        "skel",
        "ssl/certs",
        "ssl/openssl.cnf",
        "terminfo",
        "timezone",
        "vim",
        "vulkan",
        "xdg",
};

static int fail(struct error *error, const char *what)
{
        return error_errno(error, errno, "cannot prepare the VM's %s", what);
}

static int write_owned(const char *path, const char *text, mode_t mode, uid_t owner, struct error *error)
{
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        int r = fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
        if (r == 0 && (fchown(fd, owner, owner) < 0 || fchmod(fd, mode) < 0))
                r = -errno;
        return r < 0 ? error_errno(error, -r, "cannot write %s", path) : 0;
}

static int make_owned(const char *path, mode_t mode, uid_t owner, struct error *error)
{
        if (mkdir(path, mode) < 0 || chown(path, owner, owner) < 0 || chmod(path, mode) < 0)
                return fail(error, path);
        return 0;
}

/* The places to bind are opened in the new namespace, where they can be bound from, and before the stage hides /tmp. */
struct sources {
        int vm, socket_dir;
};

static void sources_close(struct sources *sources)
{
        closep(&sources->vm);
        closep(&sources->socket_dir);
}

static int own_mounts(const struct stage *stage, struct sources *sources, struct error *error)
{
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
                return fail(error, "mount namespace");
        int r = layout_open(stage->provider, stage->vm->name, &sources->vm, error);
        if (r < 0)
                return r;
        sources->socket_dir = open(stage->provider->socket_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (sources->socket_dir < 0)
                return fail(error, "way to the allocator");
        if (mount("lablink", STAGE_DIR, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=16m") < 0)
                return fail(error, "stage");
        return 0;
}

/* A child of `parent`, never through a link, and without what may be mounted below. */
static int bind_child(int parent, const char *name, struct error *error)
{
        char source[64], target[128];
        _cleanup_close_ int fd = openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return fail(error, name);
        snprintf(source, sizeof source, "/proc/self/fd/%d", fd);
        snprintf(target, sizeof target, STAGE_DIR "/%s", name);
        if (mkdir(target, 0755) < 0 || mount(source, target, NULL, MS_BIND, NULL) < 0)
                return fail(error, name);
        return 0;
}

/* In this mount namespace, the host's own, so that the VM's root cannot take it back (mount_namespaces(7), locked
 * flags). With what is mounted below. */
static int make_read_only(const char *target)
{
        struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
        return mount_setattr(AT_FDCWD, target, AT_RECURSIVE, &attr, sizeof attr) < 0 ? -errno : 0;
}

static int bind_read_only(const char *source, const char *target)
{
        if (mount(source, target, NULL, MS_BIND | MS_REC, NULL) < 0)
                return -errno;
        return make_read_only(target);
}

/* A link stays a link: what it names is in the list, in /usr, or not the VM's business. */
static int show_host_entry(const char *source, struct error *error)
{
        _cleanup_free_ char *target = xasprintf(STAGE_DIR "%s", source);
        char link[4096];
        struct stat st;
        if (lstat(source, &st) < 0)
                return 0;
        if (S_ISLNK(st.st_mode)) {
                ssize_t n = readlink(source, link, sizeof link - 1);
                if (n < 0)
                        return fail(error, source);
                link[n] = '\0';
                return symlink(link, target) < 0 ? fail(error, target) : 0;
        }
        if (!(st.st_mode & S_IROTH) || !(S_ISDIR(st.st_mode) || S_ISREG(st.st_mode)))
                return 0;
        int made = S_ISDIR(st.st_mode) ? mkdir(target, 0755) : mknod(target, S_IFREG | 0644, 0);
        if (made < 0)
                return fail(error, target);
        int r = bind_read_only(source, target);
        return r < 0 ? error_errno(error, -r, "cannot show %s to the VM", source) : 0;
}

static int show_host_etc(struct error *error)
{
        int r = 0;
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(host_etc); i++) {
                _cleanup_free_ char *pattern = path_join("/etc", host_etc[i]);
                glob_t found = {0};
                if (glob(pattern, GLOB_NOSORT, NULL, &found) == 0)
                        for (size_t k = 0; r == 0 && k < found.gl_pathc; k++)
                                r = show_host_entry(found.gl_pathv[k], error);
                globfree(&found);
        }
        return r;
}

/* Thirty-two hexadecimal digits that stay the same for as long as the VM exists; no secret. */
static void machine_id(const struct local_vm *vm, char out[34])
{
        uint64_t hash[2] = {0xcbf29ce484222325u ^ vm->first_id, 0x84222325cbf29ce4u};
        for (const char *c = vm->name; *c; c++)
                for (int i = 0; i < 2; i++)
                        hash[i] = (hash[i] ^ (unsigned char)*c) * (0x100000001b3u + 2u * (unsigned)i);
        snprintf(out, 34, "%016llx%016llx\n", (unsigned long long)hash[0], (unsigned long long)hash[1]);
}

static int write_own_etc(const struct stage *stage, struct error *error)
{
        uid_t root = stage->vm->first_id;
        const char *name = stage->vm->name;
        char id[34];
        machine_id(stage->vm, id);
        _cleanup_free_ char *hostname = xasprintf("%s\n", name);
        _cleanup_free_ char *hosts = xasprintf("127.0.0.1 localhost\n127.0.1.1 %s\n::1 localhost\n", name);
        const struct {
                const char *path, *text;
        } files[] = {
                {STAGE_DIR "/etc/hostname", hostname},
                {STAGE_DIR "/etc/hosts", hosts},
                {STAGE_DIR "/etc/machine-id", id},
                {STAGE_DIR "/etc/passwd", "root:x:0:0:root:/root:/bin/bash\n"
                                          "client:x:1000:1000:Participant:/home/client:/bin/bash\n"
                                          "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"},
                {STAGE_DIR "/etc/group", "root:x:0:\ntty:x:5:\nstaff:x:50:\nusers:x:100:\nclient:x:1000:\n"
                                         "nogroup:x:65534:\n"},
                {STAGE_DIR "/etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n"
                                                 "networks: files\nprotocols: files\nservices: files\n"},
                {STAGE_DIR "/etc/profile", "PATH=" PATH_INSIDE "\nexport PATH\nif [ -n \"$BASH_VERSION\" ] && "
                                           "[ -r /etc/bash.bashrc ]; then . /etc/bash.bashrc; fi\numask 022\n"},
                {STAGE_DIR "/etc/resolv.conf",
                 stage->provider->config->local.outside ? "nameserver 10.0.2.3\n" : "# no outside network\n"},
        };
        int r = 0;
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(files); i++)
                r = write_owned(files[i].path, files[i].text, 0644, root, error);
        if (r == 0 && symlink("/proc/mounts", STAGE_DIR "/etc/mtab") < 0)
                r = fail(error, "/etc/mtab");
        return r;
}

static int make_etc(const struct stage *stage, struct error *error)
{
        uid_t root = stage->vm->first_id;
        int r = make_owned(STAGE_DIR "/etc", 0755, root, error);
        if (r == 0)
                r = make_owned(STAGE_DIR "/etc/ssl", 0755, root, error);
        if (r == 0)
                r = write_own_etc(stage, error);
        return r < 0 ? r : show_host_etc(error);
}

/* The agent's secret: in memory, and readable by the VM's root only. */
static int make_secret(const struct stage *stage, struct error *error)
{
        uid_t root = stage->vm->first_id;
        int r = make_owned(STAGE_DIR "/secret", 0700, root, error);
        return r < 0 ? r : write_owned(STAGE_DIR "/secret/token", stage->vm->token, 0400, root, error);
}

/* The directory, not the socket: a restarted allocator makes a new socket in it. */
static int bind_allocator(int socket_dir, struct error *error)
{
        char source[64];
        snprintf(source, sizeof source, "/proc/self/fd/%d", socket_dir);
        if (mkdir(STAGE_DIR "/allocator", 0755) < 0)
                return fail(error, "way to the allocator");
        int r = bind_read_only(source, STAGE_DIR "/allocator");
        return r < 0 ? error_errno(error, -r, "cannot prepare the VM's way to the allocator") : 0;
}

static int show_system(struct error *error)
{
        if (mkdir(STAGE_DIR "/usr", 0755) < 0)
                return fail(error, "/usr");
        int r = bind_read_only("/usr", STAGE_DIR "/usr");
        if (r == 0)
                r = make_read_only(STAGE_DIR "/agent");
        return r < 0 ? error_errno(error, -r, "cannot show /usr to the VM") : 0;
}

int stage_build(const struct stage *stage, struct error *error)
{
        static const char *const bound[] = {"home", "opt", "var", "agent"};
        _cleanup_(sources_close) struct sources sources = {-1, -1};
        int r = own_mounts(stage, &sources, error);
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(bound); i++)
                r = bind_child(sources.vm, bound[i], error);
        if (r == 0)
                r = bind_allocator(sources.socket_dir, error);
        if (r == 0)
                r = show_system(error);
        if (r == 0)
                r = make_secret(stage, error);
        return r < 0 ? r : make_etc(stage, error);
}
