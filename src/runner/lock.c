/* The locks of a runner (runner.h says why there are two a lane). They are let go by closing, at the latest when it ends. */
#include <errno.h>

#include "base/clock.h"
#include "base/file.h"
#include "lab/answer.h"
#include "runner/runner.h"

static const char let_go[] = "select pg_advisory_unlock_all()";

static const struct lane {
        enum operation_lanes lane;
        const char *file;
        int64_t key;
} lanes_known[] = {
        {OPERATION_MACHINES, "runner.lock", OPERATION_LOCK_KEY},
        {OPERATION_FILES, "files.lock", OPERATION_FILES_LOCK_KEY},
};

static int *fd_of(struct runner *runner, enum operation_lanes lane)
{
        return lane == OPERATION_MACHINES ? &runner->lock_fd : &runner->files_lock_fd;
}

static int unlock_key(struct runner *runner, int64_t key)
{
        static const struct db_statement statement = {.name = "runner_unlock",
                                                      .sql = "select pg_advisory_unlock($1::bigint)",
                                                      .rows = DB_ONE,
                                                      .decode = answer_flag};
        struct flag_answer held = {0};
        return db_run(runner->db, db_query(&statement, &held, DB_INT(key)), NULL);
}

static int try_lane(struct runner *runner, const struct lane *lane, struct error *error)
{
        bool held = false;
        _cleanup_close_ int fd = -1;
        _cleanup_free_ char *path = path_join(runner->state_dir, lane->file);
        int r = file_lock(path, 0, &fd, error);
        if (r == 0)
                r = db_lock(runner->db, lane->key, &held, error);
        if (r < 0)
                return r;
        if (!held)
                return error_set(error, -EWOULDBLOCK, "another runner works on this database");
        *fd_of(runner, lane->lane) = STEAL_FD(fd);
        runner->lanes |= lane->lane;
        return 0;
}

void runner_unlock_lane(struct runner *runner, enum operation_lanes lane)
{
        for (size_t i = 0; i < ARRAY_SIZE(lanes_known); i++)
                if (lanes_known[i].lane == lane && (runner->lanes & lane)) {
                        unlock_key(runner, lanes_known[i].key);
                        runner->lanes &= ~(unsigned)lane;
                        close(*fd_of(runner, lane));
                        *fd_of(runner, lane) = -1;
                }
}

/* All or none: who waits holds nothing that another waits for. */
static int try_lock(struct runner *runner, unsigned lanes, struct error *error)
{
        for (size_t i = 0; i < ARRAY_SIZE(lanes_known); i++) {
                if (!(lanes & lanes_known[i].lane))
                        continue;
                int r = try_lane(runner, &lanes_known[i], error);
                if (r == 0)
                        continue;
                for (size_t k = 0; k < i; k++)
                        runner_unlock_lane(runner, lanes_known[k].lane);
                return r;
        }
        return 0;
}

int runner_lock(struct runner *runner, unsigned lanes, int64_t wait_ms, struct error *error)
{
        int64_t deadline = clock_ms() + wait_ms;
        for (;;) {
                int r = try_lock(runner, lanes, error);
                if (r != -EWOULDBLOCK || clock_ms() >= deadline)
                        return r;
                clock_sleep_ms(50);
                if (error)
                        error_clear(error);
        }
}

int runner_lock_again(struct runner *runner, bool *ret, struct error *error)
{
        *ret = true;
        for (size_t i = 0; i < ARRAY_SIZE(lanes_known); i++) {
                bool held = false;
                if (!(runner->lanes & lanes_known[i].lane))
                        continue;
                int r = db_lock(runner->db, lanes_known[i].key, &held, error);
                if (r < 0)
                        return r;
                *ret &= held;
        }
        return 0;
}

bool runner_was_orphaned(struct runner *runner)
{
        bool held = false;
        if (db_lock(runner->db, OPERATION_LOCK_KEY, &held, NULL) < 0 || !held)
                return false;
        db_exec(runner->db, let_go, NULL);
        return true;
}

void runner_unlock(struct runner *runner)
{
        if (!runner->lanes)
                return;
        db_exec(runner->db, let_go, NULL);
        closep(&runner->lock_fd);
        closep(&runner->files_lock_fd);
        runner->lock_fd = runner->files_lock_fd = -1;
        runner->lanes = 0;
}
