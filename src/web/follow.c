/*
 * Following an operation: as a page that is streamed while the runner writes, as server-sent events, or one look. The
 * state is read before the lines: once it says "ended", the lines that follow are the last.
 */
#include <stdio.h>
#include <string.h>

#include "base/ansi.h"
#include "base/clock.h"
#include "base/text.h"
#include "http/template.h"
#include "lab/settings.h"
#include "web/routes.h"

#define LINES_A_ROUND 500
#define BLANK_MS 20000
#define PENDING_MAX 65536

void follow_state_free(void *state)
{
        struct follow_state *s = state;
        watch_stop(&s->watch);
        json_decref(s->operation.value);
        json_decref(s->lines.array);
        json_decref(s->made.operation);
        json_decref(s->counts.value);
        json_decref(s->guard.value);
        json_decref(s->provider.value);
        json_decref(s->newest.array);
        json_decref(s->arguments);
        free(s->arguments_text);
}

static bool is_live(const json_t *operation)
{
        const char *state = json_get_string(operation, "state");
        return str_eq(state, "queued") || str_eq(state, "running");
}

/* For the template output-line: a coloured line is cut into pieces, whose classes are named by the colours' numbers. */
static void add_pieces(json_t *line)
{
        const char *at = json_get_string(line, "ansi");
        struct ansi_piece piece = {0};
        json_t *pieces = at ? json_array() : NULL;
        while (at && ansi_next(&at, &piece)) {
                _cleanup_buf_ struct buf class = BUF_NULL;
                for (const char *code = piece.codes; code < piece.codes + piece.codes_len; code++) {
                        size_t n = strspn(code, "0123456789");
                        buf_addf(&class, "%ssgr-%.*s", class.len ? " " : "", (int)n, code);
                        code += n;
                }
                json_array_append_new(
                        pieces, json_pack("{s:s, s:s%}", "class", buf_str(&class), "text", piece.text, piece.len));
        }
        if (pieces)
                json_object_set_new(line, "pieces", pieces);
}

static json_t *page_model(json_t *operation)
{
        json_t *copy = json_deep_copy(operation);
        _cleanup_free_ char *flag = xasprintf("state_%s", str_or(json_get_string(operation, "state"), "unknown"));
        json_object_set_new(copy, flag, json_true());
        json_object_set_new(copy, "live", json_boolean(is_live(operation)));
        return json_pack("{s:o}", "operation", copy);
}

/* --- the endless forms --------------------------------------------------------------------------------------------- */

static void put_line(struct task *t, json_t *line)
{
        struct follow_state *s = t->state;
        const char *text = str_or(json_get_string(line, "text"), "");
        const char *coloured = s->ansi ? json_get_string(line, "ansi") : NULL;
        char id[24];
        s->after = (int64_t)json_integer_value(json_object_get(line, "line"));
        snprintf(id, sizeof id, "%lld", (long long)s->after);
        if (s->form == FOLLOW_EVENTS) {
                stream_event(t, "line", id, str_or(coloured, text));
                return;
        }
        add_pieces(line);
        stream_template(t, "output-line", json_incref(line));
}

static void put_operation(struct task *t)
{
        struct follow_state *s = t->state;
        const char *state = str_or(json_get_string(s->operation.value, "state"), "");
        int64_t done = json_integer_value(json_object_get(json_object_get(s->operation.value, "progress"), "done"));
        if (s->form != FOLLOW_EVENTS || (str_eq(s->last_state, state) && done == s->last_done))
                return;
        _cleanup_free_ char *text = json_text(s->operation.value);
        stream_event(t, "operation", NULL, text);
        snprintf(s->last_state, sizeof s->last_state, "%s", state);
        s->last_done = done;
}

static int follow_end(struct task *t)
{
        struct follow_state *s = t->state;
        if (s->form == FOLLOW_EVENTS)
                stream_event(t, "end", NULL, "");
        else
                stream_template(t, "stream-foot", page_model(s->operation.value));
        return stream_end(t);
}

static int follow_look(struct task *t);

static int follow_wake(struct task *t)
{
        struct follow_state *s = t->state;
        if (!s->watch.fired)
                stream_puts(t, s->form == FOLLOW_EVENTS ? ": still here\n\n" : "<!-- still here -->");
        return follow_look(t);
}

static int follow_wait(struct task *t)
{
        struct follow_state *s = t->state;
        return watch_await(t, &s->watch, BLANK_MS, follow_wake);
}

static int follow_lines(struct task *t)
{
        struct follow_state *s = t->state;
        size_t index, n = json_array_size(s->lines.array);
        json_t *line;
        json_array_foreach (s->lines.array, index, line)
                put_line(t, line);
        put_operation(t);
        if (n == LINES_A_ROUND)
                return stream_await(t, PENDING_MAX, follow_look);
        if (!is_live(s->operation.value))
                return follow_end(t);
        return stream_await(t, PENDING_MAX, follow_wait);
}

static int follow_state_known(struct task *t)
{
        struct follow_state *s = t->state;
        json_array_clear(s->lines.array);
        return db_await(t, operation_lines(s->id, s->after, LINES_A_ROUND, &s->lines), follow_lines);
}

static int follow_look(struct task *t)
{
        struct follow_state *s = t->state;
        char id[24];
        snprintf(id, sizeof id, "%lld", (long long)s->id);
        watch_start(t->loop, &s->watch, OPERATION_CHANNEL, id);
        return db_await(t, operation_get(s->id, &s->operation), follow_state_known);
}

int follow_page(struct task *t, json_t *operation)
{
        struct follow_state *s = t->state;
        s->id = (int64_t)json_integer_value(json_object_get(operation, "id"));
        s->after = 0;
        s->form = FOLLOW_PAGE;
        if (!s->lines.array)
                s->lines.array = json_array();
        request_no_deadline(t);
        stream_begin(t, 200, "text/html; charset=utf-8");
        stream_template(t, "stream-head", page_model(operation));
        return follow_look(t);
}

/* --- one look ------------------------------------------------------------------------------------------------------ */

static int unknown_operation(struct task *t)
{
        return reply_error(t, 404, "unknown-operation", "No operation has this number.");
}

static int output_answer(struct task *t)
{
        struct follow_state *s = t->state;
        json_t *last = json_array_get(s->lines.array, json_array_size(s->lines.array) - 1);
        json_int_t number = last ? json_integer_value(json_object_get(last, "line")) : s->after;
        return reply_json(
                t, 200,
                json_pack("{s:O, s:I, s:O}", "lines", s->lines.array, "last", number, "operation", s->operation.value));
}

static int output_known(struct task *t)
{
        struct follow_state *s = t->state;
        if (!s->operation.value)
                return unknown_operation(t);
        if (!request_wants_events(t))
                return db_await(t, operation_lines(s->id, s->after, 10000, &s->lines), output_answer);
        s->form = FOLLOW_EVENTS;
        request_no_deadline(t);
        stream_begin(t, 200, "text/event-stream");
        return follow_look(t);
}

int operation_output(struct task *t)
{
        struct follow_state *s = t->state;
        const char *after = request_query(t, "after"), *ansi = request_query(t, "ansi");
        if (!after)
                after = request_header(t, "Last-Event-ID");
        if (parse_int(request_argument(t, "id"), 1, INT64_MAX, &s->id) < 0)
                return unknown_operation(t);
        if (after && parse_int(after, 0, INT64_MAX, &s->after) < 0)
                return reply_error(t, 422, "bad-number", "after must be the number of a line.");
        if (ansi && parse_bool(ansi, &s->ansi) < 0)
                return reply_error(t, 422, "wrong-type", "ansi must be yes or no.");
        s->lines.array = json_array();
        s->last_done = -1;
        return db_await(t, operation_get(s->id, &s->operation), output_known);
}

/* What an older operation asked for may have been done since; what the provider asks for is of now. */
static void add_repair(const struct follow_state *s, json_t *model)
{
        const json_t *newest = json_object_get(json_array_get(s->newest.array, 0), "id");
        bool is_newest = newest && json_equal(newest, json_object_get(s->operation.value, "id"));
        json_t *repair = repair_model(is_newest ? json_get_string(s->operation.value, "error") : NULL,
                                      json_get_string(s->provider.value, "hint"));
        if (repair)
                json_object_set_new(model, "repair", repair);
}

static int page_answer(struct task *t)
{
        struct follow_state *s = t->state;
        json_t *last = json_array_get(s->lines.array, json_array_size(s->lines.array) - 1);
        json_t *model = page_model(s->operation.value), *line;
        size_t index;
        if (!request_wants_json(t)) {
                json_array_foreach (s->lines.array, index, line)
                        add_pieces(line);
                add_repair(s, model);
        }
        json_object_set(model, "lines", s->lines.array);
        json_object_set_new(model, "last", json_integer(last ? json_integer_value(json_object_get(last, "line")) : 0));
        return reply_view(t, 200, "operation", model);
}

static int page_lines(struct task *t)
{
        struct follow_state *s = t->state;
        return db_await(t, operation_lines(s->id, 0, 10000, &s->lines), page_answer);
}

static int page_provider(struct task *t)
{
        struct follow_state *s = t->state;
        s->newest.array = json_array();
        return db_await(t, operation_list(1, &s->newest), page_lines);
}

static int page_known(struct task *t)
{
        struct follow_state *s = t->state;
        if (!s->operation.value)
                return unknown_operation(t);
        if (request_wants_json(t) || is_live(s->operation.value))
                return page_lines(t);
        return db_await(t, setting_get("provider", &s->provider), page_provider);
}

int operation_page(struct task *t)
{
        struct follow_state *s = t->state;
        if (parse_int(request_argument(t, "id"), 1, INT64_MAX, &s->id) < 0)
                return unknown_operation(t);
        s->lines.array = json_array();
        return db_await(t, operation_get(s->id, &s->operation), page_known);
}
