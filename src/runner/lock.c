/* The two locks of a runner (runner.h says why there are two). They are let go by closing, at the latest when it ends. */
#include <errno.h>

#include "base/clock.h"
#include "base/file.h"
#include "runner/runner.h"

static const char let_go[] = "select pg_advisory_unlock_all()";

static int try_lock(struct runner *runner, const char *path, struct error *error)
{
        bool held = false;
        _cleanup_close_ int fd = -1;
        int r = file_lock(path, 0, &fd, error);
        if (r == 0)
                r = db_lock(runner->db, OPERATION_LOCK_KEY, &held, error);
        if (r < 0)
                return r;
        if (!held)
                return error_set(error, -EWOULDBLOCK, "another runner works on this database");
        runner->lock_fd = STEAL_FD(fd);
        return 0;
}

int runner_lock(struct runner *runner, int64_t wait_ms, struct error *error)
{
        _cleanup_free_ char *path = path_join(runner->state_dir, "runner.lock");
        int64_t deadline = clock_ms() + wait_ms;
        for (;;) {
                int r = try_lock(runner, path, error);
                if (r != -EWOULDBLOCK || clock_ms() >= deadline)
                        return r;
                clock_sleep_ms(50);
                if (error)
                        error_clear(error);
        }
}

void runner_unlock(struct runner *runner)
{
        if (runner->lock_fd < 0)
                return;
        db_exec(runner->db, let_go, NULL);
        close(runner->lock_fd);
        runner->lock_fd = -1;
}
