/*
 * Starting the web process and runners. Both get the configuration through a pipe: no secret is ever an argument or in
 * an environment. A runner has a session of its own and outlives us.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "allocator/supervisor.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "base/text.h"

#define HANDOVER_USUAL 65536 /* bytes */

/* Our environment without the configuration's part, which may hold secrets. The list is the caller's, its texts are not. */
const char **plain_environment(void)
{
        size_t n = 0, kept = 0;
        while (environ[n])
                n++;
        const char **list = xcalloc(n + 1, sizeof *list);
        for (size_t i = 0; i < n; i++)
                if (!str_starts(environ[i], "LABLINK_"))
                        list[kept++] = environ[i];
        return list;
}

/* What the web process's libraries read of an environment. It is the one that strangers speak to: cloud keys, and
 * whatever else root had in its environment, are not for it. */
static const char **web_environment(void)
{
        static const char *const wanted[] = {"LANG=",
                                             "LC_",
                                             "TZ=",
                                             "PG",
                                             "LD_",
                                             "RES_OPTIONS=",
                                             "LOCALDOMAIN=",
                                             "SSL_CERT_",
                                             "JOURNAL_STREAM=",
                                             "UV_THREADPOOL_",
                                             "ASAN_OPTIONS=",
                                             "UBSAN_OPTIONS=",
                                             "LSAN_OPTIONS=",
                                             "TSAN_OPTIONS=",
                                             "FAKETIME",
                                             "TEST_POINTS="};
        const char **list = plain_environment();
        size_t kept = 0;
        for (size_t i = 0; list[i]; i++) {
                bool take = geteuid() != 0 && str_starts(list[i], "HOME=");
                for (size_t k = 0; k < ARRAY_SIZE(wanted); k++)
                        take |= str_starts(list[i], wanted[k]);
                if (take)
                        list[kept++] = list[i];
        }
        list[kept] = NULL;
        return list;
}

/* A pipe that holds `text`, read end in *ret. A configuration fits into a pipe's buffer (grown to 1 MB). */
int pipe_with(const json_t *value, int *ret, struct error *error)
{
        _cleanup_buf_wiped_ struct buf text = BUF_NULL;
        int fds[2];
        if (pipe2(fds, O_CLOEXEC) < 0)
                return error_errno(error, errno, "cannot make a pipe");
        fcntl(fds[1], F_SETPIPE_SZ, 1 << 20);
        fcntl(fds[1], F_SETFL, O_NONBLOCK);
        buf_reserve(&text, HANDOVER_USUAL); /* at once: growing would leave copies of secrets behind */
        json_write(value, &text);
        int r = fd_write_all(fds[1], text.data, text.len);
        close(fds[1]);
        if (r < 0) {
                close(fds[0]);
                return error_errno(error, -r, "the configuration is too large for a pipe");
        }
        *ret = fds[0];
        return 0;
}

/* The web process checks against the hash; the password itself stays here. */
static json_t *config_without_password(struct supervisor *s)
{
        json_t *config = json_deep_copy(s->config_json);
        json_t *password = json_object_get(json_object_get(config, "keys"), "app.admin_password");
        json_object_set_new(password, "value", json_string(""));
        return config;
}

static json_t *web_handover(struct supervisor *s, int socket_fd, int archives_fd)
{
        struct stat st;
        json_int_t owner = stat(s->state_dir, &st) == 0 ? (json_int_t)st.st_uid : (json_int_t)geteuid();
        return json_pack("{s:o, s:s, s:s, s:s, s:s, s:s, s:I, s:{s:i, s:i, s:i, s:i, s:i}}", "config",
                         config_without_password(s), "aws_holder", s->keys.holder, "conninfo", s->conninfo, "site",
                         s->site, "admin_hash", s->admin_hash, "public_url", s->public_url, "owner", owner, "fds",
                         "supervisor", socket_fd, "tcp", s->listen_tcp, "admin", s->listen_admin, "vm", s->listen_vm,
                         "archives", archives_fd);
}

/* The program is executed by its own link in /proc: the user that it becomes need not reach its directory. */
static int start_web_process(struct supervisor *s, int config_fd, int socket_fd, int archives_fd, struct error *error)
{
        const int keep[] = {config_fd, socket_fd, archives_fd, s->listen_tcp, s->listen_admin, s->listen_vm};
        char fd_text[12];
        snprintf(fd_text, sizeof fd_text, "%d", config_fd);
        const char *argv[] = {"/proc/self/exe", "web-process", fd_text, NULL};
        _cleanup_free_ const char **environment = web_environment();
        struct process_spec spec = {.argv = argv,
                                    .env = environment,
                                    .cwd = "/",
                                    .stdin_fd = PROCESS_FD_NULL,
                                    .stdout_fd = PROCESS_FD_INHERIT,
                                    .stderr_fd = PROCESS_FD_INHERIT,
                                    .keep_fds = keep,
                                    .n_keep_fds = ARRAY_SIZE(keep),
                                    .new_session = true};
        const char *name;
        spec.drop_ids = web_user_ids(&spec.uid, &spec.gid, &name) == 0;
        return process_spawn(&spec, &s->web, error);
}

int spawn_web(struct supervisor *s, struct error *error)
{
        _cleanup_close_ int config_fd = -1, ours = -1, theirs = -1, archives_fd = -1;
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
                return error_errno(error, errno, "cannot make a socket pair");
        ours = pair[0];
        theirs = pair[1];
        int opened = archives_open(s, &archives_fd);
        if (opened < 0)
                return error_errno(error, -opened, "cannot make a socket pair");
        _cleanup_json_ json_t *handover = web_handover(s, theirs, archives_fd);
        int r = pipe_with(handover, &config_fd, error);
        if (r == 0)
                r = start_web_process(s, config_fd, theirs, archives_fd, error);
        if (r < 0)
                return error_wrap(error, "cannot start the web process");
        s->web_socket = STEAL_FD(ours);
        s->web_started_ms = clock_ms();
        return 0;
}

static struct runner_child *free_slot(struct supervisor *s, int64_t operation)
{
        struct runner_child *slot = NULL;
        for (size_t i = 0; i < RUNNERS_MAX; i++) {
                if (s->runners[i].pid && s->runners[i].operation == operation)
                        return NULL;
                if (!s->runners[i].pid)
                        slot = &s->runners[i];
        }
        return slot;
}

static int start_runner(struct supervisor *s, int64_t operation, pid_t *ret, struct error *error)
{
        _cleanup_close_ int fd = -1;
        _cleanup_json_ json_t *handover = json_pack("{s:O, s:s, s:s, s:o}", "config", s->config_json, "conninfo",
                                                    s->conninfo, "site", s->site, "aws",
                                                    keys_json(s, operation == RUNNER_AWS));
        int r = pipe_with(handover, &fd, error);
        if (r < 0)
                return r;
        char id[24], fd_text[12];
        snprintf(id, sizeof id, "%lld", (long long)operation);
        snprintf(fd_text, sizeof fd_text, "%d", fd);
        const char *work[] = {s->runner_path, "--handover", fd_text, "operation", id, NULL};
        const char *look[] = {s->runner_path, "--handover", fd_text, operation == RUNNER_AWS ? "aws" : "reconcile",
                              NULL};
        _cleanup_free_ const char **environment = plain_environment();
        struct process_spec spec = {.argv = operation > 0 ? work : look,
                                    .env = environment,
                                    .cwd = "/",
                                    .stdin_fd = PROCESS_FD_NULL,
                                    .stdout_fd = PROCESS_FD_INHERIT,
                                    .stderr_fd = PROCESS_FD_INHERIT,
                                    .keep_fds = &fd,
                                    .n_keep_fds = 1,
                                    .new_session = true};
        return process_spawn(&spec, ret, error);
}

void spawn_runner(struct supervisor *s, int64_t operation)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        struct runner_child *slot = free_slot(s, operation);
        if (!slot) {
                s->reconcile_again |= operation == 0;
                s->keys.check_again |= operation == RUNNER_AWS;
                return;
        }
        if (operation > 0)
                failpoint("operation.before-runner");
        if (start_runner(s, operation, &slot->pid, &error) < 0) {
                slot->pid = 0;
                log_error("cannot start a runner: %s", error_text(&error));
                return;
        }
        if (operation > 0)
                failpoint("operation.after-runner");
        slot->operation = operation;
        if (operation == RUNNER_AWS)
                keys_trying(s);
}

bool runners_at_work(struct supervisor *s)
{
        for (size_t i = 0; i < RUNNERS_MAX; i++)
                if (s->runners[i].pid)
                        return true;
        static const char *const locks[] = {"runner.lock", "files.lock"};
        bool held = false;
        for (size_t i = 0; i < ARRAY_SIZE(locks); i++) {
                _cleanup_free_ char *path = path_join(s->state_dir, locks[i]);
                _cleanup_close_ int fd = -1;
                held |= file_lock(path, 0, &fd, NULL) == -EWOULDBLOCK;
        }
        return held;
}
