/*
 * The postmaster as a process. Its pid file may be a leftover, and a pid in it somebody else by now: what counts is a
 * process of the right user that works in the data directory. After a kill -9 its children live on for a moment and
 * hold the shared memory: a new one is started when they are gone, and never beside them.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "db/cluster_internal.h"

#define READY_MS 180000 /* a recovery after a crash takes its time */
#define LAUNCH_MS 30000 /* for leftovers of an old postmaster to end */
#define ORPHAN_ASK_MS 5000
#define ORPHAN_KILL_MS 15000
#define LOG_BYTES_MAX (16 << 20)

/* --- finding it --------------------------------------------------------------------------------------------------- */

static bool is_postgres(pid_t pid)
{
        char path[40];
        _cleanup_buf_ struct buf name = BUF_NULL;
        snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
        return file_read(path, 64, &name, NULL) == 0 && str_eq(buf_str(&name), "postgres\n");
}

/* A process of PostgreSQL (postmaster or child) of the right user that works in this data directory. Only that user may
 * look where it works, when root is a restricted one. */
static int works_here(const struct cluster *cluster, const void *argument)
{
        pid_t pid = *(const pid_t *)argument;
        char path[40], cwd[PATH_MAX], real[PATH_MAX];
        struct stat st;
        snprintf(path, sizeof path, "/proc/%d", (int)pid);
        if (stat(path, &st) < 0 || st.st_uid != cluster->uid || !is_postgres(pid))
                return 0;
        snprintf(path, sizeof path, "/proc/%d/cwd", (int)pid);
        ssize_t n = readlink(path, cwd, sizeof cwd - 1);
        if (n < 0 || !realpath(cluster->data, real))
                return 0;
        cwd[n] = '\0';
        return str_eq(cwd, real);
}

static pid_t recorded_pid(const struct cluster *cluster)
{
        _cleanup_free_ char *path = path_join(cluster->data, "postmaster.pid");
        _cleanup_buf_ struct buf text = BUF_NULL;
        if (file_read(path, 8192, &text, NULL) < 0)
                return 0;
        long pid = strtol(buf_str(&text), NULL, 10);
        return pid > 1 && pid <= INT_MAX ? (pid_t)pid : 0;
}

bool cluster_find_postmaster(struct cluster *cluster)
{
        struct process_identity identity;
        pid_t pid = recorded_pid(cluster);
        if (!pid || process_identify(pid, &identity) < 0 || !process_is(&identity) ||
            cluster_as_user(cluster, works_here, &pid) != 1)
                return false;
        cluster->postmaster = identity;
        return true;
}

/* Sends a signal (0: none) to what an ended postmaster left behind; how many there are. */
static int signal_each(const struct cluster *cluster, const void *signo)
{
        DIR *dir = opendir("/proc");
        int n = 0;
        for (struct dirent *entry; dir && (entry = readdir(dir));) {
                pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
                if (pid <= 1 || !works_here(cluster, &pid))
                        continue;
                n++;
                if (*(const int *)signo)
                        kill(pid, *(const int *)signo);
        }
        if (dir)
                closedir(dir);
        return n;
}

static int signal_orphans(const struct cluster *cluster, int signo)
{
        return cluster_as_user(cluster, signal_each, &signo);
}

static int wait_for_orphans(const struct cluster *cluster, struct error *error)
{
        int64_t start = clock_ms();
        for (bool asked = false; signal_orphans(cluster, 0) > 0;) {
                int64_t waited = clock_ms() - start;
                if (waited > LAUNCH_MS)
                        return error_set(error, -EBUSY, "processes of an earlier PostgreSQL in %s do not end",
                                         cluster->data);
                if (waited > ORPHAN_KILL_MS)
                        signal_orphans(cluster, SIGKILL);
                else if (waited > ORPHAN_ASK_MS && !asked)
                        asked = signal_orphans(cluster, SIGQUIT) >= 0;
                clock_sleep_ms(20);
        }
        return 0;
}

/* PostgreSQL takes any living process of its user, and a zombie too, for the owner of its pid file and of its socket's
 * lock: a leftover whose pid is somebody else now would keep it from starting. Only called when no process works in the
 * data directory; the socket's directory is ours alone. */
static void remove_stale_pid(const struct cluster *cluster)
{
        _cleanup_free_ char *path = path_join(cluster->data, "postmaster.pid");
        _cleanup_free_ char *lock = path_join(cluster->run, ".s.PGSQL.5432.lock");
        pid_t pid = recorded_pid(cluster);
        if (pid && (kill(pid, 0) == 0 || errno == EPERM) && unlink(path) == 0)
                log_info("removed a stale %s", path);
        if (unlink(lock) == 0)
                log_info("removed a stale %s", lock);
}

/* --- starting it -------------------------------------------------------------------------------------------------- */

static int open_log(const struct cluster *cluster, struct error *error)
{
        struct stat st;
        if (lstat(cluster->log, &st) == 0 && st.st_size > LOG_BYTES_MAX) {
                _cleanup_free_ char *old = xasprintf("%s.1", cluster->log);
                rename(cluster->log, old);
        }
        int fd = open(cluster->log, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0640);
        return fd < 0 ? error_errno(error, errno, "cannot write %s", cluster->log) : fd;
}

static int spawn(struct cluster *cluster, struct error *error)
{
        _cleanup_free_ char *postgres = path_join(cluster->bin, "postgres");
        _cleanup_free_ char *file = xasprintf("config_file=%s/postgresql.conf", cluster->conf);
        _cleanup_close_ int log = open_log(cluster, error);
        if (log < 0)
                return log;
        const char *argv[] = {postgres, "-D", cluster->data, "-c", file, NULL};
        const char *env[] = {"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C", NULL};
        struct process_spec spec = {.argv = argv,
                                    .env = env,
                                    .cwd = "/",
                                    .stdin_fd = PROCESS_FD_NULL,
                                    .stdout_fd = log,
                                    .stderr_fd = log,
                                    .new_session = true,
                                    .drop_ids = cluster->as_root,
                                    .uid = cluster->uid,
                                    .gid = cluster->gid};
        pid_t pid;
        int r = process_spawn(&spec, &pid, error);
        if (r == 0 && process_identify(pid, &cluster->postmaster) < 0)
                cluster->postmaster = (struct process_identity){.pid = pid};
        return r;
}

/* The end of its log, in one line. */
static char *last_words(const struct cluster *cluster)
{
        char tail[601];
        _cleanup_close_ int fd = open(cluster->log, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        off_t size = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
        ssize_t n = size > 0 ? pread(fd, tail, sizeof tail - 1, MAX(size - (off_t)sizeof tail + 1, (off_t)0)) : 0;
        tail[MAX(n, (ssize_t)0)] = '\0';
        for (char *c = tail; *c; c++)
                if (*c == '\n')
                        *c = ' ';
        return str_trim(xstrdup(tail));
}

static bool has_ended(struct cluster *cluster, int *status)
{
        pid_t r = waitpid(cluster->postmaster.pid, status, WNOHANG);
        return r == cluster->postmaster.pid || (r < 0 && errno == ECHILD && !process_is(&cluster->postmaster));
}

static bool takes_connections(struct cluster *cluster, struct error *error)
{
        _cleanup_free_ char *conninfo = cluster_admin_conninfo(cluster);
        PGconn *pg = PQconnectdb(conninfo);
        bool good = PQstatus(pg) == CONNECTION_OK;
        if (!good) {
                _cleanup_free_ char *words = str_trim(xstrdup(PQerrorMessage(pg)));
                error_set(error, -EIO, "PostgreSQL in %s: %s", cluster->directory, words);
        }
        PQfinish(pg);
        return good;
}

int cluster_wait_ready(struct cluster *cluster, struct error *error)
{
        int64_t deadline = clock_ms() + READY_MS;
        struct error trouble = ERROR_NULL;
        while (!takes_connections(cluster, &trouble)) {
                int status = 0;
                bool ended = has_ended(cluster, &status);
                if (ended || clock_ms() > deadline) {
                        _cleanup_free_ char *words = last_words(cluster);
                        error_set(&trouble, ended ? -ECHILD : -ETIMEDOUT, "PostgreSQL in %s %s: %s", cluster->directory,
                                  ended ? "ended at once" : "does not answer", words);
                        return error_move(error, &trouble);
                }
                error_clear(&trouble);
                clock_sleep_ms(20);
        }
        error_clear(&trouble);
        return 0;
}

int cluster_launch(struct cluster *cluster, struct error *error)
{
        int64_t deadline = clock_ms() + LAUNCH_MS;
        for (;;) {
                struct error trouble = ERROR_NULL;
                int r = wait_for_orphans(cluster, &trouble);
                if (r == 0) {
                        remove_stale_pid(cluster);
                        r = spawn(cluster, &trouble);
                }
                if (r == 0)
                        r = cluster_wait_ready(cluster, &trouble);
                if (r == 0)
                        return 0;
                /* memory of an old one that is just being given back looks like this */
                bool again = r == -ECHILD && strstr(error_text(&trouble), "shared memory") && clock_ms() < deadline;
                if (!again)
                        return error_move(error, &trouble);
                error_clear(&trouble);
                clock_sleep_ms(200);
        }
}

/* --- stopping it -------------------------------------------------------------------------------------------------- */

static bool wait_end(struct cluster *cluster, int64_t patience_ms)
{
        int64_t deadline = clock_ms() + patience_ms;
        int status;
        while (!has_ended(cluster, &status) && process_is(&cluster->postmaster)) {
                if (clock_ms() > deadline)
                        return false;
                clock_sleep_ms(20);
        }
        return true;
}

int cluster_stop(struct cluster *cluster, struct error *error)
{
        if (!process_is(&cluster->postmaster))
                return 0;
        kill(cluster->postmaster.pid, SIGINT);
        if (wait_end(cluster, 30000))
                return 0;
        log_warning("the database does not stop; ending it at once, it will recover at the next start");
        kill(cluster->postmaster.pid, SIGQUIT);
        if (wait_end(cluster, 10000))
                return 0;
        return error_set(error, -ETIMEDOUT, "PostgreSQL (process %d) does not stop", (int)cluster->postmaster.pid);
}
