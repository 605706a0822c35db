/* Collections as pages and as JSON: the list, one with a row a VM, starting to collect or to look, deleting. */
#include "web/collections.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"

#define LOOK_TRIES 50
#define LOOK_PAUSE_MS 100

void collections_state_free(void *state)
{
        struct collections_state *s = state;
        selection_clear(&s->selection);
        json_decref(s->list.array);
        json_decref(s->seats.array);
        json_decref(s->row.value);
        json_decref(s->operation.value);
        json_decref(s->guard.value);
        json_decref(s->look.value);
        json_decref(s->made.operation);
        json_decref(s->arguments);
        free(s->selection_text);
        free(s->arguments_text);
}

int unknown_collection(struct task *t)
{
        return reply_error(t, 404, "unknown-collection", "No collection has this number.");
}

/* --- what is asked for --------------------------------------------------------------------------------------------- */

/* "slp, csv" as a list; NULL for nothing. */
static json_t *words(const char *text)
{
        if (!text)
                return NULL;
        json_t *list = json_array();
        _cleanup_strv_ char **parts = str_split(text, ',');
        for (char **part = parts; *part; part++) {
                const char *word = str_trim(*part);
                if (*word)
                        json_array_append_new(list, json_string(word));
        }
        return list;
}

static json_t *selection_of(const char *extension, const char *directory, const char *everything, const char *vm)
{
        bool all = false;
        json_t *wishes = json_object(), *extensions = words(extension), *vms = words(vm);
        if (extensions)
                json_object_set_new(wishes, "extensions", extensions);
        if (directory)
                json_object_set_new(wishes, "directory", json_string(directory));
        if (everything && parse_bool(everything, &all) == 0)
                json_object_set_new(wishes, "everything", json_boolean(all));
        if (vms)
                json_object_set_new(wishes, "vms", vms);
        return wishes;
}

json_t *selection_query(struct task *t)
{
        return selection_of(request_query(t, "extension"), request_query(t, "directory"),
                            request_query(t, "everything"), request_query(t, "vm"));
}

json_t *selection_body(struct task *t)
{
        const json_t *body = request_json(t);
        if (!body || json_object_get(body, "extension"))
                return selection_of(request_field(t, "extension"), request_field(t, "directory"),
                                    request_field(t, "everything"), request_field(t, "vm"));
        json_t *wishes = json_object();
        static const char *const names[] = {"extensions", "directory", "everything", "vms"};
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (json_object_get(body, names[i]))
                        json_object_set(wishes, names[i], json_object_get(body, names[i]));
        return wishes;
}

/* --- looking ------------------------------------------------------------------------------------------------------- */

static char *bytes_text(const json_t *value)
{
        static const char *const units[] = {"bytes", "KB", "MB", "GB", "TB"};
        double bytes = json_number_value(value);
        size_t unit = 0;
        for (; bytes >= 1000 && unit + 1 < ARRAY_SIZE(units); unit++)
                bytes /= 1000;
        return xasprintf(unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
}

/* What only a page needs. */
static void add_words(json_t *row)
{
        _cleanup_free_ char *size = bytes_text(json_object_get(row, "bytes"));
        _cleanup_free_ char *fresh = bytes_text(json_object_get(row, "fresh_bytes"));
        json_object_set_new(row, "size_text", json_string(size));
        json_object_set_new(row, "fresh_text", json_string(fresh));
        const json_t *selection = json_object_get(row, "selection");
        if (!selection)
                return;
        _cleanup_free_ char *plain = json_text(selection);
        const char *directory = json_get_string(selection, "directory");
        _cleanup_buf_ struct buf what = BUF_NULL;
        size_t index;
        json_t *one;
        if (json_is_true(json_object_get(selection, "everything")))
                buf_adds(&what, "everything");
        else if (directory)
                buf_adds(&what, directory);
        json_array_foreach (json_object_get(selection, "extensions"), index, one)
                buf_addf(&what, "%s.%s", index ? ", " : "", str_or(json_string_value(one), ""));
        json_array_foreach (json_object_get(selection, "vms"), index, one)
                buf_addf(&what, "%s%s", index ? ", " : " of ", str_or(json_string_value(one), ""));
        json_object_set_new(row, "what", json_string(buf_str(&what)));
}

static json_t *with_words(json_t *array)
{
        size_t index;
        json_t *row;
        json_array_foreach (array, index, row)
                add_words(row);
        return array;
}

static int list_answer(struct task *t)
{
        struct collections_state *s = t->state;
        if (request_wants_json(t))
                return reply_json(t, 200, json_pack("{s:O}", "collections", s->list.array));
        return reply_page(t, 200, "collections",
                          json_pack("{s:O, s:s, s:O?}", "collections", with_words(s->list.array), "extension",
                                    web_of(t)->config->machine.extension, "operation", s->operation.value));
}

static int list_operation(struct task *t)
{
        struct collections_state *s = t->state;
        return db_await(t, operation_collecting(&s->operation), list_answer);
}

int collections_list(struct task *t)
{
        struct collections_state *s = t->state;
        s->list.array = json_array();
        return db_await(t, collection_list(100, &s->list), list_operation);
}

/* Who is at work on this very collection. */
static json_t *its_operation(const struct collections_state *s)
{
        const json_t *arguments = json_object_get(s->operation.value, "arguments");
        return json_integer_value(json_object_get(arguments, "collection")) == s->id ? s->operation.value : NULL;
}

static int show_answer(struct task *t)
{
        struct collections_state *s = t->state;
        if (!s->row.value)
                return unknown_collection(t);
        json_t *operation = its_operation(s);
        if (!request_wants_json(t)) {
                add_words(s->row.value);
                with_words(s->seats.array);
        }
        return reply_view(t, 200, "collection",
                          json_pack("{s:O, s:O, s:O?}", "collection", s->row.value, "vms", s->seats.array, "operation",
                                    operation));
}

static int show_operation(struct task *t)
{
        struct collections_state *s = t->state;
        return db_await(t, operation_collecting(&s->operation), show_answer);
}

static int show_seats(struct task *t)
{
        struct collections_state *s = t->state;
        return db_await(t, collection_seats(s->id, &s->seats), show_operation);
}

int collection_show(struct task *t)
{
        struct collections_state *s = t->state;
        if (parse_int(request_argument(t, "id"), 1, INT64_MAX, &s->id) < 0)
                return unknown_collection(t);
        s->seats.array = json_array();
        return db_await(t, collection_get(s->id, &s->row), show_seats);
}

/* --- starting ------------------------------------------------------------------------------------------------------ */

static int create(struct task *t);

static bool is_look(const json_t *operation)
{
        return json_is_true(json_object_get(json_object_get(operation, "arguments"), "look"));
}

/* Who asks for what is being done gets the one that does it. */
static bool joins(const struct collections_state *s)
{
        const json_t *operation = s->made.operation, *arguments = json_object_get(operation, "arguments");
        return str_eq(s->kind, "collect") && str_eq(json_get_string(operation, "kind"), "collect") &&
               json_integer_value(json_object_get(arguments, "collection")) == s->id &&
               is_look(operation) == json_is_true(json_object_get(s->arguments, "look"));
}

static int created(struct task *t)
{
        struct collections_state *s = t->state;
        json_t *operation = s->made.operation;
        if (s->made.outcome == OPERATION_BUSY && !joins(s)) {
                if (is_look(operation) && s->tries++ < LOOK_TRIES)
                        return sleep_await(t, LOOK_PAUSE_MS, create);
                return web_busy(t, operation);
        }
        if (s->made.outcome == OPERATION_STARTED)
                web_kick(web_of(t), (int64_t)json_integer_value(json_object_get(operation, "id")));
        if (!request_wants_json(t)) {
                _cleanup_free_ char *page = xasprintf("/admin/collections/%lld", (long long)s->id);
                bool own = str_eq(s->kind, "collect") && !is_look(operation);
                return reply_redirect(t, own ? page : json_get_string(operation, "page"));
        }
        reply_header(t, "Location", json_get_string(operation, "url"));
        return reply_json(t, 202, json_pack("{s:O, s:I}", "operation", operation, "collection", (json_int_t)s->id));
}

static int create(struct task *t)
{
        struct collections_state *s = t->state;
        free(STEAL(s->arguments_text));
        return db_await(t,
                        operation_create(s->kind, s->arguments, &s->arguments_text, web_request_key(t),
                                         str_or(web_user(t), "admin"), &s->made),
                        created);
}

static bool wants_look(struct task *t)
{
        bool yes = false;
        const char *word = request_field(t, "look");
        return json_is_true(json_object_get(request_json(t), "look")) || (word && parse_bool(word, &yes) == 0 && yes);
}

static int start_taken(struct task *t)
{
        struct collections_state *s = t->state;
        s->id = s->taken.count;
        s->kind = "collect";
        s->arguments = json_pack("{s:I}", "collection", (json_int_t)s->id);
        if (wants_look(t))
                json_object_set_new(s->arguments, "look", json_true());
        return create(t);
}

int collection_start(struct task *t)
{
        struct collections_state *s = t->state;
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_json_ json_t *wishes = selection_body(t);
        if (selection_read(wishes, web_of(t)->config, &s->selection, &error) < 0)
                return reply_error(t, 422, "bad-selection", "%s.", error_text(&error));
        s->selection_text = selection_text(&s->selection);
        return db_await(t, collection_take(s->selection_text, &s->taken), start_taken);
}

/* --- deleting ------------------------------------------------------------------------------------------------------ */

static int delete_known(struct task *t)
{
        struct collections_state *s = t->state;
        if (!s->row.value)
                return unknown_collection(t);
        s->kind = "discard";
        s->arguments = json_pack("{s:I}", "collection", (json_int_t)s->id);
        return create(t);
}

int collection_delete(struct task *t)
{
        struct collections_state *s = t->state;
        if (parse_int(request_argument(t, "id"), 1, INT64_MAX, &s->id) < 0)
                return unknown_collection(t);
        return db_await(t, collection_get(s->id, &s->row), delete_known);
}
