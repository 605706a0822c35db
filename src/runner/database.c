/*
 * The runner's one connection. The database may be restarted, or away for a while, in the middle of a launch: the work
 * goes on, and what must be written waits for it.
 */
#include <errno.h>

#include "base/clock.h"
#include "base/log.h"
#include "runner/runner.h"

#define REOPEN_MS 5000
#define LOCK_GRACE_MS 30000 /* until the server has noticed that our old connection is dead */

int runner_connect(struct runner *runner, struct error *error)
{
        int64_t deadline = clock_ms() + PATIENCE_MS;
        for (bool told = false;; told = true) {
                int r = db_open(runner->conninfo, "lablink-runner", &runner->db, error);
                if (r == 0)
                        r = db_exec(runner->db, runner->site_sql, error);
                if (r == 0 || clock_ms() > deadline)
                        return r;
                runner->db = db_close(runner->db);
                if (!told)
                        log_warning("%s; trying for a minute", error_text(error));
                clock_sleep_ms(300);
        }
}

/* The lock went with the old connection, at the latest when the server noticed its end; until then nothing is written.
 * When somebody else holds it for longer than that, this runner is over. */
static int lock_again(struct runner *runner, struct error *error)
{
        bool held = false;
        int r = runner_lock_again(runner, &held, error);
        if (r < 0)
                return r;
        runner->unlocked = !held;
        if (held)
                runner->refused_ms = 0;
        else if (!runner->refused_ms)
                runner->refused_ms = clock_ms();
        runner->lost = !held && clock_ms() - runner->refused_ms >= LOCK_GRACE_MS;
        return held ? 0 : error_set(error, -EBUSY, "another connection holds the lock since the database was away");
}

static int reconnect(struct runner *runner, int64_t patience_ms, struct error *error)
{
        runner->unlocked = runner->lanes != 0;
        int r = db_reopen(runner->db, MAX(MIN(patience_ms, (int64_t)REOPEN_MS), (int64_t)0), error);
        if (r == 0)
                r = db_exec(runner->db, runner->site_sql, error);
        return r < 0 || !runner->lanes ? r : lock_again(runner, error);
}

int runner_db(struct runner *runner, struct db_query query, int64_t patience_ms, struct error *error)
{
        int64_t deadline = clock_ms() + patience_ms;
        for (;;) {
                if (runner->lost)
                        return error_set(error, -ESTALE, "another runner has taken over");
                int r = runner->unlocked ? -ENOTCONN : db_run(runner->db, query, error);
                if (r != -ENOTCONN && r != -ETIMEDOUT)
                        return r;
                while (reconnect(runner, deadline - clock_ms(), error) < 0) {
                        if (runner->lost)
                                return -ESTALE;
                        if (clock_ms() >= deadline)
                                return -ENOTCONN;
                        clock_sleep_ms(200);
                }
                if (error)
                        error_clear(error);
        }
}
