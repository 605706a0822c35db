/*
 * A VM's directories. STATE/vms/NAME is entered by host root only; in it
 *
 *   home   /home/client   the participant's
 *   opt    /opt           the VM's root's
 *   var    /var           the VM's root's
 *   agent  /opt/lablink   host root's, read-only inside: the agent's binary, the boot script, the start-up script
 *
 * Everything else that a VM sees is made new at each start (stage.c). The agent is copied, so that building or
 * upgrading LabLink changes no VM that runs.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "provider/local/internal.h"
#include "provider/local/scripts.h"

struct directory {
        const char *name;
        mode_t mode;
        int owner; /* counted inside; -1: host root */
};

static const struct directory directories[] = {
        {"home", 0755, LOCAL_CLIENT},
        {"opt", 0755, 0},
        {"var", 0755, 0},
        {"agent", 0755, -1},
};

/* A directory, whatever stood there before. No process of the VM runs, so nothing changes under our hands. */
static int make_directory(int parent, const char *name, mode_t mode, uid_t owner, int *ret_fd)
{
        bool fresh = mkdirat(parent, name, 0700) == 0;
        int failed = fresh ? 0 : errno;
        if (!fresh && failed != EEXIST)
                return -failed;
        _cleanup_close_ int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 && (errno == ENOTDIR || errno == ELOOP) && !fresh) {
                if (unlinkat(parent, name, 0) < 0)
                        return -errno;
                return make_directory(parent, name, mode, owner, ret_fd);
        }
        if (fd < 0)
                return -errno;
        if (fresh && (fchown(fd, owner, owner) < 0 || fchmod(fd, mode) < 0))
                return -errno;
        if (ret_fd)
                *ret_fd = STEAL_FD(fd);
        return 0;
}

static int copy_bytes(int from, int to)
{
        char block[65536];
        for (;;) {
                ssize_t n = read(from, block, sizeof block);
                if (n <= 0)
                        return n < 0 ? -errno : 0;
                int r = fd_write_all(to, block, (size_t)n);
                if (r < 0)
                        return r;
        }
}

/* Into the agent's directory, which no VM can write: replaced by rename, so a running copy keeps its own file. */
static int copy_file(const char *source, int directory, const char *name, struct error *error)
{
        _cleanup_free_ char *aside = xasprintf("%s.new", name);
        _cleanup_close_ int from = open(source, O_RDONLY | O_CLOEXEC);
        if (from < 0)
                return error_errno(error, errno, "cannot read %s", source);
        unlinkat(directory, aside, 0);
        _cleanup_close_ int to = openat(directory, aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
        int r = to < 0 ? -errno : copy_bytes(from, to);
        if (r == 0 && (fchmod(to, 0755) < 0 || renameat(directory, aside, directory, name) < 0))
                r = -errno;
        return r < 0 ? error_errno(error, -r, "cannot copy %s into the VM", source) : 0;
}

static int write_script(int directory, const char *name, const unsigned char *text, size_t len, struct error *error)
{
        unlinkat(directory, name, 0);
        _cleanup_close_ int fd = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
        int r = fd < 0 ? -errno : fd_write_all(fd, text, len);
        if (r == 0 && fchmod(fd, 0755) < 0)
                r = -errno;
        return r < 0 ? error_errno(error, -r, "cannot write the VM's %s", name) : 0;
}

static int fill_agent(struct provider *p, int agent, struct error *error)
{
        _cleanup_free_ char *startup = config_startup_script(p->config);
        _cleanup_close_ int bin = -1;
        int r = make_directory(agent, "bin", 0755, 0, &bin);
        if (r < 0)
                return error_errno(error, -r, "cannot make the agent's directory");
        r = copy_file(p->agent, bin, "lablink-client", error);
        if (r == 0)
                r = write_script(bin, "lablink-desktop", lablink_desktop_sh, lablink_desktop_sh_len, error);
        if (r == 0)
                r = write_script(bin, "lablink-software", lablink_software_sh, lablink_software_sh_len, error);
        if (r == 0)
                r = write_script(agent, "boot.sh", lablink_boot_sh, lablink_boot_sh_len, error);
        if (r < 0)
                return r;
        if (startup && access(startup, R_OK) == 0)
                return copy_file(startup, agent, "custom-startup.sh", error);
        if (startup && faccessat(agent, "custom-startup.sh", R_OK, 0) < 0)
                return error_set(error, -ENOENT, "startup_script.path: there is no file %s", startup);
        if (!startup)
                unlinkat(agent, "custom-startup.sh", 0);
        return 0;
}

int layout_open(struct provider *p, const char *name, int *ret_fd, struct error *error)
{
        _cleanup_free_ char *path = path_join(p->vms, name);
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return error_errno(error, errno, "cannot open %s", path);
        *ret_fd = fd;
        return 0;
}

int layout_make(struct provider *p, const struct local_vm *vm, struct error *error)
{
        _cleanup_free_ char *path = path_join(p->vms, vm->name);
        _cleanup_close_ int top = -1, agent = -1, opt = -1;
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
                return error_errno(error, errno, "cannot make %s", path);
        int r = layout_open(p, vm->name, &top, error);
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(directories); i++) {
                const struct directory *d = &directories[i];
                uid_t owner = d->owner < 0 ? 0 : vm->first_id + (uid_t)d->owner;
                r = make_directory(top, d->name, d->mode, owner, NULL);
                if (r < 0)
                        return error_errno(error, -r, "cannot make %s/%s", path, d->name);
        }
        if (r == 0 && (agent = openat(top, "agent", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
                return error_errno(error, errno, "cannot open %s/agent", path);
        if (r == 0)
                r = fill_agent(p, agent, error);
        if (r < 0)
                return r;
        /* where the agent is bound: made here, so that no link of the VM's root leads the mount astray */
        opt = openat(top, "opt", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        r = opt < 0 ? -errno : make_directory(opt, "lablink", 0755, vm->first_id, NULL);
        return r < 0 ? error_errno(error, -r, "cannot make %s/opt/lablink", path) : 0;
}

int layout_wipe(struct provider *p, const char *name, struct error *error)
{
        _cleanup_free_ char *path = path_join(p->vms, name);
        return dir_remove(path, error);
}
