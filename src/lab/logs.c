/*
 * Intake and reading of log lines. A VM's PIN is masked in the statement itself, where the row is at hand; values after
 * --code are masked before, because they may be of a seat that is gone.
 */
#include "lab/logs.h"

#include <string.h>

#include "base/ansi.h"
#include "base/text.h"
#include "lab/participant.h"
#include "lab/sql.h"
#include "lab/vm.h"

/* What a line takes beside its text, nearly: the same in migration 0002. */
#define LINE_OVERHEAD 64
#define LINE_BYTES "(octet_length(l.message) + 64)"

static int decode_stored(const struct db_row *row, void *receiver, struct error *error _unused_)
{
        struct log_answer *answer = receiver;
        answer->found = true;
        answer->last = db_int(row, 1);
        return 0;
}

static const struct db_statement logs_statement = {
        .name = "logs_append",
        // clang-format off
        .sql = "with item as ("
               "   select * from jsonb_to_recordset($1::jsonb)"
               "       as i(ord int, hostname text, messages jsonb, batch_id text, bytes bigint)),"
               " vm as materialized ("
               "   select v.id, v.hostname, v.pin, i.ord, i.messages, i.batch_id, i.bytes"
               "     from vms v join item i on i.hostname = v.hostname),"
               " fresh as ("
               "   insert into vm_log_batches (vm_id, batch_id)"
               "   select id, batch_id from vm where batch_id is not null order by id"
               "   on conflict do nothing returning vm_id),"
               " taken as ("
               "   select vm.* from vm where batch_id is null or exists (select 1 from fresh f where f.vm_id = vm.id)),"
               " head as ("
               "   insert into vm_log_heads as h (vm_id, last_line, bytes)"
               "   select id, jsonb_array_length(messages), bytes from taken order by id"
               "   on conflict (vm_id) do update set last_line = h.last_line + excluded.last_line,"
               "       bytes = h.bytes + excluded.bytes"
               "   returning vm_id, last_line),"
               " line as ("
               "   insert into vm_log_lines (vm_id, line, message)"
               "   select t.id, h.last_line - jsonb_array_length(t.messages) + m.n,"
               "       case when t.pin is null or position(t.pin in m.message) = 0 then m.message"
               "            else regexp_replace(m.message, '\\m' || t.pin || '\\M', '******', 'g') end"
               "     from taken t join head h on h.vm_id = t.id"
               "     cross join lateral jsonb_array_elements_text(t.messages) with ordinality as m(message, n)),"
               " seen as ("
               "   insert into vm_presence (vm_id) select id from vm order by id"
               "   on conflict (vm_id) do update set last_seen = now())"
               " select vm.ord, coalesce(h.last_line, (select o.last_line from vm_log_heads o where o.vm_id = vm.id), 0)"
               "   from vm left join head h on h.vm_id = vm.id",
        // clang-format on
        .rows = DB_MANY,
        .decode = decode_stored,
};

const struct batch_kind logs_kind = {.statement = &logs_statement, .items_max = 64};

/* What is meant for a terminal goes before secrets are looked for: a colour in its middle would hide one. */
static void clean_text(const char *text, size_t len, struct buf *out)
{
        for (const char *end = text + len, *next; text <= end; text = next + 1) {
                next = memchr(text, '\n', (size_t)(end - text));
                if (!next)
                        next = end;
                ansi_strip(text, (size_t)(next - text), out);
                if (next < end)
                        buf_addc(out, '\n');
        }
}

/* Nearly every line is clean as it came. */
static bool is_clean(const char *text, size_t len)
{
        return len > 0 && len <= LOG_LINE_MAX && str_plain(text, len) && !strstr(text, "--code");
}

static json_t *clean_line(json_t *message)
{
        _cleanup_buf_ struct buf line = BUF_NULL;
        size_t len = json_string_length(message);
        if (is_clean(json_string_value(message), len))
                return json_incref(message);
        clean_text(json_string_value(message), utf8_cut(json_string_value(message), len, LOG_LINE_MAX), &line);
        if (len > LOG_LINE_MAX)
                buf_addf(&line, " ... (%zu bytes cut)", len - LOG_LINE_MAX);
        while (line.len && (line.data[line.len - 1] == '\n' || line.data[line.len - 1] == '\r'))
                buf_truncate(&line, line.len - 1);
        if (line.data)
                mask_codes(line.data);
        return json_string(buf_str(&line));
}

json_t *logs_item(const char *hostname, const json_t *messages, const char *batch_id)
{
        json_t *lines = json_array();
        size_t index;
        json_t *message;
        json_int_t bytes = 0;
        json_array_foreach (messages, index, message) {
                json_t *line = clean_line(message);
                bytes += (json_int_t)json_string_length(line) + LINE_OVERHEAD;
                json_array_append_new(lines, line);
        }
        json_t *item = json_pack("{s:s, s:o, s:I}", "hostname", hostname, "messages", lines, "bytes", bytes);
        if (batch_id)
                json_object_set_new(item, "batch_id", json_string(batch_id));
        return item;
}

static int decode_line(const struct db_row *row, void *receiver, struct error *error _unused_)
{
        struct log_text *text = receiver;
        text->last = db_int(row, 0);
        buf_adds(&text->text, db_text(row, 1));
        buf_addc(&text->text, '\n');
        return 0;
}

/* However long the lines are, a piece of a log is small: more than one of the longest, far less than 10,000 of them. */
#define PIECE_BYTES "2097152"
#define BYTES(order) "sum(octet_length(l.message)) over (order by " order " rows unbounded preceding)"

struct db_query logs_tail(const char *hostname, int64_t tail, struct log_text *ret)
{
        static const struct db_statement statement = {
                .name = "logs_tail",
                // clang-format off
                .sql = "select line, message from ("
                       "   select l.line, l.message, " BYTES("l.line desc") " as bytes from vm_log_lines l"
                       "    where l.vm_id = (select id from vms where hostname = $1) order by l.line desc limit $2) t"
                       " where bytes <= " PIECE_BYTES " order by line",
                // clang-format on
                .rows = DB_MANY,
                .decode = decode_line,
        };
        return db_query(&statement, ret, DB_TEXT(hostname), DB_INT(tail));
}

struct db_query logs_after(const char *hostname, int64_t after, int64_t limit, struct log_text *ret)
{
        static const struct db_statement statement = {
                .name = "logs_after",
                // clang-format off
                .sql = "select line, message from ("
                       "   select l.line, l.message, " BYTES("l.line") " as bytes from vm_log_lines l"
                       "    where l.vm_id = (select id from vms where hostname = $1) and l.line > $2"
                       "    order by l.line limit $3) t"
                       " where bytes <= " PIECE_BYTES " order by line",
                // clang-format on
                .rows = DB_MANY,
                .decode = decode_line,
        };
        return db_query(&statement, ret, DB_TEXT(hostname), DB_INT(after), DB_INT(limit));
}

/* From `old (vm_id, line)`: the lines go, and their VMs' heads are told, locked in the order in which intake locks them. */
#define WENT \
        " held as materialized (" \
        "   select h.vm_id from vm_log_heads h where h.vm_id in (select vm_id from old)" \
        "    order by h.vm_id for no key update)," \
        " went as (" \
        "   delete from vm_log_lines l using old o join held on held.vm_id = o.vm_id" \
        "    where l.vm_id = o.vm_id and l.line = o.line returning l.vm_id, " LINE_BYTES " as bytes)," \
        " told as (" \
        "   update vm_log_heads h set bytes = greatest(0, h.bytes - g.bytes)" \
        "     from (select vm_id, sum(bytes) as bytes from went group by vm_id) g where h.vm_id = g.vm_id)" \
        " select count(*) from went"

struct db_query logs_expire(double seconds, int64_t limit, struct count_answer *ret)
{
        static const struct db_statement statement = {
                .name = "logs_expire",
                // clang-format off
                .sql = "with old as ("
                       "   select vm_id, line from vm_log_lines where at < now() - make_interval(secs => $1) limit $2),"
                       " batch as ("
                       "   delete from vm_log_batches where at < now() - make_interval(secs => $1)),"
                       WENT,
                // clang-format on
                .rows = DB_ONE,
                .decode = answer_count,
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_DOUBLE(seconds), DB_INT(limit));
}

/* Those VMs that hold the most give up their oldest lines, none more than an eighth of what it has at once, and none that
 * has less than its share: so a VM that talks without end loses its own lines, not those of others. */
#define SHRINK_VMS "16"

struct db_query logs_shrink(int64_t bytes, int64_t limit, struct count_answer *ret)
{
        static const struct db_statement statement = {
                .name = "logs_shrink",
                // clang-format off
                .sql = "with surplus as ("
                       "   select sum(bytes) - $1::bigint as bytes, $1::bigint / greatest(count(*), 1) as share"
                       "     from vm_log_heads where bytes > 0),"
                       " most as ("
                       "   select h.vm_id, least(s.bytes / " SHRINK_VMS ", h.bytes / 8) as give from vm_log_heads h, surplus s"
                       "    where s.bytes > 0 and h.bytes > s.share order by h.bytes desc limit " SHRINK_VMS "),"
                       " old as ("
                       "   select m.vm_id, o.line from most m cross join lateral ("
                       "       select l.line, sum(" LINE_BYTES ") over (order by l.line rows unbounded preceding)"
                       "           - " LINE_BYTES " as before"
                       "         from vm_log_lines l where l.vm_id = m.vm_id order by l.line limit $2 / " SHRINK_VMS ") o"
                       "    where o.before <= m.give),"
                       WENT,
                // clang-format on
                .rows = DB_ONE,
                .decode = answer_count,
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_INT(bytes), DB_INT(limit));
}
