/*
 * One operation from its queued row to its end. The row is taken once: whoever comes second finds nothing to do. What
 * cannot be written at the end (the database is away for good) is left to the next reconcile, which ends the row as
 * interrupted.
 */
#include <errno.h>
#include <string.h>

#include "base/failpoint.h"
#include "base/log.h"
#include "base/text.h"
#include "runner/runner.h"

#define LOCK_WAIT_MS 60000
#define END_PATIENCE_MS 600000
#define EXIT_BUSY 75

int operation_finish(struct runner *runner, int r, json_t *result, struct error *error)
{
        _cleanup_error_ struct error trouble = ERROR_NULL;
        struct flag_answer ours = {0};
        const char *state = r == 0 ? "done" : r == -ECANCELED ? "cancelled" : "failed";
        if (r < 0)
                runner_say(runner, "%s: %s", state, error_text(error));
        runner->progress_due |= r == 0;
        runner_flush(runner, END_PATIENCE_MS);
        _cleanup_free_ char *text = result ? json_text(result) : NULL;
        json_decref(result);
        failpoint("operation.before-end");
        int ended = runner_db(
                runner,
                operation_end(runner->operation, runner->epoch, state, r < 0 ? error_text(error) : NULL, text, &ours),
                END_PATIENCE_MS, &trouble);
        if (ended < 0)
                log_error("operation %lld ended as %s, which could not be written: %s", (long long)runner->operation,
                          state, error_text(&trouble));
        failpoint("operation.ended");
        runner->operation = 0;
        return ended;
}

static int work_kind(struct runner *runner, const struct operation_taken *taken, json_t **ret_result,
                     struct error *error)
{
        if (str_eq(taken->kind, "launch"))
                return work_launch(runner, taken->arguments, ret_result, error);
        if (str_eq(taken->kind, "destroy"))
                return work_destroy(runner, taken->arguments, ret_result, error);
        if (str_eq(taken->kind, "collect"))
                return work_collect(runner, taken->arguments, ret_result, error);
        if (str_eq(taken->kind, "discard"))
                return work_discard(runner, taken->arguments, ret_result, error);
        if (str_eq(taken->kind, "repair"))
                return work_repair(runner, taken->arguments, error);
        return error_set(error, -ENOTSUP, "this program knows no operation called %s", taken->kind);
}

static int work(struct runner *runner, const struct operation_taken *taken, json_t **ret_result, struct error *error)
{
        int r = runner_open(runner, error);
        if (r < 0)
                return r;
        r = work_kind(runner, taken, ret_result, error);
        /* What such a provider is in doubt about now, or no more, is told at once. */
        if (runner->ops->repair && operation_lanes(taken->kind) & OPERATION_MACHINES)
                reconcile_rows(runner, NULL);
        return r;
}

static int take_and_work(struct runner *runner, int64_t id, struct error *error)
{
        struct operation_taken taken = {0};
        json_t *result = NULL;
        failpoint("operation.before-take");
        int r = runner_db(runner, operation_take(id, &taken), PATIENCE_MS, error);
        if (r == 0 && taken.taken) {
                runner->operation = id;
                runner->epoch = taken.epoch;
                failpoint("operation.taken");
                int done = work(runner, &taken, &result, error);
                r = operation_finish(runner, done, result, error);
        }
        operation_taken_clear(&taken);
        return r;
}

/* It cannot even begin, and trying again will not help: the state directory is read-only, or full. */
static void fail_untouched(struct runner *runner, int64_t id, int code, struct error *error)
{
        struct operation_taken taken = {0};
        if (runner_db(runner, operation_take(id, &taken), 0, NULL) == 0 && taken.taken) {
                runner->operation = id;
                runner->epoch = taken.epoch;
                operation_finish(runner, code, NULL, error);
        }
        operation_taken_clear(&taken);
}

/* What it will work on; one that is not there any more works on nothing. */
static int find_lanes(struct runner *runner, int64_t id, unsigned *ret, struct error *error)
{
        struct json_answer row = {0};
        int r = runner_db(runner, operation_get(id, &row), PATIENCE_MS, error);
        const char *kind = json_get_string(row.value, "kind");
        *ret = kind ? operation_lanes(kind) : 0;
        json_decref(row.value);
        return r;
}

int run_operation(struct runner *runner, int64_t id)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        unsigned lanes = 0;
        int r = runner_connect(runner, &error);
        if (r == 0)
                r = find_lanes(runner, id, &lanes, &error);
        if (r == 0) {
                r = runner_lock(runner, lanes, LOCK_WAIT_MS, &error);
                if (r < 0 && r != -EWOULDBLOCK && r != -ENOTCONN && r != -ETIMEDOUT)
                        fail_untouched(runner, id, r, &error);
        }
        if (r == 0)
                r = take_and_work(runner, id, &error);
        if (r == -EWOULDBLOCK)
                return EXIT_BUSY;
        if (r < 0)
                log_error("operation %lld: %s", (long long)id, error_text(&error));
        return r < 0 ? 1 : 0;
}
