#include "pg.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "db/cluster_internal.h"

/* --- the cluster -------------------------------------------------------------------------------------------------- */

/* Ends what a crashed test left: its postmaster and its directory. */
static void guard(const char *directory, int pipe_fd)
{
        char byte;
        setsid();
        for (int signo = 1; signo < NSIG; signo++)
                signal(signo, SIG_IGN);
        for (int fd = 0; fd < 1024; fd++)
                if (fd != pipe_fd)
                        close(fd);
        while (read(pipe_fd, &byte, 1) < 0 && errno == EINTR)
                ;
        _cleanup_free_ char *path = xasprintf("%s/db/data/postmaster.pid", directory);
        _cleanup_buf_ struct buf text = BUF_NULL;
        if (file_read(path, 8192, &text, NULL) == 0) {
                pid_t pid = (pid_t)strtol(buf_str(&text), NULL, 10);
                if (pid > 1 && strstr(buf_str(&text), directory))
                        kill(pid, SIGQUIT);
                for (int i = 0; i < 500 && access(path, F_OK) == 0; i++)
                        clock_sleep_ms(20);
        }
        dir_remove(directory, NULL);
        _exit(0);
}

static void start_guardian(struct pg *pg)
{
        int fds[2];
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                close(fds[1]);
                if (fork() == 0)
                        guard(pg->directory, fds[0]);
                _exit(0);
        }
        waitpid(pid, NULL, 0);
        close(fds[0]);
        pg->guardian = fds[1];
}

struct cluster_options pg_options(const struct pg *pg)
{
        static char place[256];
        snprintf(place, sizeof place, "%s/db", pg->directory);
        return (struct cluster_options){.directory = place, .dbname = "lablink_db", .role = "lablink"};
}

void pg_start(struct pg *pg)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        struct cluster_options options = pg_options(pg);
        cluster_free(pg->cluster);
        if (cluster_start(&options, &pg->cluster, &error) < 0)
                fail_msg("%s", error_text(&error));
        pg->conninfo = cluster_conninfo(pg->cluster);
}

void pg_open(struct pg *pg)
{
        char name[] = "/tmp/lablink-pg-XXXXXX";
        *pg = (struct pg){.guardian = -1};
        log_setup("test", LOG_LEVEL_ERROR);
        signal(SIGPIPE, SIG_IGN);
        assert_non_null(mkdtemp(name));
        assert_int_equal(chmod(name, 0711), 0);
        pg->directory = xstrdup(name);
        start_guardian(pg);
        pg_start(pg);
}

void pg_close(struct pg *pg)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        if (pg->cluster && cluster_stop(pg->cluster, &error) < 0)
                fail_msg("%s", error_text(&error));
        cluster_free(pg->cluster);
        assert_int_equal(dir_remove(pg->directory, NULL), 0);
        if (pg->guardian >= 0)
                close(pg->guardian);
        free(pg->directory);
        *pg = (struct pg){.guardian = -1};
}

/* --- plain SQL ---------------------------------------------------------------------------------------------------- */

static char *run_as(const char *conninfo, const char *sql)
{
        PGconn *connection = PQconnectdb(conninfo);
        if (PQstatus(connection) != CONNECTION_OK)
                fail_msg("%s", PQerrorMessage(connection));
        PGresult *result = PQexec(connection, sql);
        ExecStatusType status = PQresultStatus(result);
        if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
                fail_msg("%s: %s", sql, PQerrorMessage(connection));
        char *value = xstrdup(PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "");
        PQclear(result);
        PQfinish(connection);
        return value;
}

static char *run(const struct pg *pg, const char *sql)
{
        return run_as(pg->conninfo, sql);
}

void pg_exec(const struct pg *pg, const char *sql)
{
        free(run(pg, sql));
}

void pg_admin(const struct pg *pg, const char *sql)
{
        _cleanup_free_ char *conninfo = cluster_admin_conninfo(pg->cluster);
        free(run_as(conninfo, sql));
}

char *pg_value(const struct pg *pg, const char *sql)
{
        return run(pg, sql);
}

int64_t pg_number(const struct pg *pg, const char *sql)
{
        _cleanup_free_ char *value = run(pg, sql);
        return strtoll(value, NULL, 10);
}

void pg_wait_for(const struct pg *pg, const char *sql, const char *wanted)
{
        int64_t deadline = clock_ms() + PG_PATIENCE_MS;
        for (;;) {
                _cleanup_free_ char *value = run(pg, sql);
                if (str_eq(value, wanted))
                        return;
                if (clock_ms() > deadline)
                        fail_msg("%s gives \"%s\", never \"%s\"", sql, value, wanted);
                clock_sleep_ms(10);
        }
}

void pg_fine(int code, struct error *error)
{
        if (code < 0)
                fail_msg("%s", error_text(error));
        error_clear(error);
}

struct db *pg_db(const struct pg *pg)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        struct db *db;
        if (db_open(pg->conninfo, "test", &db, &error) < 0)
                fail_msg("%s", error_text(&error));
        return db;
}

/* --- tasks -------------------------------------------------------------------------------------------------------- */

static void wish_failed(struct task *t, int code)
{
        struct wish *wish = t->state;
        wish->code = code;
        error_move(&wish->error, &t->error);
        task_finish(t);
}

static void wish_finished(struct task *t)
{
        ((struct wish *)t->state)->finished = true;
}

static const struct task_class wish_class = {.name = "wish", .fail = wish_failed, .finished = wish_finished};

int wish_done(struct task *t)
{
        task_finish(t);
        return 0;
}

void wish_start(struct wish *wish, struct loop *loop, int (*start)(struct task *t), void *argument)
{
        *wish = (struct wish){.start = start, .argument = argument};
        task_init(&wish->task, loop, &wish_class, wish);
        task_start_named(&wish->task, start, "start");
}

static void wake_up(uv_timer_t *timer _unused_)
{
}

static void turn_until(struct loop *loop, const bool *flag, int64_t ms)
{
        uv_timer_t tick;
        int64_t deadline = clock_ms() + ms;
        uv_timer_init(&loop->uv, &tick);
        uv_timer_start(&tick, wake_up, 5, 5);
        while (!(flag && *flag) && clock_ms() < deadline)
                uv_run(&loop->uv, UV_RUN_ONCE);
        uv_close((uv_handle_t *)&tick, NULL);
        uv_run(&loop->uv, UV_RUN_NOWAIT);
}

void loop_until(struct loop *loop, const bool *flag)
{
        turn_until(loop, flag, PG_PATIENCE_MS);
        assert_true(*flag);
}

void loop_turn_ms(struct loop *loop, int64_t ms)
{
        turn_until(loop, NULL, ms);
}

int wish_wait(struct wish *wish)
{
        loop_until(wish->task.loop, &wish->finished);
        return wish->code;
}

void wish_clear(struct wish *wish)
{
        error_clear(&wish->error);
}

static int start_query(struct task *t)
{
        struct wish *wish = t->state;
        return db_await(t, *(const struct db_query *)wish->argument, wish_done);
}

int loop_query(struct loop *loop, struct db_query query, struct error *error)
{
        struct wish wish;
        wish_start(&wish, loop, start_query, &query);
        int code = wish_wait(&wish);
        error_move(error, &wish.error);
        return code;
}
