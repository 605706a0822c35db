/*
 * Starting, listing and cancelling operations. The row is the operation: it is committed before the supervisor is told
 * to start its runner, and whoever asks with the same one-time key gets the one that it started.
 */
#include <errno.h>
#include <string.h>

#include "base/failpoint.h"
#include "base/text.h"
#include "lab/collection.h"
#include "web/routes.h"

#define MENDING_TRIES 50
#define MENDING_PAUSE_MS 100

void operation_state_free(void *state)
{
        struct operation_state *s = state;
        json_decref(s->operation.value);
        json_decref(s->list.array);
}

static bool read_id(struct task *t, int64_t *ret)
{
        return parse_int(request_argument(t, "id"), 1, INT64_MAX, ret) == 0;
}

static int unknown_operation(struct task *t)
{
        return reply_error(t, 404, "unknown-operation", "No operation has this number.");
}

/* --- start --------------------------------------------------------------------------------------------------------- */

int web_busy(struct task *t, json_t *operation)
{
        const char *kind = json_get_string(operation, "kind"), *page = json_get_string(operation, "page");
        _cleanup_free_ char *sentence = xasprintf(
                "A %s is running (operation %lld). Wait for its end, or cancel it at %s.", str_or(kind, "operation"),
                (long long)json_integer_value(json_object_get(operation, "id")), str_or(page, "/admin/operations"));
        if (!request_wants_json(t))
                return reply_error(t, 409, "operation-running", "%s", sentence);
        return reply_json(
                t, 409,
                json_pack("{s:s, s:s, s:O}", "error", sentence, "code", "operation-running", "operation", operation));
}

static int create(struct task *t);

/* What the lab mends by itself takes a moment: nobody has to be told to come again for that. */
static bool waits_for_mending(struct follow_state *s)
{
        return s->made.outcome == OPERATION_BUSY && s->tries++ < MENDING_TRIES &&
               str_eq(json_get_string(s->made.operation, "kind"), "reconcile");
}

static int created(struct task *t)
{
        struct follow_state *s = t->state;
        json_t *operation = s->made.operation;
        if (waits_for_mending(s))
                return sleep_await(t, MENDING_PAUSE_MS, create);
        if (s->made.outcome == OPERATION_BUSY)
                return web_busy(t, operation);
        if (s->made.outcome == OPERATION_STARTED) {
                failpoint("operation.before-kick");
                web_kick(web_of(t), (int64_t)json_integer_value(json_object_get(operation, "id")));
                failpoint("operation.before-answer");
        }
        if (!request_wants_json(t))
                return follow_page(t, operation);
        reply_header(t, "Location", json_get_string(operation, "url"));
        return reply_json(t, 202, json_pack("{s:O}", "operation", operation));
}

static int create(struct task *t)
{
        struct follow_state *s = t->state;
        free(STEAL(s->arguments_text));
        return db_await(t,
                        operation_create(s->kind, s->arguments, &s->arguments_text, web_request_key(t),
                                         str_or(web_user(t), "admin"), &s->made),
                        created);
}

/* Takes the arguments over. */
static int start(struct task *t, const char *kind, json_t *arguments)
{
        struct follow_state *s = t->state;
        s->kind = kind;
        s->arguments = arguments;
        return create(t);
}

/* A whole number from the form or the JSON body. 0, -ENOENT (missing), -EINVAL. */
static int read_count(struct task *t, int64_t *ret)
{
        const json_t *member = json_object_get(request_json(t), "num_vms");
        const char *text = request_field(t, "num_vms");
        if (json_is_integer(member)) {
                *ret = (int64_t)json_integer_value(member);
                return 0;
        }
        if (!text || !*text)
                return member && !json_is_null(member) ? -EINVAL : -ENOENT;
        _cleanup_free_ char *trimmed = str_trim(xstrdup(text));
        return parse_int(trimmed, INT64_MIN / 2, INT64_MAX / 2, ret) < 0 ? -EINVAL : 0;
}

static int64_t vms_now(const struct follow_state *s)
{
        return (int64_t)json_integer_value(json_object_get(s->counts.value, "total"));
}

/* Over the limit, but perhaps only because this very launch has happened already. */
static int launch_over_limit(struct task *t)
{
        struct follow_state *s = t->state;
        long long asked = (long long)s->after, total = (long long)vms_now(s) + asked;
        if (s->made.operation)
                return created(t);
        return reply_error(t, 422, "too-many-vms",
                           "%lld more would make %lld VMs; the limit is %lld (provider.vms_max in the configuration).",
                           asked, total, (long long)web_of(t)->config->provider.vms_max);
}

static int launch_counted(struct task *t)
{
        struct follow_state *s = t->state;
        if (vms_now(s) + s->after > web_of(t)->config->provider.vms_max)
                return db_await(t, operation_of_key(str_or(web_request_key(t), ""), &s->made), launch_over_limit);
        return start(t, "launch", json_pack("{s:I}", "num_vms", (json_int_t)s->after));
}

int launch_start(struct task *t)
{
        struct follow_state *s = t->state;
        int64_t max = web_of(t)->config->provider.vms_max;
        int r = read_count(t, &s->after);
        if (r == -ENOENT)
                return reply_error(t, 400, "missing-field", "Please say how many VMs to launch (num_vms).");
        if (r < 0 || s->after <= 0)
                return reply_error(t, 422, "bad-number", "num_vms must be a whole number, 1 or more.");
        if (s->after > max)
                return reply_error(t, 422, "too-many-vms",
                                   "At most %lld VMs are allowed (provider.vms_max in the configuration).",
                                   (long long)max);
        return db_await(t, vm_counts(&s->counts), launch_counted);
}

/* --- destroy: not by mistake, while files may be lost -------------------------------------------------------------- */

static bool says(struct task *t, const char *name)
{
        const char *word = request_field(t, name);
        bool yes = false;
        return json_is_true(json_object_get(request_json(t), name)) || (word && parse_bool(word, &yes) == 0 && yes);
}

static int destroy_collection(struct task *t)
{
        struct follow_state *s = t->state;
        return start(t, "destroy",
                     json_pack("{s:b, s:I}", "collect", 1, "collection", (json_int_t)s->collection.count));
}

/* Why files may be lost, as a sentence; NULL: none can be, as far as anybody knows. */
static char *loss_of(const json_t *files)
{
        long long never = json_integer_value(json_object_get(files, "uncollected"));
        long long fresh = json_integer_value(json_object_get(json_object_get(files, "look"), "new_files"));
        long long stale = json_integer_value(json_object_get(files, "stale"));
        if (never > 0)
                return xasprintf("The files on %lld participants' VMs were never collected.", never);
        if (fresh > 0)
                return xasprintf("%lld file%s newer than what was collected.", fresh, fresh == 1 ? " is" : "s are");
        if (stale > 0)
                return xasprintf("Nobody has looked for ten minutes whether %lld participants' VMs have newer files "
                                 "than were collected.",
                                 stale);
        return NULL;
}

static int uncollected(struct task *t, const char *loss)
{
        struct follow_state *s = t->state;
        _cleanup_free_ char *sentence = xasprintf("%s Collect them first (collect), or say yes to lose them.", loss);
        if (!request_wants_json(t))
                return reply_error(t, 409, "uncollected-files", "%s", sentence);
        return reply_json(
                t, 409,
                json_pack("{s:s, s:s, s:O}", "error", sentence, "code", "uncollected-files", "files", s->guard.value));
}

/* A form without a key is a deployed dashboard's or curl's, which know of no such question. */
static int destroy_guarded(struct task *t)
{
        struct follow_state *s = t->state;
        bool asked = request_json(t) || request_field(t, "_key");
        _cleanup_free_ char *loss = loss_of(s->guard.value);
        if (says(t, "collect")) {
                _cleanup_json_ json_t *list = json_pack("{s:[s]}", "extensions", web_of(t)->config->machine.extension);
                free(STEAL(s->arguments_text));
                s->arguments_text = json_text(list);
                return db_await(t, collection_take(s->arguments_text, &s->collection), destroy_collection);
        }
        if (asked && loss && !says(t, "yes"))
                return uncollected(t, loss);
        return start(t, "destroy", json_object());
}

int destroy_start(struct task *t)
{
        struct follow_state *s = t->state;
        return db_await(t, collection_guard(&s->guard), destroy_guarded);
}

/* After an apply that was cut off; the provider says what each does. */
int repair_start(struct task *t)
{
        const char *member = json_get_string(request_json(t), "action");
        const char *action = member ? member : request_field(t, "action");
        if (!action || !*action)
                return reply_error(t, 400, "missing-field",
                                   "Please say what to do (action): refresh, retry or unlock.");
        for (size_t i = 0; i < REPAIR_ACTIONS; i++)
                if (str_eq(action, repair_actions[i]))
                        return start(t, "repair", json_pack("{s:s}", "action", action));
        return reply_error(t, 422, "bad-action", "action must be refresh, retry or unlock.");
}

/* --- look ---------------------------------------------------------------------------------------------------------- */

static void add_state_flag(json_t *operation)
{
        _cleanup_free_ char *flag = xasprintf("state_%s", str_or(json_get_string(operation, "state"), "unknown"));
        json_object_set_new(operation, flag, json_true());
}

static int list_answer(struct task *t)
{
        struct operation_state *s = t->state;
        size_t index;
        json_t *operation;
        if (!request_wants_json(t))
                json_array_foreach (s->list.array, index, operation)
                        add_state_flag(operation);
        return reply_view(t, 200, "operations", json_pack("{s:O}", "operations", s->list.array));
}

int operations_list(struct task *t)
{
        struct operation_state *s = t->state;
        s->list.array = json_array();
        return db_await(t, operation_list(100, &s->list), list_answer);
}

static int show_answer(struct task *t)
{
        struct operation_state *s = t->state;
        if (!s->operation.value)
                return unknown_operation(t);
        return reply_json(t, 200, json_pack("{s:O}", "operation", s->operation.value));
}

int operation_show(struct task *t)
{
        struct operation_state *s = t->state;
        if (!read_id(t, &s->id))
                return unknown_operation(t);
        return db_await(t, operation_get(s->id, &s->operation), show_answer);
}

/* --- cancel -------------------------------------------------------------------------------------------------------- */

static int stop_answer(struct task *t)
{
        struct operation_state *s = t->state;
        if (!s->operation.value)
                return unknown_operation(t);
        if (!request_wants_json(t))
                return reply_redirect(t, json_get_string(s->operation.value, "page"));
        if (!json_is_true(json_object_get(s->operation.value, "cancel_requested")))
                return reply_error(t, 409, "operation-ended", "Operation %lld has ended already.", (long long)s->id);
        return reply_json(t, 202, json_pack("{s:O}", "operation", s->operation.value));
}

int operation_stop(struct task *t)
{
        struct operation_state *s = t->state;
        if (!read_id(t, &s->id))
                return unknown_operation(t);
        return db_await(t, operation_cancel(s->id, &s->operation), stop_answer);
}
