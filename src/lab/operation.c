/*
 * The statements of operations. "One at a time on machines, one on files" are partial unique indexes; asking for a second
 * one gives the one that runs, and asking with the key of an earlier one gives that one again.
 */
#include "lab/operation.h"

#include <string.h>

#include "base/ansi.h"
#include "lab/sql.h"

// clang-format off
#define OPERATION_COLUMNS(o) \
        o ".id, " o ".kind, " o ".state, " o ".arguments," \
        " jsonb_build_object('done', " o ".progress_done, 'total', " o ".progress_total," \
        "     'text', " o ".progress_text) as progress, " \
        o ".result, " o ".error, " o ".requested_by, " o ".cancel_requested, " \
        ISO(o ".created_at") " as created_at, " \
        ISO(o ".started_at") " as started_at, " \
        ISO(o ".ended_at") " as ended_at, " \
        o ".last_line, '/api/operations/' || " o ".id as url, '/admin/operations/' || " o ".id as page"
// clang-format on

unsigned operation_lanes(const char *kind)
{
        if (strcmp(kind, "collect") == 0 || strcmp(kind, "discard") == 0)
                return OPERATION_FILES;
        return strcmp(kind, "destroy") == 0 ? OPERATION_MACHINES | OPERATION_FILES : OPERATION_MACHINES;
}

static int decode_new(const struct db_row *row, void *receiver, struct error *error _unused_)
{
        struct operation_new *made = receiver;
        json_decref(made->operation);
        made->operation = db_object(row);
        const char *outcome = json_get_string(made->operation, "outcome");
        made->outcome = strcmp(outcome, "started") == 0    ? OPERATION_STARTED
                        : strcmp(outcome, "repeated") == 0 ? OPERATION_REPEATED
                                                           : OPERATION_BUSY;
        json_object_del(made->operation, "outcome");
        return 0;
}

struct db_query operation_create(const char *kind, json_t *arguments_borrowed, char **arguments_text,
                                 const char *request_key, const char *requested_by, struct operation_new *ret)
{
        static const struct db_statement statement = {
                .name = "operation_create",
                // clang-format off
                .sql = "with same as (select * from operations where request_key = $3),"
                       " busy as (select * from operations where (mutating and $5 or collecting and $6)"
                       "   and state in ('queued', 'running') order by id limit 1),"
                       " made as ("
                       "   insert into operations (kind, arguments, request_key, requested_by, mutating, collecting)"
                       "   select $1, $2::jsonb, $3, $4, $5, $6"
                       "    where not exists (select 1 from same) and not exists (select 1 from busy)"
                       "   returning *)"
                       " select 'started' as outcome, " OPERATION_COLUMNS("m") " from made m"
                       " union all select 'repeated', " OPERATION_COLUMNS("s") " from same s"
                       " union all select 'busy', " OPERATION_COLUMNS("b") " from busy b where not exists (select 1 from same)",
                // clang-format on
                .rows = DB_ONE,
                .decode = decode_new,
                .retry = "23505",
        };
        *arguments_text = json_text(arguments_borrowed);
        return db_query(&statement, ret, DB_TEXT(kind), DB_TEXT(*arguments_text), DB_TEXT(request_key),
                        DB_TEXT(requested_by), DB_BOOL((operation_lanes(kind) & OPERATION_MACHINES) != 0),
                        DB_BOOL((operation_lanes(kind) & OPERATION_FILES) != 0));
}

struct db_query operation_of_key(const char *request_key, struct operation_new *ret)
{
        static const struct db_statement statement = {
                .name = "operation_of_key",
                .sql = "select 'repeated' as outcome, " OPERATION_COLUMNS(
                        "o") " from operations o where o.request_key = $1",
                .rows = DB_MAYBE,
                .decode = decode_new,
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_TEXT(request_key));
}

struct db_query operation_get(int64_t id, struct json_answer *ret)
{
        static const struct db_statement statement = {
                .name = "operation_get",
                .sql = "select " OPERATION_COLUMNS("o") " from operations o where o.id = $1",
                .rows = DB_MAYBE,
                .decode = answer_object,
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_INT(id));
}

struct db_query operation_list(int64_t limit, struct vm_list *ret)
{
        static const struct db_statement statement = {
                .name = "operation_list",
                .sql = "select " OPERATION_COLUMNS("o") " from operations o order by o.id desc limit $1",
                .rows = DB_MANY,
                .decode = answer_append,
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_INT(limit));
}

struct db_query operation_current(struct json_answer *ret)
{
        static const struct db_statement statement = {
                .name = "operation_current",
                // clang-format off
                .sql = "select " OPERATION_COLUMNS("o") " from operations o where o.mutating and o.state in ('queued', 'running')",
                // clang-format on
                .rows = DB_MAYBE,
                .decode = answer_object,
                .idempotent = true,
        };
        return db_query_none(&statement, ret);
}

struct db_query operation_collecting(struct json_answer *ret)
{
        static const struct db_statement statement = {
                .name = "operation_collecting",
                // clang-format off
                .sql = "select " OPERATION_COLUMNS("o") " from operations o where o.collecting and o.state in ('queued', 'running')",
                // clang-format on
                .rows = DB_MAYBE,
                .decode = answer_object,
                .idempotent = true,
        };
        return db_query_none(&statement, ret);
}

/* A line holds no other sequences than colours: the text is without them, `ansi` with them where there are some. Older
 * versions wrote lines as they came, so here they are cleaned, too. */
static int append_line(const struct db_row *row, void *receiver, struct error *error _unused_)
{
        _cleanup_buf_ struct buf plain = BUF_NULL, coloured = BUF_NULL;
        json_t *line = db_object(row);
        const char *text = json_get_string(line, "text");
        json_array_append_new(((struct vm_list *)receiver)->array, line);
        if (!strchr(text, '\033'))
                return 0;
        ansi_colours(text, strlen(text), &coloured);
        ansi_strip(text, strlen(text), &plain);
        if (coloured.len > plain.len)
                json_object_set_new(line, "ansi", json_string(buf_str(&coloured)));
        json_object_set_new(line, "text", json_string(buf_str(&plain)));
        return 0;
}

struct db_query operation_lines(int64_t id, int64_t after, int64_t limit, struct vm_list *ret)
{
        static const struct db_statement statement = {
                .name = "operation_lines",
                // clang-format off
                .sql = "select l.line, " ISO("l.at") " as at, l.message as text from operation_lines l"
                       " where l.operation_id = $1 and l.line > $2 order by l.line limit $3",
                // clang-format on
                .rows = DB_MANY,
                .decode = append_line,
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_INT(id), DB_INT(after), DB_INT(limit));
}

struct db_query operation_cancel(int64_t id, struct json_answer *ret)
{
        static const struct db_statement statement = {
                .name = "operation_cancel",
                // clang-format off
                .sql = "with asked as ("
                       "   update operations set cancel_requested = true,"
                       "       state = case when state = 'queued' then 'cancelled' else state end,"
                       "       ended_at = case when state = 'queued' then now() else ended_at end"
                       "    where id = $1 and state in ('queued', 'running') returning *)"
                       " select " OPERATION_COLUMNS("a") " from asked a"
                       " union all select " OPERATION_COLUMNS("o") " from operations o where o.id = $1 and not exists (select 1 from asked)",
                // clang-format on
                .rows = DB_MAYBE,
                .decode = answer_object,
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_INT(id));
}

void operation_taken_clear(struct operation_taken *taken)
{
        free(taken->kind);
        free(taken->requested_by);
        json_decref(taken->arguments);
        *taken = (struct operation_taken){0};
}

static int decode_taken(const struct db_row *row, void *receiver, struct error *error)
{
        struct operation_taken *taken = receiver;
        operation_taken_clear(taken);
        taken->taken = true;
        taken->epoch = db_int(row, 0);
        taken->kind = xstrdup(db_text(row, 1));
        taken->arguments = json_read(db_text(row, 2), strlen(db_text(row, 2)), error);
        taken->requested_by = xstrdup(db_text(row, 3));
        return taken->arguments ? 0 : error->code;
}

struct db_query operation_take(int64_t id, struct operation_taken *ret)
{
        static const struct db_statement statement = {
                .name = "operation_take",
                .sql = "update operations set state = 'running', epoch = epoch + 1, started_at = now()"
                       " where id = $1 and state = 'queued' returning epoch, kind, arguments, requested_by",
                .rows = DB_MAYBE,
                .decode = decode_taken,
        };
        return db_query(&statement, ret, DB_INT(id));
}

struct db_query operation_append(int64_t id, int64_t epoch, const char *lines, struct flag_answer *ret)
{
        static const struct db_statement statement = {
                .name = "operation_append",
                // clang-format off
                .sql = "with ours as ("
                       "   update operations set last_line = last_line + jsonb_array_length($3::jsonb)"
                       "    where id = $1 and epoch = $2 and state = 'running' returning id, last_line),"
                       " added as ("
                       "   insert into operation_lines (operation_id, line, message)"
                       "   select o.id, o.last_line - jsonb_array_length($3::jsonb) + m.n, m.text from ours o"
                       "     cross join lateral jsonb_array_elements_text($3::jsonb) with ordinality as m(text, n))"
                       " select exists (select 1 from ours)",
                // clang-format on
                .rows = DB_ONE,
                .decode = answer_flag,
        };
        return db_query(&statement, ret, DB_INT(id), DB_INT(epoch), DB_TEXT(lines));
}

struct db_query operation_progress(int64_t id, int64_t epoch, int64_t done, int64_t total, struct flag_answer *ret)
{
        static const struct db_statement statement = {
                .name = "operation_progress",
                // clang-format off
                .sql = "with ours as ("
                       "   update operations set progress_done = $3, progress_total = $4"
                       "    where id = $1 and epoch = $2 and state = 'running' returning 1)"
                       " select exists (select 1 from ours)",
                // clang-format on
                .rows = DB_ONE,
                .decode = answer_flag,
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_INT(id), DB_INT(epoch), DB_INT(done), DB_INT(total));
}

struct db_query operation_asked_to_stop(int64_t id, int64_t epoch, struct flag_answer *ret)
{
        static const struct db_statement statement = {
                .name = "operation_asked_to_stop",
                // clang-format off
                .sql = "select not exists ("
                       "   select 1 from operations where id = $1 and epoch = $2 and state = 'running' and not cancel_requested)",
                // clang-format on
                .rows = DB_ONE,
                .decode = answer_flag,
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_INT(id), DB_INT(epoch));
}

struct db_query operation_end(int64_t id, int64_t epoch, const char *state, const char *error_text, const char *result,
                              struct flag_answer *ret)
{
        static const struct db_statement statement = {
                .name = "operation_end",
                // clang-format off
                .sql = "with ours as ("
                       "   update operations set state = $3, error = $4, result = $5::jsonb, ended_at = now()"
                       "    where id = $1 and epoch = $2 and state = 'running' returning 1)"
                       " select exists (select 1 from ours)",
                // clang-format on
                .rows = DB_ONE,
                .decode = answer_flag,
        };
        return db_query(&statement, ret, DB_INT(id), DB_INT(epoch), DB_TEXT(state), DB_TEXT(error_text),
                        DB_TEXT(result));
}

struct db_query operation_interrupt(enum operation_lanes lane, const char *hint, int64_t age_ms, struct vm_list *ret)
{
        static const struct db_statement statement = {
                .name = "operation_interrupt",
                // clang-format off
                .sql = "update operations set state = 'interrupted', ended_at = now(), error = $1"
                       " where mutating = $3::boolean and (mutating or collecting) and (state = 'running' or"
                       "       state = 'queued' and created_at < now() - make_interval(secs => $2::float8 / 1000.0))"
                       " returning id, kind",
                // clang-format on
                .rows = DB_MANY,
                .decode = answer_append,
        };
        return db_query(&statement, ret, DB_TEXT(hint), DB_INT(age_ms), DB_BOOL(lane == OPERATION_MACHINES));
}

struct db_query history_expire(double seconds, int64_t limit, struct count_answer *ret)
{
        static const struct db_statement statement = {
                .name = "history_expire",
                // clang-format off
                .sql = "with operations_gone as (delete from operations where id in ("
                       "     select id from operations where state not in ('queued', 'running')"
                       "        and coalesce(ended_at, created_at) < now() - make_interval(secs => $1) order by id limit $2) returning 1),"
                       " audit_gone as (delete from audit where id in ("
                       "     select id from audit where at < now() - make_interval(secs => $1) order by id limit $2) returning 1)"
                       " select (select count(*) from operations_gone) + (select count(*) from audit_gone)",
                // clang-format on
                .rows = DB_ONE,
                .decode = answer_count,
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_DOUBLE(seconds), DB_INT(limit));
}

struct db_query reconcile_waits(const char *names, struct json_answer *ret)
{
        static const struct db_statement statement = {
                .name = "reconcile_waits",
                // clang-format off
                .sql = "with last as ("
                       "   select id, state, arguments -> 'vms' as vms, result -> 'failed' as failed, ended_at from operations"
                       "    where kind = 'reconcile' and state not in ('queued', 'running') and " HERE("operations")
                       "    order by id desc limit 200),"
                       " tries as ("
                       "   select name, state, ended_at, state <> 'done' and coalesce(failed ? name, true) as again,"
                       "          row_number() over (partition by name order by id desc) as n"
                       "     from jsonb_array_elements_text($1::jsonb) as name join last on vms ? name),"
                       " failures as ("
                       "   select name, least(6, coalesce(min(n) filter (where not again) - 1, count(*))) as n from tries group by name)"
                       " select coalesce(jsonb_agg(f.name), '[]') as wait"
                       "  from failures f join tries t on t.name = f.name and t.n = 1"
                       " cross join lateral (select f.n - (t.state = 'interrupted')::int as n) as counted"
                       " where counted.n > 0 and now() < t.ended_at + make_interval(secs => least(900, 5 * 4 ^ (counted.n - 1)))",
                // clang-format on
                .rows = DB_ONE,
                .decode = answer_object,
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_TEXT(names));
}

struct db_query operation_waiting(int64_t age_ms, struct vm_list *ret)
{
        static const struct db_statement statement = {
                .name = "operation_waiting",
                // clang-format off
                .sql = "select id, kind from operations"
                       " where state = 'queued' and " HERE("operations") " and created_at < now() - make_interval(secs => $1::float8 / 1000.0)"
                       " order by id",
                // clang-format on
                .rows = DB_MANY,
                .decode = answer_append,
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_INT(age_ms));
}
