/*
 * Reconcile: what the provider has against what the rows say. Runs at start, each minute and after a release. First it
 * ends operations whose runner is gone (it holds the locks, so no other runner lives), then it mends what differs. Only
 * when a machine has to be touched does it make an operation of its own, with its output.
 */
#include <errno.h>
#include <string.h>

#include "base/failpoint.h"
#include "base/log.h"
#include "base/text.h"
#include "base/token.h"
#include "lab/settings.h"
#include "lab/vm.h"
#include "runner/runner.h"

#define QUEUED_FOR_EVER_MS 600000
#define ORPHANS_MS 600000 /* for what a dead runner has started */

enum task_kind { NOTHING, START, RESET, FINISH };

struct differences {
        json_t *rows; /* of vm_inventory */
        struct provider_vms vms;
        json_t *orphans; /* names of machines without a row */
        json_t *wait;    /* names of those that are not mended yet, for mending them has just failed */
};

static void differences_clear(struct differences *d)
{
        json_decref(d->rows);
        json_decref(d->orphans);
        json_decref(d->wait);
        provider_vms_clear(&d->vms);
}

static bool is_true(const json_t *row, const char *key)
{
        return json_is_true(json_object_get(row, key));
}

static const json_t *find_row(const struct differences *d, const char *hostname)
{
        size_t index;
        json_t *row;
        json_array_foreach (d->rows, index, row)
                if (is_true(row, "here") && str_eq(json_get_string(row, "hostname"), hostname))
                        return row;
        return NULL;
}

static bool has_machine(const struct differences *d, const char *hostname)
{
        for (size_t i = 0; i < d->vms.n; i++)
                if (str_eq(d->vms.vm[i].hostname, hostname))
                        return true;
        return false;
}

/* What is to be done with one machine that has a row. A broken one that has never been heard was left by a launch that
 * was cut off. Any other may hold somebody's files, or was being destroyed: an administrator decides. */
static enum task_kind task_for(const struct provider_vm *vm, const json_t *row)
{
        if (is_true(row, "needs_reset"))
                return RESET;
        if (vm->state == PROVIDER_STOPPED)
                return START;
        return vm->state == PROVIDER_BROKEN && !is_true(row, "held") && !is_true(row, "seen") ? FINISH : NOTHING;
}

static enum task_kind task_now(const struct differences *d, const struct provider_vm *vm)
{
        const json_t *row = find_row(d, vm->hostname);
        bool now = row && !d->vms.in_doubt && !json_array_has(d->wait, vm->hostname);
        return now ? task_for(vm, row) : NOTHING;
}

/* --- the provider's health, for /readyz and the pages ---------------------------------------------------------------- */

/* `trouble`: why its machines could not be listed; NULL: they were. */
static int note_provider(struct runner *runner, const struct differences *d, const char *trouble, struct error *error)
{
        _cleanup_free_ char *code = NULL, *hint = NULL;
        _cleanup_strv_ char **detail = NULL;
        if (runner->ops->check(runner->provider, &code, &hint, &detail) == 0 && trouble) {
                str_replace(&code, "machines-unknown");
                str_replace(&hint, trouble);
        }
        json_t *lines = json_array();
        for (size_t i = 0; detail && detail[i]; i++)
                json_array_append_new(lines, json_string(detail[i]));
        _cleanup_json_ json_t *value = json_pack("{s:s, s:s, s:s?, s:o, s:O}", "name", runner->ops->name, "code", code,
                                                 "hint", hint, "detail", lines, "orphans", d->orphans);
        _cleanup_free_ char *text = json_text(value);
        return runner_db(runner, setting_put("provider", text), PATIENCE_MS, error);
}

/* --- looking -------------------------------------------------------------------------------------------------------- */

static int look(struct runner *runner, struct differences *d, struct error *error)
{
        struct vm_list rows = {.array = json_array()};
        d->orphans = json_array();
        d->rows = rows.array;
        int r = runner_db(runner, vm_inventory(&rows), PATIENCE_MS, error);
        if (r == 0)
                r = runner->ops->list(runner->provider, &d->vms, error);
        for (size_t i = 0; r == 0 && i < d->vms.n && !d->vms.in_doubt; i++)
                if (!find_row(d, d->vms.vm[i].hostname))
                        json_array_append_new(d->orphans, json_string(d->vms.vm[i].hostname));
        return r;
}

/* Made, but its times were not written: the runner that made it has died. */
static int note_times(struct runner *runner, const struct differences *d, struct error *error)
{
        int r = 0;
        for (size_t i = 0; r == 0 && i < d->vms.n; i++) {
                const struct provider_vm *vm = &d->vms.vm[i];
                const json_t *row = find_row(d, vm->hostname);
                if (row && vm->ended > 0 && !is_true(row, "timed"))
                        r = runner_db(runner, vm_made(vm->hostname, vm->started, vm->ended), PATIENCE_MS, error);
        }
        return r;
}

/* Rows alone: a launch that was cut off before it came to that machine, or a machine that has gone, or that the provider
 * has lost: one that was made or heard may still run, so its row stays. */
static int mend_rows(struct runner *runner, const struct differences *d, struct error *error)
{
        size_t index;
        json_t *row;
        int r = note_times(runner, d, error);
        if (d->vms.in_doubt) /* such a machine may come and report */
                return r;
        json_array_foreach (d->rows, index, row) {
                const char *hostname = json_get_string(row, "hostname");
                if (r < 0 || !is_true(row, "launched") || !is_true(row, "here") || has_machine(d, hostname))
                        continue;
                if (is_true(row, "seen") || is_true(row, "held") || is_true(row, "timed")) {
                        if (!str_eq(json_get_string(row, "status"), "unknown"))
                                log_warning("the machine of %s has gone, or the provider knows it no more", hostname);
                        r = runner_db(runner, vm_missing(hostname), PATIENCE_MS, error);
                } else {
                        log_info("%s was named by a launch that was cut off before it was made: its row goes",
                                 hostname);
                        r = runner_db(runner, vm_unname(hostname, NULL), PATIENCE_MS, error);
                }
        }
        return r;
}

/* --- mending machines ------------------------------------------------------------------------------------------------ */

int renew_token(struct runner *runner, const char *hostname, char *token, struct error *error)
{
        char hash[TOKEN_HASH_LENGTH + 1];
        token_random(token);
        token_hash(token, hash);
        return runner_db(runner, vm_new_token(hostname, hash), PATIENCE_MS, error);
}

static int remake(struct runner *runner, const char *hostname, const struct provider_sink *sink, struct error *error)
{
        char token[TOKEN_LENGTH + 1];
        failpoint("reset.before-token");
        int r = renew_token(runner, hostname, token, error);
        failpoint("reset.token-renewed");
        if (r == 0)
                r = runner->ops->reset(runner->provider, hostname, token, sink, error);
        explicit_bzero(token, sizeof token);
        failpoint("reset.machine-fresh");
        return r < 0 ? r : runner_db(runner, vm_reset_done(hostname), PATIENCE_MS, error);
}

static int restart(struct runner *runner, const char *hostname, const struct provider_sink *sink, struct error *error)
{
        int r = runner_db(runner, vm_missing(hostname), PATIENCE_MS, error);
        return r < 0 ? r : runner->ops->start(runner->provider, hostname, sink, error);
}

static int mend_machine(struct runner *runner, const char *hostname, enum task_kind kind,
                        const struct provider_sink *sink, struct error *error)
{
        switch (kind) {
        case START:
                runner_say(runner, "%s: not running: starting it again", hostname);
                return restart(runner, hostname, sink, error);
        case RESET:
                runner_say(runner, "%s: released: making it fresh", hostname);
                return remake(runner, hostname, sink, error);
        case FINISH:
                runner_say(runner, "%s: only half made: making it again", hostname);
                return remake(runner, hostname, sink, error);
        case NOTHING:
                break;
        }
        return 0;
}

/* `failed` gets the names of those that could not be mended. */
static int mend_machines(struct runner *runner, const struct differences *d, size_t total, json_t *failed,
                         struct error *error)
{
        struct provider_sink sink = runner_sink(runner);
        size_t done = 0;
        for (size_t i = 0; i < d->vms.n; i++) {
                _cleanup_error_ struct error why = ERROR_NULL;
                const char *hostname = d->vms.vm[i].hostname;
                enum task_kind kind = task_now(d, &d->vms.vm[i]);
                if (kind == NOTHING)
                        continue;
                if (sink.cancelled(sink.userdata))
                        return error_set(error, -ECANCELED, "cancelled after %zu of %zu VMs", done, total);
                if (mend_machine(runner, hostname, kind, &sink, &why) < 0) {
                        runner_say(runner, "%s: %s", hostname, error_text(&why));
                        json_array_append_new(failed, json_string(hostname));
                }
                sink.progress(sink.userdata, (int)++done, (int)total);
        }
        size_t n = json_array_size(failed);
        return n ? error_set(error, -EIO, "%zu of %zu VMs could not be mended", n, total) : 0;
}

/* {"start": N, "reset": N, "finish": N, "vms": [...]} */
static json_t *what_to_mend(const struct differences *d)
{
        static const char *const names[] = {[START] = "start", [RESET] = "reset", [FINISH] = "finish"};
        json_int_t counts[ARRAY_SIZE(names)] = {0};
        json_t *vms = json_array();
        for (size_t i = 0; i < d->vms.n; i++) {
                enum task_kind kind = task_now(d, &d->vms.vm[i]);
                if (kind == NOTHING)
                        continue;
                counts[kind]++;
                json_array_append_new(vms, json_string(d->vms.vm[i].hostname));
        }
        json_t *arguments = json_pack("{s:o}", "vms", vms);
        for (size_t kind = START; kind < ARRAY_SIZE(names); kind++)
                json_object_set_new(arguments, names[kind], json_integer(counts[kind]));
        return arguments;
}

/* What failed is tried again, but ever more seldom: an operation a minute would bury what people did. */
static int leave_what_fails(struct runner *runner, struct differences *d, struct error *error)
{
        struct json_answer answer = {0};
        _cleanup_json_ json_t *arguments = what_to_mend(d);
        _cleanup_free_ char *names = json_text(json_object_get(arguments, "vms"));
        if (str_eq(names, "[]"))
                return 0;
        int r = runner_db(runner, reconcile_waits(names, &answer), PATIENCE_MS, error);
        d->wait = json_incref(json_object_get(answer.value, "wait"));
        json_decref(answer.value);
        return r;
}

/* An operation of its own, so that people see what happens. Somebody else's that waits for its runner goes first: then
 * *ret_ours stays false, and the next look comes soon. */
static int begin_operation(struct runner *runner, json_t *arguments, bool *ret_ours, struct error *error)
{
        struct operation_new made = {0};
        struct operation_taken taken = {0};
        _cleanup_free_ char *text = NULL;
        int r = runner_db(runner, operation_create("reconcile", arguments, &text, NULL, "lablink", &made), PATIENCE_MS,
                          error);
        bool started = r == 0 && made.outcome == OPERATION_STARTED;
        int64_t id = started ? (int64_t)json_integer_value(json_object_get(made.operation, "id")) : 0;
        json_decref(made.operation);
        if (started)
                r = runner_db(runner, operation_take(id, &taken), PATIENCE_MS, error);
        if (r == 0 && taken.taken) {
                *ret_ours = true;
                runner->operation = id;
                runner->epoch = taken.epoch;
        }
        operation_taken_clear(&taken);
        return r;
}

static int mend(struct runner *runner, struct differences *d, struct error *error)
{
        bool ours = false;
        int r = leave_what_fails(runner, d, error);
        _cleanup_json_ json_t *arguments = what_to_mend(d), *failed = json_array();
        size_t total = json_array_size(json_object_get(arguments, "vms"));
        if (r < 0 || total == 0)
                return r;
        r = begin_operation(runner, arguments, &ours, error);
        if (r < 0 || !ours)
                return r;
        failpoint("reset.operation-taken");
        int mended = mend_machines(runner, d, total, failed, error);
        return operation_finish(runner, mended, mended == -EIO ? json_pack("{s:O}", "failed", failed) : NULL, error);
}

/* --- once ------------------------------------------------------------------------------------------------------------ */

static int end_abandoned(struct runner *runner, enum operation_lanes lane, struct error *error)
{
        struct vm_list ended = {.array = json_array()};
        size_t index;
        json_t *operation;
        int r = runner_db(
                runner,
                operation_interrupt(
                        lane,
                        "Its runner ended before its work was done. What was made stays; start it again for the rest.",
                        QUEUED_FOR_EVER_MS, &ended),
                PATIENCE_MS, error);
        json_array_foreach (ended.array, index, operation)
                log_warning("operation %lld (%s) was interrupted: its runner is gone",
                            (long long)json_integer_value(json_object_get(operation, "id")),
                            json_get_string(operation, "kind"));
        json_decref(ended.array);
        return r;
}

/* A collection goes on beside us: only when nobody holds its locks is its runner gone. */
static int end_abandoned_collection(struct runner *runner, struct error *error)
{
        _cleanup_error_ struct error why = ERROR_NULL;
        int r = runner_lock(runner, OPERATION_FILES, 0, &why);
        if (r < 0)
                return r == -EWOULDBLOCK ? 0 : error_move(error, &why);
        r = end_abandoned(runner, OPERATION_FILES, error);
        runner_unlock_lane(runner, OPERATION_FILES);
        return r;
}

/* `r` is what looking gave, and what is returned when it is told. */
static int tell_provider(struct runner *runner, const struct differences *d, int r, struct error *error)
{
        if (r == 0)
                return note_provider(runner, d, NULL, error);
        if (d->orphans) /* the database may be what is away */
                note_provider(runner, d, error_text(error), NULL);
        return r;
}

static int reconcile(struct runner *runner, struct error *error)
{
        _cleanup_(differences_clear) struct differences d = {0};
        int r = end_abandoned(runner, OPERATION_MACHINES, error);
        if (r == 0)
                r = end_abandoned_collection(runner, error);
        if (r == 0)
                r = runner_open(runner, error);
        if (r == 0)
                r = look(runner, &d, error);
        r = runner->provider ? tell_provider(runner, &d, r, error) : r;
        if (r == 0)
                r = mend_rows(runner, &d, error);
        return r < 0 ? r : mend(runner, &d, error);
}

int reconcile_rows(struct runner *runner, struct error *error)
{
        _cleanup_(differences_clear) struct differences d = {0};
        _cleanup_error_ struct error why = ERROR_NULL;
        int r = look(runner, &d, &why);
        r = tell_provider(runner, &d, r, &why);
        if (r == 0)
                r = mend_rows(runner, &d, &why);
        error_move(error, &why);
        return r;
}

int run_reconcile(struct runner *runner)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        int r = runner_connect(runner, &error);
        if (r == 0)
                r = runner_lock(runner, OPERATION_MACHINES, 0, &error);
        if (r == -EWOULDBLOCK && runner_was_orphaned(runner)) {
                log_info("the runner has died, what it started goes on: waiting for its end");
                r = runner_lock(runner, OPERATION_MACHINES, ORPHANS_MS, &error);
        }
        if (r == 0)
                r = reconcile(runner, &error);
        if (r == -EWOULDBLOCK) /* a runner works: it, or the next look, sees what this one would have seen */
                return 0;
        if (r < 0)
                log_error("reconcile: %s", error_text(&error));
        return r < 0 ? 1 : 0;
}
