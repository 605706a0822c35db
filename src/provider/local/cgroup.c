/*
 * Limits on memory, processors and processes. Each of the three is held by a control group where the machine has the
 * controller: in the unified tree (v2), else in a tree of its own (v1), else by a limit of the process as far as there
 * is one. The groups lie at the root of the tree, lablink-HASH/NAME, so that they do not end with the session or the
 * service that made the VM, and HASH (of the state directory) keeps two labs on one machine apart.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/text.h"
#include "provider/local/internal.h"

#define PERIOD_US 100000
#define REMOVE_WAIT_MS 10000
#define GROUP_TRIES 20

enum limit_id { LIMIT_MEMORY, LIMIT_CPU, LIMIT_PIDS, N_LIMITS };
_Static_assert((int)N_LIMITS == (int)CGROUP_TREES, "a tree for each limit");

static const char *const controllers[N_LIMITS] = {"memory", "cpu", "pids"};

struct tree {
        char *root; /* where the tree that holds the controller is mounted; NULL: nowhere */
        bool unified;
};
struct trees {
        struct tree of[N_LIMITS];
};

static void trees_clear(struct trees *trees)
{
        for (int i = 0; i < N_LIMITS; i++)
                free(trees->of[i].root);
}
#define _cleanup_trees_ _cleanup_(trees_clear)

static bool has_word(const char *list, const char *word, const char *separators)
{
        size_t n = strlen(word);
        for (const char *at = list; (at = strstr(at, word)); at += n)
                if ((at == list || strchr(separators, at[-1])) && (!at[n] || strchr(separators, at[n])))
                        return true;
        return false;
}

static int write_at(const char *directory, const char *file, const char *text)
{
        _cleanup_free_ char *path = path_join(directory, file);
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
        return fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
}

/* Does the unified tree give the controller to its children, after we have asked for it? */
static bool unified_gives(const char *directory, const char *controller)
{
        _cleanup_free_ char *path = path_join(directory, "cgroup.subtree_control");
        _cleanup_free_ char *ask = xasprintf("+%s", controller);
        _cleanup_buf_ struct buf text = BUF_NULL;
        write_at(directory, "cgroup.subtree_control", ask);
        return file_read(path, 4096, &text, NULL) == 0 && has_word(buf_str(&text), controller, " \n");
}

/* One line of /proc/self/mountinfo: "... - TYPE SOURCE OPTIONS". */
static void consider_mount(struct trees *trees, const char *root, const char *type, const char *options)
{
        bool unified = strcmp(type, "cgroup2") == 0;
        if (!unified && strcmp(type, "cgroup") != 0)
                return;
        for (int i = 0; i < N_LIMITS; i++) {
                bool holds = unified ? unified_gives(root, controllers[i]) : has_word(options, controllers[i], ",\n");
                if (holds && !trees->of[i].root && access(root, W_OK) == 0)
                        trees->of[i] = (struct tree){.root = xstrdup(root), .unified = unified};
        }
}

static void find_trees(struct trees *trees)
{
        _cleanup_buf_ struct buf text = BUF_NULL;
        *trees = (struct trees){0};
        if (file_read("/proc/self/mountinfo", 4 << 20, &text, NULL) < 0)
                return;
        _cleanup_strv_ char **lines = str_split(buf_str(&text), '\n');
        for (char **line = lines; *line; line++) {
                char root[512], type[64], options[1024];
                const char *tail = strstr(*line, " - ");
                if (tail && sscanf(*line, "%*s %*s %*s %*s %511s", root) == 1 &&
                    sscanf(tail, " - %63s %*s %1023s", type, options) == 2)
                        consider_mount(trees, root, type, options);
        }
}

static char *group_path(struct provider *p, const struct tree *tree, const char *name)
{
        return xasprintf("%s/%s/%s", tree->root, p->group, name);
}

static int set_limit(struct provider *p, enum limit_id limit, bool unified, const char *directory)
{
        const struct config_local *wanted = &p->config->local;
        double cpus = 1;
        char text[64], period[32];
        switch (limit) {
        case LIMIT_MEMORY:
                snprintf(text, sizeof text, "%lld", (long long)wanted->memory);
                int failed = write_at(directory, unified ? "memory.max" : "memory.limit_in_bytes", text);
                if (failed == 0) /* swap is not more memory; the file is missing where swap is not counted */
                        write_at(directory, unified ? "memory.swap.max" : "memory.memsw.limit_in_bytes",
                                 unified ? "0" : text);
                return failed;
        case LIMIT_PIDS:
                snprintf(text, sizeof text, "%lld", (long long)wanted->processes);
                return write_at(directory, "pids.max", text);
        default:
                if (parse_double(wanted->cpus, &cpus) < 0 || cpus < 0.01 || cpus > 4096)
                        return -EINVAL;
                snprintf(period, sizeof period, "%d", PERIOD_US);
                snprintf(text, sizeof text, unified ? "%.0f %d" : "%.0f", cpus * PERIOD_US, PERIOD_US);
                if (unified)
                        return write_at(directory, "cpu.max", text);
                int r = write_at(directory, "cpu.cfs_period_us", period);
                return r < 0 ? r : write_at(directory, "cpu.cfs_quota_us", text);
        }
}

static int make_group(struct provider *p, const struct trees *trees, enum limit_id limit, const char *name)
{
        const struct tree *tree = &trees->of[limit];
        _cleanup_free_ char *parent = path_join(tree->root, p->group);
        _cleanup_free_ char *directory = path_join(parent, name);
        for (int tries = 0;; tries++) { /* a look at the limits (cgroup_describe) may remove the parent meanwhile */
                if (mkdir(parent, 0755) < 0 && errno != EEXIST)
                        return -errno;
                if (tree->unified && !unified_gives(parent, controllers[limit]) && access(parent, F_OK) == 0)
                        return -ENOTSUP;
                if (mkdir(directory, 0755) == 0 || errno == EEXIST)
                        return set_limit(p, limit, tree->unified, directory);
                if (errno != ENOENT || tries == GROUP_TRIES)
                        return -errno;
        }
}

int cgroup_make(struct provider *p, const char *name, struct error *error)
{
        _cleanup_trees_ struct trees trees;
        find_trees(&trees);
        for (int i = 0; i < N_LIMITS; i++) {
                int r = trees.of[i].root ? make_group(p, &trees, i, name) : 0;
                if (r < 0)
                        return error_errno(error, -r, "cannot limit %s by a control group", controllers[i]);
        }
        return 0;
}

int cgroup_open(struct provider *p, const char *name, int fds[CGROUP_TREES], struct error *error)
{
        _cleanup_trees_ struct trees trees;
        find_trees(&trees);
        for (int i = 0; i < N_LIMITS; i++) {
                if (!trees.of[i].root)
                        continue;
                _cleanup_free_ char *directory = group_path(p, &trees.of[i], name);
                _cleanup_free_ char *path = path_join(directory, "cgroup.procs");
                fds[i] = open(path, O_WRONLY | O_CLOEXEC);
                if (fds[i] < 0)
                        return error_errno(error, errno, "cannot open the control group %s", directory);
        }
        return 0;
}

int cgroup_enter(const int fds[CGROUP_TREES])
{
        for (int i = 0; i < N_LIMITS; i++) {
                int r = fds[i] < 0 ? 0 : fd_write_all(fds[i], "0", 1);
                if (r < 0)
                        return r;
        }
        return 0;
}

int cgroup_join(struct provider *p, const char *name, struct error *error)
{
        int fds[CGROUP_TREES] = {-1, -1, -1};
        int r = cgroup_open(p, name, fds, error);
        if (r == 0) {
                r = cgroup_enter(fds);
                if (r < 0)
                        error_errno(error, -r, "cannot enter the VM's control group");
        }
        for (int i = 0; i < N_LIMITS; i++)
                closep(&fds[i]);
        return r;
}

static void kill_group(const char *directory)
{
        _cleanup_free_ char *path = path_join(directory, "cgroup.procs");
        _cleanup_buf_ struct buf text = BUF_NULL;
        if (file_read(path, 1 << 20, &text, NULL) < 0)
                return;
        _cleanup_strv_ char **pids = str_split(buf_str(&text), '\n');
        for (char **pid = pids; *pid; pid++) {
                int64_t number;
                if (parse_int(*pid, 2, INT32_MAX, &number) == 0)
                        kill((pid_t)number, SIGKILL);
        }
}

/* The VM's own groups below are removed first: it may have made some where the tree is its own. */
static int remove_group(const char *directory, int depth)
{
        int64_t deadline = clock_ms() + REMOVE_WAIT_MS;
        while (rmdir(directory) < 0) {
                if (errno == ENOENT)
                        return 0;
                if (errno != EBUSY || clock_ms() > deadline)
                        return -errno;
                DIR *dir = depth < 32 ? opendir(directory) : NULL;
                for (struct dirent *entry; dir && (entry = readdir(dir));) {
                        if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
                                continue;
                        _cleanup_free_ char *inner = path_join(directory, entry->d_name);
                        remove_group(inner, depth + 1);
                }
                if (dir)
                        closedir(dir);
                kill_group(directory);
                clock_sleep_ms(5);
        }
        return 0;
}

int cgroup_remove(struct provider *p, const char *name, struct error *error)
{
        _cleanup_trees_ struct trees trees;
        find_trees(&trees);
        for (int i = 0; i < N_LIMITS; i++) {
                if (!trees.of[i].root)
                        continue;
                _cleanup_free_ char *directory = group_path(p, &trees.of[i], name);
                int r = remove_group(directory, 0);
                if (r < 0)
                        return error_errno(error, -r, "cannot remove the control group %s", directory);
                _cleanup_free_ char *parent = path_join(trees.of[i].root, p->group);
                rmdir(parent); /* goes with the last VM's */
        }
        return 0;
}

void cgroup_remove_all(struct provider *p)
{
        _cleanup_trees_ struct trees trees;
        find_trees(&trees);
        for (int i = 0; i < N_LIMITS; i++) {
                if (!trees.of[i].root)
                        continue;
                _cleanup_free_ char *parent = path_join(trees.of[i].root, p->group);
                remove_group(parent, 0);
        }
}

void cgroup_describe(struct provider *p, struct buf *lines)
{
        static const char *const without[N_LIMITS] = {"none on the whole VM; each process by its data size",
                                                      "none: the VMs share all processors",
                                                      "by the user's process limit"};
        _cleanup_free_ char *trial = xasprintf(".check-%d", (int)getpid());
        _cleanup_trees_ struct trees trees;
        find_trees(&trees);
        for (int i = 0; i < N_LIMITS; i++) {
                const struct tree *tree = &trees.of[i];
                int r = tree->root ? make_group(p, &trees, i, trial) : -ENOTSUP;
                if (r == 0)
                        buf_addf(lines, "%s limit: cgroup %s\n", controllers[i], tree->unified ? "v2" : "v1");
                else
                        buf_addf(lines, "%s limit: %s\n", controllers[i], without[i]);
                if (!tree->root)
                        continue;
                _cleanup_free_ char *directory = group_path(p, tree, trial);
                _cleanup_free_ char *parent = path_join(tree->root, p->group);
                rmdir(directory);
                rmdir(parent);
        }
}

static int limit_resource(int resource, rlim_t value)
{
        struct rlimit limit = {.rlim_cur = value, .rlim_max = value};
        return setrlimit(resource, &limit) < 0 ? -errno : 0;
}

/* What a runner has been given for itself (many descriptors, a place last in the row when memory runs out) is not for
 * its VMs: they have what a login has, and go before the services of the machine do. */
static void forget_privileges(void)
{
        struct rlimit files;
        if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
                files.rlim_max = MIN(files.rlim_max, 524288);
                files.rlim_cur = MIN(files.rlim_max, 1024);
                setrlimit(RLIMIT_NOFILE, &files);
        }
        write_at("/proc/self", "oom_score_adj", "300");
}

int cgroup_limit_process(struct provider *p, struct error *error)
{
        _cleanup_trees_ struct trees trees;
        int r = 0;
        find_trees(&trees);
        forget_privileges();
        if (!trees.of[LIMIT_PIDS].root)
                r = limit_resource(RLIMIT_NPROC, (rlim_t)p->config->local.processes);
        if (r == 0)
                r = limit_resource(RLIMIT_CORE, 0);
        if (r == 0 && !trees.of[LIMIT_MEMORY].root)
                r = limit_resource(RLIMIT_DATA, (rlim_t)p->config->local.memory);
        return r < 0 ? error_errno(error, -r, "cannot limit the VM's processes") : 0;
}
