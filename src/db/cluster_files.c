/*
 * The embedded cluster on disk:
 *
 *   DIRECTORY/          ours, 0711: the way to the socket
 *   DIRECTORY/data      of the user that runs it, 0700
 *   DIRECTORY/run       of that user, 0755: the socket
 *   DIRECTORY/conf      ours, read by PostgreSQL, written anew at each start
 *   DIRECTORY/log       ours, appended to by PostgreSQL
 *
 * Nothing that we write as root lies in a directory that the database's user may change.
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "db/cluster_internal.h"

#define INITDB_MS 300000

int cluster_find_user(struct cluster *cluster, const char *wanted, struct error *error)
{
        cluster->as_root = geteuid() == 0;
        const char *name = str_or(wanted, "postgres");
        const struct passwd *user = cluster->as_root ? getpwnam(name) : getpwuid(geteuid());
        if (!user && cluster->as_root)
                return error_set(error, -ENOENT,
                                 "there is no system user %s to run PostgreSQL: apt install postgresql makes it", name);
        if (!user)
                return error_set(error, -ENOENT, "the user with the id %d has no name, which PostgreSQL wants",
                                 (int)geteuid());
        if (user->pw_uid == 0)
                return error_set(error, -EINVAL, "PostgreSQL refuses to run as %s", user->pw_name);
        str_replace(&cluster->user, user->pw_name);
        cluster->uid = user->pw_uid;
        cluster->gid = user->pw_gid;
        return 0;
}

/* --- directories -------------------------------------------------------------------------------------------------- */

int cluster_as_user(const struct cluster *cluster, int (*call)(const struct cluster *cluster, const void *argument),
                    const void *argument)
{
        if (!cluster->as_root)
                return call(cluster, argument);
        pid_t pid = fork();
        if (pid == 0) {
                if (setgroups(0, NULL) < 0 || setresgid(cluster->gid, cluster->gid, cluster->gid) < 0 ||
                    setresuid(cluster->uid, cluster->uid, cluster->uid) < 0)
                        _exit(255);
                _exit(MIN(call(cluster, argument), 254));
        }
        int status = 0;
        if (pid < 0 || process_wait(pid, &status, NULL) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) == 255)
                return -1;
        return WEXITSTATUS(status);
}

static int can_enter(const struct cluster *cluster _unused_, const void *path)
{
        return access(path, X_OK) == 0;
}

static bool user_may_enter(const struct cluster *cluster, const char *path)
{
        return cluster_as_user(cluster, can_enter, path) == 1;
}

/* The first directory on the way that the database's user cannot enter is the one to tell about. */
static int check_way(const struct cluster *cluster, struct error *error)
{
        if (user_may_enter(cluster, cluster->run))
                return 0;
        _cleanup_free_ char *way = realpath(cluster->directory, NULL);
        for (char *end = way; end;) {
                end = strchr(end + 1, '/');
                if (end)
                        *end = '\0';
                if (!user_may_enter(cluster, way))
                        return error_set(
                                error, -EACCES,
                                "PostgreSQL runs as the user %s, who cannot enter %s: choose a state directory "
                                "below /var/lib, or let everybody pass with chmod o+x %s",
                                cluster->user, way, way);
                if (end)
                        *end = '/';
        }
        return error_set(error, -EACCES, "PostgreSQL runs as the user %s, who cannot enter %s", cluster->user,
                         cluster->run);
}

int cluster_give(const struct cluster *cluster, const char *path, mode_t mode, struct error *error)
{
        struct stat st;
        if (mkdir(path, mode) < 0 && errno != EEXIST)
                return error_errno(error, errno, "cannot make %s", path);
        if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode))
                return error_set(error, -ENOTDIR, "%s is no directory", path);
        if (cluster->as_root && st.st_uid == 0 && lchown(path, cluster->uid, cluster->gid) < 0)
                return error_errno(error, errno, "cannot give %s to %s", path, cluster->user);
        if (st.st_uid != 0 && st.st_uid != cluster->uid)
                return error_set(error, -EPERM,
                                 "%s belongs to the user with the id %d, not to %s: was the lab started by "
                                 "somebody else before?",
                                 path, (int)st.st_uid, cluster->user);
        return chmod(path, mode) < 0 ? error_errno(error, errno, "cannot set the mode of %s", path) : 0;
}

int cluster_make_directories(struct cluster *cluster, struct error *error)
{
        struct sockaddr_un address;
        if (strlen(cluster->run) + strlen("/.s.PGSQL." CLUSTER_PORT) >= sizeof address.sun_path)
                return error_set(
                        error, -ENAMETOOLONG,
                        "the path %s is too long for a socket in it (%zu bytes at most): choose a shorter state "
                        "directory",
                        cluster->run, sizeof address.sun_path - strlen("/.s.PGSQL." CLUSTER_PORT) - 1);
        int r = dir_make(cluster->directory, 0711, error);
        if (r == 0)
                r = dir_make(cluster->conf, 0755, error);
        if (r == 0)
                r = cluster_give(cluster, cluster->run, 0755, error);
        return r < 0 ? r : check_way(cluster, error);
}

/* --- configuration ------------------------------------------------------------------------------------------------ */

static void add_quoted(struct buf *out, const char *text, char quote)
{
        buf_addc(out, quote);
        for (; *text; text++) {
                if (*text == quote || (quote == '\'' && *text == '\\'))
                        buf_addc(out, *text);
                buf_addc(out, *text);
        }
        buf_addc(out, quote);
}

static void add_path(struct buf *out, const char *setting, const char *path)
{
        buf_addf(out, "%s = ", setting);
        add_quoted(out, path, '\'');
        buf_addc(out, '\n');
}

static int write_conf(const struct cluster *cluster, const char *name, const struct buf *text, struct error *error)
{
        _cleanup_free_ char *path = path_join(cluster->conf, name);
        return file_write(path, text->data, text->len, 0644, error);
}

static int write_settings(struct cluster *cluster, struct error *error)
{
        _cleanup_buf_ struct buf text = BUF_NULL, run = BUF_NULL;
        _cleanup_free_ char *hba = path_join(cluster->conf, "pg_hba.conf");
        _cleanup_free_ char *ident = path_join(cluster->conf, "pg_ident.conf");
        buf_adds(&text, "# Written at each start of the allocator; changes are lost.\n"
                        "listen_addresses = ''\n"
                        "port = " CLUSTER_PORT "\n"
                        "unix_socket_permissions = 0777\n"
                        "max_connections = 60\n"
                        "client_connection_check_interval = 1s\n"
                        "fsync = on\n"
                        "synchronous_commit = on\n"
                        "full_page_writes = on\n"
                        "min_wal_size = 64MB\n"
                        "max_wal_size = 512MB\n"
                        "jit = off\n"
                        "timezone = 'UTC'\n"
                        "log_timezone = 'UTC'\n"
                        "log_destination = 'stderr'\n"
                        "logging_collector = off\n"
                        "log_line_prefix = '%m [%p] %q%u@%d '\n"
                        "log_checkpoints = off\n"
                        /* a statement may hold what a participant typed */
                        "log_min_error_statement = panic\n"
                        "log_min_duration_statement = -1\n");
        add_quoted(&run, cluster->run, '"'); /* the setting is a list */
        add_path(&text, "unix_socket_directories", buf_str(&run));
        add_path(&text, "hba_file", hba);
        add_path(&text, "ident_file", ident);
        return write_conf(cluster, "postgresql.conf", &text, error);
}

static void add_mapping(struct buf *out, const char *system_user, const char *role)
{
        buf_adds(out, "lablink ");
        add_quoted(out, system_user, '"');
        buf_addc(out, ' ');
        add_quoted(out, role, '"');
        buf_addc(out, '\n');
}

static int write_access(struct cluster *cluster, const struct cluster_options *options, struct error *error)
{
        _cleanup_buf_ struct buf hba = BUF_NULL, ident = BUF_NULL;
        static const char *const nobody[] = {NULL};
        buf_adds(&hba, "# The kernel says who asks; pg_ident.conf says whom that may be.\n"
                       "local all all peer map=lablink\n");
        buf_adds(&ident, "# map, system user, role\n");
        add_mapping(&ident, "root", CLUSTER_SUPERUSER);
        add_mapping(&ident, "root", options->role);
        if (!str_eq(cluster->user, "root")) {
                add_mapping(&ident, cluster->user, CLUSTER_SUPERUSER);
                add_mapping(&ident, cluster->user, options->role);
        }
        for (const char *const *peer = options->peers ? options->peers : nobody; *peer; peer++)
                add_mapping(&ident, *peer, options->role);
        int r = write_conf(cluster, "pg_hba.conf", &hba, error);
        return r < 0 ? r : write_conf(cluster, "pg_ident.conf", &ident, error);
}

int cluster_write_conf(struct cluster *cluster, const struct cluster_options *options, struct error *error)
{
        int r = write_settings(cluster, error);
        return r < 0 ? r : write_access(cluster, options, error);
}

/* --- initdb ------------------------------------------------------------------------------------------------------- */

static void take_line(void *userdata, const char *line, bool is_stderr)
{
        if (is_stderr && *line)
                buf_addf(userdata, "%s%s", ((struct buf *)userdata)->len ? "; " : "", line);
}

static int run_initdb(const struct cluster *cluster, const char *target, struct error *error)
{
        _cleanup_free_ char *initdb = path_join(cluster->bin, "initdb");
        _cleanup_buf_ struct buf trouble = BUF_NULL;
        const char *argv[] = {initdb,       "--pgdata",    target,        "--username",        CLUSTER_SUPERUSER,
                              "--encoding", "UTF8",        "--no-locale", "--data-checksums",  "--auth-local",
                              "peer",       "--auth-host", "reject",      "--no-instructions", NULL};
        const char *env[] = {"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C", NULL};
        struct process_spec spec = {.argv = argv,
                                    .env = env,
                                    .cwd = "/",
                                    .new_session = true,
                                    .drop_ids = cluster->as_root,
                                    .uid = cluster->uid,
                                    .gid = cluster->gid};
        struct process_io io = {.line = take_line, .userdata = &trouble, .timeout_ms = INITDB_MS};
        int status = 0;
        int r = process_run(&spec, &io, &status, error);
        if (r < 0)
                return r;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
                return 0;
        _cleanup_free_ char *outcome = process_outcome(status);
        return error_set(error, -EIO, "initdb: %s: %s", outcome, buf_str(&trouble));
}

/* Made aside and renamed: a data directory is whole, or there is none. */
int cluster_initdb(struct cluster *cluster, struct error *error)
{
        _cleanup_free_ char *fresh = xasprintf("%s.new", cluster->data);
        int r = dir_remove(fresh, error);
        if (r == 0)
                r = cluster_give(cluster, fresh, 0700, error);
        log_info("making a database in %s", cluster->data);
        if (r == 0)
                r = run_initdb(cluster, fresh, error);
        if (r == 0 && rename(fresh, cluster->data) < 0)
                r = error_errno(error, errno, "cannot rename %s", fresh);
        return r;
}
