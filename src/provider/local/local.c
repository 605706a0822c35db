/*
 * The provider `local`: what launch, list, destroy, start, reset, exec and reach mean for sandboxes on this machine. Each is a
 * straight line over record, layout and sandbox; one lock on STATE/local keeps two that change something apart.
 */
#include "provider/local/local.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "provider/local/internal.h"

#define REMOVE_TRIES 20

static void sink_progress(const struct provider_sink *sink, size_t done, size_t total)
{
        if (sink && sink->progress)
                sink->progress(sink->userdata, (int)done, (int)total);
}

static bool sink_cancelled(const struct provider_sink *sink)
{
        return sink && sink->cancelled && sink->cancelled(sink->userdata);
}

/* The agent lies beside the program that runs. */
static char *find_agent(void)
{
        char path[PATH_MAX];
        ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
        char *slash = n > 0 ? memrchr(path, '/', (size_t)n) : NULL;
        if (!slash)
                return xstrdup("/usr/bin/lablink-client");
        *slash = '\0';
        return path_join(path, "lablink-client");
}

static char *group_name(const char *state)
{
        uint64_t hash = 0xcbf29ce484222325u;
        for (const char *c = state; *c; c++)
                hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
        return xasprintf("lablink-%08x", (unsigned)(hash ^ (hash >> 32)));
}

static struct provider *close_local(struct provider *p)
{
        if (!p)
                return NULL;
        free(p->state);
        free(p->vms);
        free(p->records);
        free(p->socket_dir);
        free(p->agent);
        free(p->group);
        free(p);
        return NULL;
}

static int open_local(const struct config *config, struct provider **ret, struct error *error)
{
        (void)error;
        struct provider *p = xcalloc(1, sizeof *p);
        p->config = config;
        p->state = config_state_dir(config);
        p->vms = path_join(p->state, "vms");
        p->records = path_join(p->state, "local");
        p->socket_dir = path_join(p->state, "run/vm");
        p->agent = find_agent();
        p->group = group_name(p->state);
        *ret = p;
        return 0;
}

static int make_missing(const char *path, mode_t mode, struct error *error)
{
        struct stat st;
        return lstat(path, &st) == 0 ? 0 : dir_make(path, mode, error);
}

/* Inside, the directory is /run/lablink, which no VM can write: by this link the agent finds its VM's own desktop there. */
static int link_desktop(struct provider *p, struct error *error)
{
        _cleanup_free_ char *path = path_join(p->socket_dir, "rfb");
        if (symlink("/run/lablink-desktop/rfb", path) < 0 && errno != EEXIST)
                return error_errno(error, errno, "cannot make %s", path);
        return 0;
}

/* The lock, and the directories that everything lies in. */
static int begin(struct provider *p, int *ret_lock, struct error *error)
{
        _cleanup_close_ int lock = -1;
        if (geteuid() != 0)
                return error_set(error, -EPERM, "local VMs need root");
        int r = make_missing(p->state, 0711, error);
        if (r == 0)
                r = local_lock(p, &lock, error);
        if (r == 0)
                r = make_missing(p->vms, 0711, error);
        if (r == 0)
                r = make_missing(p->socket_dir, 0711, error);
        if (r == 0)
                r = link_desktop(p, error);
        if (r == 0)
                *ret_lock = STEAL_FD(lock);
        return r;
}

/* What a VM left half-made may still be doing takes a moment to end: it is tried again. */
static int remove_directory(struct provider *p, const char *name, struct error *error)
{
        for (int i = 0;; i++) {
                _cleanup_error_ struct error why = ERROR_NULL;
                int r = layout_wipe(p, name, &why);
                if (r == 0)
                        return 0;
                if (i == REMOVE_TRIES)
                        return error_move(error, &why);
                clock_sleep_ms(50);
        }
}

/* From here on it is half of a VM, until it is made again or gone: none of its files is believed. */
static int mark_half(struct provider *p, struct local_vm *vm, struct error *error)
{
        vm->made = false;
        vm->init = vm->network = (struct process_identity){0};
        return local_vm_save(p, vm, error);
}

/* Whatever exists of it: processes, control group, directory, record, in this order. */
static int destroy_one(struct provider *p, const char *name, struct error *error)
{
        _cleanup_vm_ struct local_vm vm = {.name = xstrdup(name)};
        struct local_vm found;
        bool recorded = local_vm_load(p, name, &found, NULL) == 0;
        if (recorded) {
                local_vm_clear(&vm);
                vm = found;
        }
        int r = sandbox_stop(p, &vm, error);
        failpoint("destroy.machine-stopped");
        if (r == 0 && recorded)
                r = mark_half(p, &vm, error);
        failpoint("destroy.machine-half");
        if (r == 0)
                r = remove_directory(p, name, error);
        failpoint("destroy.machine-wiped");
        return r < 0 ? r : local_vm_forget(p, name, error);
}

static int create(struct provider *p, const char *name, const char *token, const struct provider_sink *sink,
                  struct error *error)
{
        _cleanup_vm_ struct local_vm vm = {0};
        int r = local_vm_new(p, name, token, &vm, error);
        failpoint("launch.machine-recorded");
        if (r == 0)
                r = layout_make(p, &vm, error);
        failpoint("launch.machine-laid-out");
        if (r == 0)
                r = sandbox_start(p, &vm, sink, error);
        if (r < 0)
                destroy_one(p, name, NULL);
        return r;
}

static int launch_one(struct provider *p, const struct provider_order *order, const struct provider_sink *sink,
                      struct error *error)
{
        _cleanup_vm_ struct local_vm old = {0};
        double started = clock_now();
        if (!local_name_valid(order->hostname))
                return error_set(error, -EINVAL, "\"%s\" is no name for a local VM", order->hostname);
        if (local_vm_load(p, order->hostname, &old, NULL) == 0 && old.made &&
            local_vm_has_directory(p, order->hostname))
                return error_set(error, -EEXIST, "a VM called %s exists already", order->hostname);
        int r = destroy_one(p, order->hostname, error); /* what a launch that was cut off has left */
        if (r == 0)
                r = create(p, order->hostname, order->token, sink, error);
        if (r < 0)
                return r;
        double ended = clock_now();
        sink_line(sink, "%s: started in %.2f s", order->hostname, ended - started);
        if (sink && sink->created)
                sink->created(sink->userdata, order->hostname, started, ended);
        return 0;
}

static int launch(struct provider *p, const struct provider_order *orders, size_t n, const struct provider_sink *sink,
                  struct error *error)
{
        _cleanup_close_ int lock = -1;
        int r = begin(p, &lock, error);
        for (size_t i = 0; r == 0 && i < n; i++) {
                sink_progress(sink, i, n);
                if (sink_cancelled(sink))
                        return error_set(error, -ECANCELED, "cancelled after %zu of %zu VMs", i, n);
                r = launch_one(p, &orders[i], sink, error);
                if (r < 0)
                        error_wrap(error, "launched %zu of %zu VMs", i, n);
        }
        if (r == 0)
                sink_progress(sink, n, n);
        return r;
}

static enum provider_state state_of(struct provider *p, const char *name)
{
        _cleanup_vm_ struct local_vm vm = {0};
        if (local_vm_load(p, name, &vm, NULL) < 0 || !vm.made || !local_vm_has_directory(p, name))
                return PROVIDER_BROKEN;
        return process_is(&vm.init) ? PROVIDER_RUNNING : PROVIDER_STOPPED;
}

static int list(struct provider *p, struct provider_vms *ret, struct error *error)
{
        _cleanup_strv_ char **names = NULL;
        int r = local_vm_names(p, &names, error);
        *ret = (struct provider_vms){0};
        for (char **name = names; r == 0 && *name; name++) {
                ret->vm = xreallocarray(ret->vm, ret->n + 1, sizeof *ret->vm);
                ret->vm[ret->n++] = (struct provider_vm){.hostname = xstrdup(*name), .state = state_of(p, *name)};
        }
        return r;
}

static int destroy_all(struct provider *p, const struct provider_sink *sink, struct error *error)
{
        _cleanup_close_ int lock = -1;
        _cleanup_strv_ char **names = NULL;
        size_t n = 0, failed = 0;
        int r = begin(p, &lock, error);
        if (r == 0)
                r = local_vm_names(p, &names, error);
        if (r < 0)
                return r;
        for (; names && names[n]; n++)
                ;
        for (size_t i = 0; i < n; i++) {
                _cleanup_error_ struct error why = ERROR_NULL;
                sink_progress(sink, i, n);
                if (sink_cancelled(sink))
                        return error_set(error, -ECANCELED, "cancelled after %zu of %zu VMs", i, n);
                if (destroy_one(p, names[i], &why) == 0) {
                        sink_line(sink, "%s: destroyed", names[i]);
                        continue;
                }
                failed++;
                sink_line(sink, "%s: not destroyed: %s", names[i], error_text(&why));
        }
        sink_progress(sink, n, n);
        if (failed)
                return error_set(error, -EIO, "%zu of %zu VMs were not destroyed", failed, n);
        cgroup_remove_all(p);
        local_sweep(p);
        return 0;
}

static int destroy(struct provider *p, const char *name, const struct provider_sink *sink, struct error *error)
{
        _cleanup_close_ int lock = -1;
        int r = local_name_valid(name) ? begin(p, &lock, error)
                                       : error_set(error, -EINVAL, "\"%s\" is no name for a local VM", name);
        if (r == 0)
                r = destroy_one(p, name, error);
        if (r == 0)
                sink_line(sink, "%s: destroyed", name);
        return r;
}

static int start(struct provider *p, const char *name, const struct provider_sink *sink, struct error *error)
{
        _cleanup_close_ int lock = -1;
        _cleanup_vm_ struct local_vm vm = {0};
        int r = begin(p, &lock, error);
        if (r == 0)
                r = local_vm_load(p, name, &vm, error);
        if (r < 0)
                return r;
        if (!vm.made || !local_vm_has_directory(p, name))
                return error_set(error, -EIO, "%s is broken: it has to be destroyed", name);
        if (process_is(&vm.init)) {
                sink_line(sink, "%s: runs already", name);
                return 0;
        }
        r = sandbox_stop(p, &vm, error); /* what a killed one has left: its network, its control group */
        if (r == 0)
                r = layout_make(p, &vm, error);
        if (r == 0)
                r = sandbox_start(p, &vm, sink, error);
        if (r == 0)
                sink_line(sink, "%s: started again", name);
        return r;
}

/* The same ids and record, with a new token. A failure leaves it half-made, for the next try. */
static int make_fresh(struct provider *p, struct local_vm *vm, const char *token, const struct provider_sink *sink,
                      struct error *error)
{
        int r = sandbox_stop(p, vm, error);
        if (r < 0)
                return r;
        str_replace(&vm->token, token);
        failpoint("reset.machine-stopped");
        r = mark_half(p, vm, error);
        if (r == 0)
                r = remove_directory(p, vm->name, error);
        failpoint("reset.machine-wiped");
        if (r == 0)
                r = layout_make(p, vm, error);
        return r < 0 ? r : sandbox_start(p, vm, sink, error);
}

static int reset(struct provider *p, const char *name, const char *token, const struct provider_sink *sink,
                 struct error *error)
{
        _cleanup_close_ int lock = -1;
        _cleanup_vm_ struct local_vm vm = {0};
        int r = begin(p, &lock, error);
        if (r < 0)
                return r;
        r = local_vm_load(p, name, &vm, error);
        if (r == -EINVAL && !local_name_valid(name))
                return r;
        if (r == -ENOENT && !local_vm_has_directory(p, name))
                return r;
        if (r == 0) {
                r = make_fresh(p, &vm, token, sink, error);
        } else { /* its record was lost or cannot be read */
                error_clear(error);
                r = destroy_one(p, name, error);
                if (r == 0)
                        r = create(p, name, token, sink, error);
        }
        if (r == 0)
                sink_line(sink, "%s: reset", name);
        return r;
}

static int exec_inside(struct provider *p, const char *name, bool as_root, const char *const *argv, int *ret_status,
                       struct error *error)
{
        _cleanup_vm_ struct local_vm vm = {0};
        if (geteuid() != 0)
                return error_set(error, -EPERM, "local VMs need root");
        int r = local_vm_load(p, name, &vm, error);
        return r < 0 ? r : enter_exec(p, &vm, as_root, argv, ret_status, error);
}

/* The home lies under a directory that host root alone enters, and the VM cannot move it: only what is in it is hostile. */
static int reach(struct provider *p, const char *name, struct provider_reach *ret, struct error *error)
{
        _cleanup_vm_ struct local_vm vm = {0};
        if (geteuid() != 0)
                return error_set(error, -EPERM, "local VMs need root");
        int r = local_vm_load(p, name, &vm, error);
        if (r < 0)
                return r;
        if (!vm.made || !local_vm_has_directory(p, name))
                return error_set(error, -ENOENT, "%s is only half made: there are no files on it", name);
        *ret = (struct provider_reach){.kind = REACH_DIRECTORY,
                                       .directory = xasprintf("%s/%s/home", p->vms, name),
                                       .home = xstrdup("/home/client")};
        return 0;
}

const struct provider_ops local_provider = {
        .name = "local",
        .open = open_local,
        .close = close_local,
        .check = local_check,
        .launch = launch,
        .list = list,
        .destroy_all = destroy_all,
        .destroy = destroy,
        .start = start,
        .reset = reset,
        .exec = exec_inside,
        .reach = reach,
};
