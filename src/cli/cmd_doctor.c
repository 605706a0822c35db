/*
 * lablink doctor: everything one would look at before asking somebody, each with what to do. It changes nothing. What
 * only the allocator can know (database, provider) is asked of it; the rest is looked at here.
 */
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/file.h"
#include "base/text.h"
#include "cli/api.h"
#include "cli/commands.h"
#include "cli/table.h"
#include "config/config.h"

#define DISK_WARN ((uint64_t)2 << 30)
#define DISK_FAIL ((uint64_t)200 << 20)
#define FILES_WARN 4096

enum result { OK, WARN, FAIL };

struct doctor {
        struct cli *cli;
        struct table *table;
        struct config *config; /* NULL: it has problems */
        char *state;           /* NULL: unknown */
        int fails, warnings;
};

static void tell(struct doctor *d, const char *check, enum result result, const char *format, ...) _printf_(4, 5);
static void tell(struct doctor *d, const char *check, enum result result, const char *format, ...)
{
        static const char *const words[] = {"ok", "warn", "fail"};
        va_list args;
        va_start(args, format);
        _cleanup_free_ char *text = xvasprintf(format, args);
        va_end(args);
        d->fails += result == FAIL;
        d->warnings += result == WARN;
        table_add(d->table, words[result]);
        table_add(d->table, check);
        table_add(d->table, text);
}

/* --- this machine ------------------------------------------------------------------------------------------------ */

static void check_configuration(struct doctor *d)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_buf_ struct buf problems = BUF_NULL;
        if (cli_config(d->cli, &d->config, &error) < 0) {
                d->config = NULL;
                tell(d, "configuration", FAIL, "%s: see above, then `lablink config check`", error_text(&error));
        } else if (config_check_allocator(d->config, &problems) < 0) {
                _cleanup_strv_ char **lines = str_split(buf_str(&problems), '\n');
                for (char **line = lines; *line; line++)
                        if (**line)
                                tell(d, "configuration", FAIL, "%s", *line);
        } else {
                tell(d, "configuration", OK, "%s", str_or(d->config->file, "no file, defaults"));
        }
        if (cli_state_dir(d->cli, &d->state, NULL) < 0)
                d->state = NULL;
}

static void check_password_file(struct doctor *d)
{
        _cleanup_free_ char *path = path_join(d->state, "admin-password");
        struct stat st;
        if (stat(path, &st) == 0 && st.st_mode & 077)
                tell(d, "password file", FAIL, "others may read %s: chmod 600 %s", path, path);
}

static void check_state(struct doctor *d)
{
        struct stat st;
        if (!d->state)
                return;
        if (stat(d->state, &st) < 0) {
                if (errno == ENOENT)
                        tell(d, "state directory", WARN, "%s is not there yet: the allocator's first start makes it",
                             d->state);
                else
                        tell(d, "state directory", WARN, "%s: %s: run doctor as root", d->state, strerror(errno));
                return;
        }
        if (!S_ISDIR(st.st_mode))
                tell(d, "state directory", FAIL, "%s is no directory: move it away", d->state);
        else if (st.st_mode & 022)
                tell(d, "state directory", FAIL, "others may write to %s: chmod go-w %s", d->state, d->state);
        else if (st.st_uid != geteuid() && st.st_uid != 0)
                tell(d, "state directory", WARN, "%s belongs to user id %d", d->state, (int)st.st_uid);
        else
                tell(d, "state directory", OK, "%s", d->state);
        check_password_file(d);
}

/* The disk that holds, or will hold, the state directory. */
static void check_disk(struct doctor *d)
{
        struct statvfs fs;
        if (!d->state)
                return;
        _cleanup_free_ char *path = xstrdup(d->state);
        while (statvfs(path, &fs) < 0) {
                char *slash = strrchr(path, '/');
                if (!slash || slash == path)
                        return;
                *slash = '\0';
        }
        uint64_t bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
        enum result result = bytes < DISK_FAIL ? FAIL : bytes < DISK_WARN ? WARN : OK;
        tell(d, "disk space", result, "%.1f GiB free at %s%s", (double)bytes / (1 << 30), path,
             result == OK ? "" : ": VMs' homes and the database need room");
}

static void check_files(struct doctor *d)
{
        struct rlimit limit;
        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return;
        if (limit.rlim_max < FILES_WARN)
                tell(d, "file limit", WARN,
                     "at most %llu open files, and each waiting VM takes one: raise it with ulimit -Hn or LimitNOFILE=",
                     (unsigned long long)limit.rlim_max);
        else
                tell(d, "file limit", OK, "%llu open files", (unsigned long long)limit.rlim_max);
}

/* --- programs ---------------------------------------------------------------------------------------------------- */

static bool in_path(const char *name)
{
        _cleanup_free_ char *path = xasprintf("%s:/usr/sbin:/sbin", str_or(getenv("PATH"), "/usr/bin:/bin"));
        _cleanup_strv_ char **directories = str_split(path, ':');
        for (char **directory = directories; *directory; directory++) {
                _cleanup_free_ char *file = path_join(**directory ? *directory : ".", name);
                if (access(file, X_OK) == 0)
                        return true;
        }
        return false;
}

static const struct program {
        const char *provider, *name, *package, *without;
        enum result missing;
} programs[] = {
        {"local", "bwrap", "bubblewrap", "local VMs cannot be made", FAIL},
        {"local", "nsenter", "util-linux", "local VMs cannot be entered", FAIL},
        {"local", "slirp4netns", "slirp4netns", "local VMs have no way to the outside", WARN},
        {"local", "git", "git", "the participants' repository cannot be cloned", WARN},
        {"local", "tmux", "tmux", "local VMs have no terminal session", WARN},
        {"terraform", "ssh", "openssh-client", "VMs cannot be entered nor their files collected", WARN},
        {"terraform", "rsync", "rsync", "participants' files cannot be collected", WARN},
};

static void check_programs(struct doctor *d)
{
        for (const struct program *p = programs; p < programs + ARRAY_SIZE(programs); p++) {
                if (!str_eq(d->config->provider.kind, p->provider))
                        continue;
                if (in_path(p->name))
                        tell(d, p->name, OK, "is installed");
                else if (str_eq(p->name, "slirp4netns") && !d->config->local.outside)
                        tell(d, p->name, OK, "is not needed: local.outside is false");
                else
                        tell(d, p->name, p->missing, "is missing, so %s: apt install %s", p->without, p->package);
        }
        const char *engine = d->config->terraform.engine;
        if (!str_eq(d->config->provider.kind, "terraform"))
                return;
        if (*engine && (strchr(engine, '/') ? access(engine, X_OK) != 0 : !in_path(engine)))
                tell(d, "terraform", FAIL, "%s, which terraform.engine names, cannot be executed", engine);
        else if (!*engine && !in_path("tofu") && !in_path("terraform"))
                tell(d, "tofu", FAIL,
                     "neither tofu nor terraform is installed: see https://opentofu.org/docs/intro/install/");
}

/* The programs that an allocator starts stand beside this one. */
static void check_own_programs(struct doctor *d)
{
        static const char *const names[] = {"lablink-allocator", "lablink-runner", "lablink-client"};
        _cleanup_buf_ struct buf missing = BUF_NULL;
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                _cleanup_free_ char *path = cli_program(names[i]);
                if (!strchr(path, '/') && !in_path(path))
                        buf_addf(&missing, "%s%s", missing.len ? ", " : "", names[i]);
        }
        if (missing.len)
                tell(d, "LabLink", FAIL, "%s: neither beside this program nor in PATH: make build, or install it again",
                     buf_str(&missing));
        else
                tell(d, "LabLink", OK, "version %s, every program is there", LABLINK_VERSION);
}

static void check_kernel(struct doctor *d)
{
        _cleanup_buf_ struct buf text = BUF_NULL;
        if (!str_eq(d->config->provider.kind, "local"))
                return;
        if (file_read("/proc/sys/user/max_user_namespaces", 64, &text, NULL) == 0 && str_starts(buf_str(&text), "0\n"))
                tell(d, "user namespaces", FAIL, "are switched off: sysctl user.max_user_namespaces=10000");
        else
                tell(d, "user namespaces", OK, "are allowed");
        if (d->config->local.outside && access("/dev/net/tun", F_OK) < 0)
                tell(d, "/dev/net/tun", WARN, "is missing, so local VMs have no way to the outside: modprobe tun");
}

/* The newest PostgreSQL of the distribution; 0 when there is none. */
static int newest_postgres(void)
{
        int newest = 0;
        glob_t found;
        if (glob("/usr/lib/postgresql/*/bin/postgres", 0, NULL, &found) != 0)
                return 0;
        for (size_t i = 0; i < found.gl_pathc; i++)
                newest = MAX(newest, atoi(found.gl_pathv[i] + strlen("/usr/lib/postgresql/")));
        globfree(&found);
        return newest;
}

static void check_postgres(struct doctor *d)
{
        if (!config_db_embedded(d->config))
                return;
        int version = newest_postgres();
        if (version >= 14)
                tell(d, "postgres", OK, "version %d", version);
        else if (version == 0 && in_path("postgres"))
                tell(d, "postgres", OK, "is in PATH");
        else if (version)
                tell(d, "postgres", FAIL, "version %d is too old, 14 is needed: apt install postgresql, or set db.url",
                     version);
        else
                tell(d, "postgres", FAIL,
                     "is missing, so there is no embedded database: apt install postgresql, or set "
                     "db.url");
}

/* --- the allocator ----------------------------------------------------------------------------------------------- */

static void check_part(struct doctor *d, const json_t *ready, const char *part, enum result otherwise)
{
        const json_t *value = json_object_get(ready, part);
        const char *code = json_get_string(value, "code");
        const char *hint = json_get_string(value, "hint");
        if (!code)
                tell(d, part, WARN, "the allocator does not say");
        else if (str_eq(code, "ready") || str_eq(code, "ok"))
                tell(d, part, OK, "%s", hint && *hint ? hint : "ready");
        else
                tell(d, part, otherwise, "%s%s%s", code, hint && *hint ? ": " : "", str_or(hint, ""));
}

static void check_allocator(struct doctor *d)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_json_ json_t *ready = NULL;
        if (api_get_any(d->cli, "/readyz", &ready, &error) < 0) {
                tell(d, "allocator", FAIL, "%s%s%s", error_text(&error), d->cli->hint ? ": " : "",
                     str_or(d->cli->hint, ""));
                return;
        }
        tell(d, "allocator", OK, "answers at %s", api_where(d->cli, NULL));
        check_part(d, ready, "database", FAIL);
        check_part(d, ready, "listener", FAIL);
        check_part(d, ready, "provider", WARN);
}

int run_doctor(struct cli *cli, _unused_ int argc, _unused_ char **argv, _unused_ struct error *error)
{
        static const char *const heads[] = {"RESULT", "CHECK", "DETAIL", NULL};
        _cleanup_table_ struct table *table = table_new(heads);
        struct doctor d = {.cli = cli, .table = table};
        if (api_is_local(cli)) {
                check_own_programs(&d);
                check_configuration(&d);
                check_state(&d);
                check_disk(&d);
                check_files(&d);
        }
        if (d.config) {
                check_programs(&d);
                check_kernel(&d);
                check_postgres(&d);
        }
        check_allocator(&d);
        free(d.state);
        table_print(table, cli->json, stdout);
        cli_say(cli, "%d failed, %d warnings", d.fails, d.warnings);
        return d.fails ? CLI_FAILED : CLI_GOOD;
}
