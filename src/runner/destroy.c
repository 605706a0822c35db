/*
 * Destroy: the machines first, then the rows. Cut off in between, a row without its machine is left, which the next
 * destroy removes; a machine without a row would be one that nobody knows of.
 */
#include "base/failpoint.h"
#include "lab/collection.h"
#include "lab/vm.h"
#include "runner/runner.h"

static void tell_rows(struct runner *runner, const json_t *rows)
{
        size_t index;
        json_t *row;
        json_array_foreach (rows, index, row)
                if (!json_is_true(json_object_get(row, "launched")))
                        runner_say(runner, "%s: not launched here: only the row was removed",
                                   json_get_string(row, "hostname"));
}

/* Those of other allocators on this database are theirs to destroy. */
static int tell_others(struct runner *runner, struct error *error)
{
        struct vm_list rows = {.array = json_array()};
        size_t index, n = 0;
        json_t *row;
        int r = runner_db(runner, vm_inventory(&rows), PATIENCE_MS, error);
        json_array_foreach (rows.array, index, row)
                n += !json_is_true(json_object_get(row, "here"));
        if (n)
                runner_say(runner, "%zu VM%s of another allocator on this database %s left alone: destroy them there.",
                           n, n == 1 ? "" : "s", n == 1 ? "is" : "are");
        json_decref(rows.array);
        return r;
}

/* "Collect, then destroy": what cannot be saved stays where it is. */
static int collect_first(struct runner *runner, const json_t *arguments, struct error *error)
{
        json_t *result = NULL;
        int r = work_collect(runner, arguments, &result, error);
        size_t failed = json_array_size(json_object_get(result, "failed"));
        long long left_out = (long long)json_integer_value(json_object_get(result, "left_out"));
        json_decref(result);
        if (r < 0)
                return error_wrap(error, "nothing was destroyed");
        if (failed)
                return error_set(
                        error, -EIO,
                        "nothing was destroyed: %zu VM%s could not be collected. Destroy without collecting to "
                        "give their files up.",
                        failed, failed == 1 ? "" : "s");
        if (left_out)
                return error_set(
                        error, -EIO,
                        "nothing was destroyed: %lld file%s left out of the collection; its manifest says which, and "
                        "why. Destroy without collecting to give them up.",
                        left_out, left_out == 1 ? " was" : "s were");
        return 0;
}

int work_destroy(struct runner *runner, const json_t *arguments, json_t **ret_result, struct error *error)
{
        struct provider_sink sink = runner_sink(runner);
        struct vm_list went = {.array = json_array()};
        int r = json_is_true(json_object_get(arguments, "collect")) ? collect_first(runner, arguments, error) : 0;
        if (r < 0) {
                json_decref(went.array);
                return r;
        }
        runner_say(runner, "Destroying all client VMs.");
        failpoint("destroy.before-machines");
        r = runner->ops->destroy_all(runner->provider, &sink, error);
        failpoint("destroy.before-rows");
        if (r == 0)
                r = runner_db(runner, vm_retire(NULL, &went), PATIENCE_MS, error);
        failpoint("destroy.rows-gone");
        if (r == 0)
                r = runner_db(runner, collection_close_all(), PATIENCE_MS, error);
        if (r == 0) {
                tell_rows(runner, went.array);
                runner_say(runner, "All client VMs are gone.");
                *ret_result = json_pack("{s:I}", "destroyed", (json_int_t)json_array_size(went.array));
                r = tell_others(runner, error);
        }
        json_decref(went.array);
        return r;
}
