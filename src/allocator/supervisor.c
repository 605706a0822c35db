/*
 * The loop of the supervisor: signals, the web process's words, children that end, the postmaster that ends. Nothing
 * here waits for anything but poll().
 */
#include "allocator/supervisor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "allocator/handover.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/process.h"
#include "base/text.h"

#define WEB_STOP_MS 12000
#define RECONCILE_PAUSE_MS INT64_C(2000)
#define RECONCILE_PAUSE_MAX_MS INT64_C(60000)

static void set_default_config_facts(struct supervisor *s)
{
        /* The web process sees nothing of this machine: what depends on it is decided here. */
        str_replace(&s->config->desktop.mode, config_desktop_mode(s->config));
        s->config_json = config_to_json(s->config);
        s->public_url = config_public_url(s->config);
}

int supervisor_prepare(struct supervisor *s, struct error *error)
{
        s->listen_tcp = s->listen_admin = s->listen_vm = s->web_socket = s->postmaster = s->signals = s->lock_fd =
                s->archives.socket = -1;
        s->reconcile_pause_ms = RECONCILE_PAUSE_MS;
        s->state_dir = config_state_dir(s->config);
        int r = prepare_state_dir(s, error);
        if (r < 0)
                return error_wrap(error, "the state directory cannot be used");
        _cleanup_free_ char *lock = path_join(s->state_dir, "supervisor.lock");
        r = file_lock(lock, 0, &s->lock_fd, error);
        if (r == -EWOULDBLOCK)
                return error_set(error, r, "another allocator already runs with the state directory %s", s->state_dir);
        set_default_config_facts(s);
        keys_init(&s->keys);
        if (r == 0)
                r = site_open(s->state_dir, s->site, error);
        if (r == 0)
                r = prepare_sockets(s, error);
        if (r == 0)
                r = prepare_password(s, error);
        if (r == 0)
                r = prepare_database(s, error);
        return r;
}

/* --- the postmaster ------------------------------------------------------------------------------------------------ */

static void watch_postmaster(struct supervisor *s)
{
        closep(&s->postmaster);
        s->postmaster = s->cluster ? (int)syscall(SYS_pidfd_open, cluster_pid(s->cluster), 0) : -1;
}

static void restart_postmaster(struct supervisor *s)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        struct cluster *old = STEAL(s->cluster);
        int r = prepare_database(s, &error);
        if (r < 0 && !s->cluster) {
                s->cluster = old;
                log_error("%s; trying again", error_text(&error));
                s->postmaster_due_ms = clock_ms() + 1000;
                return;
        }
        cluster_free(old);
        s->postmaster_due_ms = 0;
        watch_postmaster(s);
        log_info("the embedded database runs again");
}

/* --- children ------------------------------------------------------------------------------------------------------ */

static void start_web(struct supervisor *s)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        s->web_due_ms = 0;
        if (spawn_web(s, &error) < 0) {
                log_error("%s; trying again", error_text(&error));
                s->web_due_ms = clock_ms() + 1000;
        }
}

static void web_ended(struct supervisor *s, int status)
{
        _cleanup_free_ char *outcome = process_outcome(status);
        s->web = 0;
        closep(&s->web_socket);
        s->web_socket = -1;
        archives_close(s);
        if (s->stopping)
                return;
        bool lived = clock_ms() - s->web_started_ms > 10000;
        s->web_backoff_ms = lived || !s->web_backoff_ms ? 50 : MIN(s->web_backoff_ms * 2, (int64_t)5000);
        s->web_due_ms = clock_ms() + s->web_backoff_ms;
        log_error("the web process ended (%s); starting it again", outcome);
}

static void runner_ended(struct supervisor *s, struct runner_child *child, int status)
{
        if (child->operation == RUNNER_AWS) {
                *child = (struct runner_child){0};
                keys_checked(s, status);
                return;
        }
        bool was_reconcile = child->operation == 0;
        _cleanup_free_ char *outcome = process_outcome(status);
        if (status != 0)
                log_warning("the runner of %s ended with %s", was_reconcile ? "reconcile" : "an operation", outcome);
        *child = (struct runner_child){0};
        if (s->stopping)
                return;
        /* A runner that died leaves a row that says "running": the next look ends it. One that looked and died is not
         * followed at once, for it might die again. */
        if (was_reconcile && s->reconcile_again)
                s->reconcile_due_ms = clock_ms();
        else if (status != 0)
                s->reconcile_due_ms = clock_ms() + (was_reconcile ? s->reconcile_pause_ms : 0);
        if (was_reconcile)
                s->reconcile_pause_ms = status ? MIN(s->reconcile_pause_ms * 2, RECONCILE_PAUSE_MAX_MS)
                                               : RECONCILE_PAUSE_MS;
        s->reconcile_again &= !was_reconcile;
}

static void reap(struct supervisor *s)
{
        int status;
        for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
                if (pid == s->web) {
                        web_ended(s, status);
                        continue;
                }
                if (archives_reap(s, pid))
                        continue;
                for (size_t i = 0; i < RUNNERS_MAX; i++)
                        if (s->runners[i].pid == pid)
                                runner_ended(s, &s->runners[i], status);
        }
}

/* --- words of the web process -------------------------------------------------------------------------------------- */

/* To a terminal, and once to whoever made the lab; never into a journal, which others may read. */
static bool may_show_password(const struct supervisor *s)
{
        return !getenv("JOURNAL_STREAM") && (s->password_new || isatty(STDOUT_FILENO));
}

static void announce(struct supervisor *s)
{
        if (s->announced)
                return;
        s->announced = true;
        printf("the lab is at %s\n", s->public_url);
        if (s->password_made && !may_show_password(s))
                printf("administration is at %s/admin, user %s; `lablink admin password` shows the password\n",
                       s->public_url, s->config->app.admin_user);
        else if (s->password_made)
                printf("administration is at %s/admin, user %s, password %s\n", s->public_url,
                       s->config->app.admin_user, s->admin_password);
        else
                printf("administration is at %s/admin, user %s, password as configured\n", s->public_url,
                       s->config->app.admin_user);
        puts("stop with Ctrl-C; client VMs go on until `lablink destroy`");
        fflush(stdout);
}

static void obey(struct supervisor *s, int64_t word)
{
        if (word == MESSAGE_READY)
                announce(s);
        else if (word == MESSAGE_AWS_CHECK && !s->stopping)
                keys_check(s);
        else if (word >= 0 && !s->stopping)
                spawn_runner(s, word);
}

static void hear_web(struct supervisor *s)
{
        union {
                int64_t word;
                struct aws_order order;
        } message;
        while (s->web_socket >= 0) {
                ssize_t n = recv(s->web_socket, &message, sizeof message, MSG_DONTWAIT);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN)
                        return;
                if (n == (ssize_t)sizeof message.order &&
                    (message.word == MESSAGE_AWS_SET || message.word == MESSAGE_AWS_UNSET)) {
                        keys_order(s, &message.order);
                        continue;
                }
                if (n != (ssize_t)sizeof message.word) {
                        closep(&s->web_socket);
                        s->web_socket = -1;
                        return;
                }
                obey(s, message.word);
        }
}

/* --- the loop ------------------------------------------------------------------------------------------------------ */

static void hear_signals(struct supervisor *s)
{
        struct signalfd_siginfo info;
        while (read(s->signals, &info, sizeof info) == (ssize_t)sizeof info) {
                if (info.ssi_signo == SIGCHLD)
                        reap(s);
                else if (s->stopping)
                        s->hurried = true;
                else
                        s->stopping = true;
        }
}

static int open_signals(struct supervisor *s)
{
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGHUP);
        sigprocmask(SIG_BLOCK, &set, NULL);
        signal(SIGPIPE, SIG_IGN);
        s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        return s->signals < 0 ? -errno : 0;
}

static void turn(struct supervisor *s, int timeout_ms)
{
        struct pollfd fds[] = {{.fd = s->signals, .events = POLLIN},
                               {.fd = s->web_socket, .events = POLLIN},
                               {.fd = s->postmaster, .events = POLLIN},
                               {.fd = s->archives.socket, .events = POLLIN}};
        poll(fds, ARRAY_SIZE(fds), timeout_ms);
        if (fds[1].revents)
                hear_web(s);
        if (fds[3].revents)
                archives_hear(s);
        if (fds[0].revents)
                hear_signals(s);
        if (s->stopping)
                return;
        if (s->postmaster >= 0 && fds[2].revents && !s->postmaster_due_ms) {
                log_error("the embedded database ended; starting it again");
                s->postmaster_due_ms = clock_ms();
        }
        if (s->postmaster_due_ms && clock_ms() >= s->postmaster_due_ms)
                restart_postmaster(s);
        if (!s->web && s->web_due_ms && clock_ms() >= s->web_due_ms)
                start_web(s);
        if (s->reconcile_due_ms && clock_ms() >= s->reconcile_due_ms) {
                s->reconcile_due_ms = 0;
                spawn_runner(s, 0);
        }
}

static void stop_web(struct supervisor *s)
{
        int64_t deadline = clock_ms() + WEB_STOP_MS;
        if (s->web)
                kill(s->web, SIGTERM);
        while (s->web && clock_ms() < deadline)
                turn(s, 100);
        if (s->web)
                process_stop(s->web, false, 0);
        s->web = 0;
}

/* A look of ours takes a moment and is not worth a word. */
static bool operation_at_work(const struct supervisor *s)
{
        bool looks = false;
        for (size_t i = 0; i < RUNNERS_MAX; i++) {
                if (s->runners[i].pid && s->runners[i].operation > 0)
                        return true;
                looks |= s->runners[i].pid != 0;
        }
        return !looks;
}

/* The embedded database stays up until the last runner has ended. */
static void wait_for_runners(struct supervisor *s)
{
        for (bool told = false; !s->hurried && runners_at_work(s);) {
                if (!told && operation_at_work(s)) {
                        told = true;
                        puts("An operation is still running; waiting for its end. Ctrl-C again leaves it and its database running.");
                        fflush(stdout);
                }
                turn(s, 300);
        }
}

static void stop_cluster(struct supervisor *s)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        if (!s->cluster || (s->hurried && runners_at_work(s)))
                return;
        if (cluster_stop(s->cluster, &error) < 0)
                log_error("%s", error_text(&error));
}

int supervisor_run(struct supervisor *s)
{
        int r = open_signals(s);
        if (r < 0) {
                log_error("cannot receive signals: %s", strerror(-r));
                return 1;
        }
        watch_postmaster(s);
        start_web(s);
        spawn_runner(s, 0);
        keys_check(s);
        while (!s->stopping)
                turn(s, s->web_due_ms || s->postmaster_due_ms || s->reconcile_due_ms ? 50 : 1000);
        log_info("stopping");
        keys_stop(s);
        stop_web(s);
        wait_for_runners(s);
        say_farewell(s);
        stop_cluster(s);
        return 0;
}

void supervisor_deinit(struct supervisor *s)
{
        cluster_free(s->cluster);
        closep(&s->listen_tcp);
        closep(&s->listen_admin);
        closep(&s->listen_vm);
        closep(&s->signals);
        closep(&s->postmaster);
        closep(&s->lock_fd);
        archives_close(s);
        keys_deinit(&s->keys);
        json_decref(s->config_json);
        free(s->state_dir);
        free(s->conninfo);
        free(s->public_url);
        free(s->admin_password);
        free(s->admin_hash);
        free(s->runner_path);
}
