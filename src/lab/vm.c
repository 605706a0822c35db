/*
 * Every statement about VM rows as a whole. `status` as shown to people is computed in one place (SHOWN): a held seat
 * whose machine runs is "assigned".
 */
#include "lab/vm.h"

#include <stdio.h>
#include <string.h>

#include "lab/sql.h"

static void read_brief(const struct db_row *row, int first, struct vm_brief *brief)
{
        brief->found = true;
        snprintf(brief->status, sizeof brief->status, "%s", db_text(row, first));
        brief->has_token = !db_null(row, first + 1);
        snprintf(brief->token_hash, sizeof brief->token_hash, "%s", brief->has_token ? db_text(row, first + 1) : "");
        brief->has_logs = db_bool(row, first + 2);
        brief->held = db_bool(row, first + 3);
}

static int decode_brief(const struct db_row *row, void *receiver, struct error *error _unused_)
{
        read_brief(row, 0, receiver);
        return 0;
}

static int decode_brief_of_many(const struct db_row *row, void *receiver, struct error *error _unused_)
{
        read_brief(row, 1, receiver);
        return 0;
}

// clang-format off
#define BRIEF SHOWN("v") ", v.token_hash," \
        " exists (select 1 from vm_log_heads h where h.vm_id = v.id), v.email is not null"
// clang-format on

struct db_query vm_brief(const char *hostname, struct vm_brief *ret)
{
        static const struct db_statement statement = {
                .name = "vm_brief",
                .sql = "select " BRIEF " from vms v where v.hostname = $1",
                .rows = DB_MAYBE,
                .decode = decode_brief,
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_TEXT(hostname));
}

static const struct db_statement briefs_statement = {
        .name = "vm_briefs",
        .sql = "select i.ord, " BRIEF " from jsonb_to_recordset($1::jsonb) as i(ord int, hostname text)"
               "  join vms v on v.hostname = i.hostname",
        .rows = DB_MANY,
        .decode = decode_brief_of_many,
        .idempotent = true,
};

const struct batch_kind brief_kind = {.statement = &briefs_statement};

json_t *brief_item(const char *hostname)
{
        return json_pack("{s:s}", "hostname", hostname);
}

struct db_query vm_statuses(struct vm_list *ret)
{
        static const struct db_statement statement = {
                .name = "vm_statuses",
                .sql = "select v.hostname, " SHOWN("v") " as status from vms v order by v.created_at, v.id",
                .rows = DB_MANY,
                .decode = answer_append,
                .idempotent = true,
        };
        return db_query_none(&statement, ret);
}

struct db_query vm_rows(const char *hostname, struct vm_list *ret)
{
        static const struct db_statement statement = {
                .name = "vm_rows",
                .sql = "select " VM_COLUMNS " from vms v left join vm_presence p on p.vm_id = v.id"
                       " where $1::text is null or v.hostname = $1 order by v.created_at, v.id",
                .rows = DB_MANY,
                .decode = answer_append,
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_TEXT(hostname));
}

struct db_query vm_page(int64_t after, int64_t limit, struct vm_list *ret)
{
        static const struct db_statement statement = {
                .name = "vm_page",
                .sql = "select " VM_COLUMNS " from vms v left join vm_presence p on p.vm_id = v.id"
                       " where v.id > $1 order by v.id limit $2",
                .rows = DB_MANY,
                .decode = answer_append,
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_INT(after), DB_INT(limit));
}

struct db_query vm_changes(const char *horizon, struct vm_list *ret)
{
        static const struct db_statement statement = {
                .name = "vm_changes",
                // clang-format off
                .sql = "select to_jsonb(r) as row from ("
                       "   select false as gone, " VM_COLUMNS " from vms v left join vm_presence p on p.vm_id = v.id"
                       "    where v.changed_xid >= $1::xid8) r"
                       " union all"
                       " select jsonb_build_object('gone', true, 'hostname', t.hostname) from retired_hostnames t"
                       "  where t.changed_xid >= $1::xid8 and not exists (select 1 from vms v where v.hostname = t.hostname)",
                // clang-format on
                .rows = DB_MANY,
                .decode = answer_append,
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_TEXT(horizon));
}

struct db_query vm_horizon(struct text_answer *ret)
{
        static const struct db_statement statement = {
                .name = "vm_horizon",
                .sql = "select pg_snapshot_xmin(pg_current_snapshot())::text",
                .rows = DB_ONE,
                .decode = answer_text,
                .idempotent = true,
        };
        return db_query_none(&statement, ret);
}

static int decode_claimable(const struct db_row *row, void *receiver, struct error *error _unused_)
{
        ((struct count_answer *)receiver)->count = db_int(row, 1);
        return 0;
}

static const struct db_statement claimable_statement = {
        .name = "vm_claimable",
        // clang-format off
        .sql = "select i.ord, c.n from jsonb_to_recordset($1::jsonb) as i(ord int), ("
               "   select count(*) as n from vms v left join vm_presence p on p.vm_id = v.id"
               "    where " CLAIMABLE("v", "p") ") c",
        // clang-format on
        .rows = DB_MANY,
        .decode = decode_claimable,
        .idempotent = true,
};

const struct batch_kind claimable_kind = {.statement = &claimable_statement, .items_max = 4096};

struct db_query vm_counts(struct json_answer *ret)
{
        static const struct db_statement statement = {
                .name = "vm_counts",
                // clang-format off
                .sql = "select count(*) as total,"
                       "       count(*) filter (where " CLAIMABLE("v", "p") ") as claimable,"
                       "       count(*) filter (where v.email is not null) as assigned,"
                       "       count(*) filter (where v.status = 'initializing') as initializing,"
                       "       count(*) filter (where v.status = 'error') as error,"
                       "       count(*) filter (where v.status = 'unknown') as unknown"
                       "  from vms v left join vm_presence p on p.vm_id = v.id",
                // clang-format on
                .rows = DB_ONE,
                .decode = answer_object,
                .idempotent = true,
        };
        return db_query_none(&statement, ret);
}

struct db_query vm_introduce(const char *hostname, struct flag_answer *ret)
{
        static const struct db_statement statement = {
                .name = "vm_introduce",
                // clang-format off
                .sql = "with made as ("
                       "   insert into vms (hostname, status) select $1::text, 'initializing'"
                       "    where not exists (select 1 from retired_hostnames where hostname = $1::text)"
                       "   on conflict (hostname) do nothing)"
                       " select not exists (select 1 from retired_hostnames where hostname = $1::text)",
                // clang-format on
                .rows = DB_ONE,
                .decode = answer_flag,
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_TEXT(hostname));
}

struct db_query vm_silence(void)
{
        static const struct db_statement statement = {
                .name = "vm_silence",
                // clang-format off
                .sql = "update vms v set status = 'unknown' from ("
                       "   select v.id from vms v join vm_presence p on p.vm_id = v.id"
                       "    where v.status <> 'unknown' and p.heartbeat_at is not null"
                       "      and p.last_seen < now() - interval '" SILENCE_SECONDS " seconds'"
                       "    order by v.hostname for no key update of v skip locked) s"
                       " where v.id = s.id",
                // clang-format on
                .rows = DB_NO_ROWS,
                .idempotent = true,
        };
        return db_query_none(&statement, NULL);
}

struct db_query vm_inventory(struct vm_list *ret)
{
        static const struct db_statement statement = {
                .name = "vm_inventory",
                // clang-format off
                .sql = "select v.hostname, v.status, v.needs_reset, v.launched, v.email is not null as held,"
                       "       not v.launched or " HERE("v") " as here,"
                       "       exists (select 1 from vm_presence p where p.vm_id = v.id) as seen,"
                       "       v.terraform_timing_end is not null as timed"
                       "  from vms v order by v.created_at, v.id",
                // clang-format on
                .rows = DB_MANY,
                .decode = answer_append,
                .idempotent = true,
        };
        return db_query_none(&statement, ret);
}

struct db_query vm_name(const char *hostname, const char *token_hash, struct flag_answer *ret)
{
        static const struct db_statement statement = {
                .name = "vm_name",
                // clang-format off
                .sql = "with forgotten as (delete from retired_hostnames where hostname = $1),"
                       " made as ("
                       "   insert into vms (hostname, status, token_hash, launched) values ($1, 'initializing', $2, true)"
                       "   on conflict (hostname) do nothing returning 1)"
                       /* ... or by this very statement, whose answer was lost when it ran before */
                       " select exists (select 1 from made)"
                       "     or exists (select 1 from vms where hostname = $1 and token_hash = $2)",
                // clang-format on
                .rows = DB_ONE,
                .decode = answer_flag,
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_TEXT(hostname), DB_TEXT(token_hash));
}

#define MADE_SECONDS "round(($3::float8 - $2::float8)::numeric, 3)"

struct db_query vm_made(const char *hostname, double started, double ended)
{
        static const struct db_statement statement = {
                .name = "vm_made",
                // clang-format off
                .sql = "update vms set terraform_timing_start = to_timestamp($2), terraform_timing_end = to_timestamp($3),"
                       "       terraform_timing_seconds = " MADE_SECONDS ","
                       "       total_startup_time_seconds = " TOTAL_TIME("metrics", MADE_SECONDS)
                       " where hostname = $1",
                // clang-format on
                .rows = DB_NO_ROWS,
                .idempotent = true,
        };
        return db_query(&statement, NULL, DB_TEXT(hostname), DB_DOUBLE(started), DB_DOUBLE(ended));
}

struct db_query vm_unname(const char *hostname, const char *token_hash)
{
        static const struct db_statement statement = {
                .name = "vm_unname",
                .sql = "delete from vms where hostname = $1 and email is null and ($2::text is null or token_hash = $2)",
                .rows = DB_NO_ROWS,
                .idempotent = true,
        };
        return db_query(&statement, NULL, DB_TEXT(hostname), DB_TEXT(token_hash));
}

struct db_query vm_retire(const char *hostname, struct vm_list *ret)
{
        static const struct db_statement statement = {
                .name = "vm_retire",
                // clang-format off
                .sql = "with went as ("
                       "   delete from vms v where $1::text is null and (not v.launched or " HERE("v") ") or hostname = $1"
                       "   returning hostname, launched),"
                       " kept as ("
                       "   insert into retired_hostnames (hostname) select hostname from went"
                       "   on conflict (hostname) do update set retired_at = now(), changed_xid = pg_current_xact_id())"
                       " select hostname, launched from went order by hostname",
                // clang-format on
                .rows = DB_MANY,
                .decode = answer_append,
        };
        return db_query(&statement, ret, DB_TEXT(hostname));
}

struct db_query vm_missing(const char *hostname)
{
        static const struct db_statement statement = {
                .name = "vm_missing",
                .sql = "update vms set status = 'unknown', in_use = false where hostname = $1 and status <> 'unknown'",
                .rows = DB_NO_ROWS,
                .idempotent = true,
        };
        return db_query(&statement, NULL, DB_TEXT(hostname));
}

struct db_query vm_new_token(const char *hostname, const char *token_hash)
{
        static const struct db_statement statement = {
                .name = "vm_new_token",
                // clang-format off
                .sql = "with silent as ("
                       "   update vm_presence set heartbeat_at = null, boot_id = null, carried_generation = null, uptime_seconds = null"
                       "    where vm_id = (select id from vms where hostname = $1))"
                       " update vms set token_hash = $2, status = 'initializing', reported_status = null, in_use = false,"
                       "       metrics = '{}', total_startup_time_seconds = null"
                       "  where hostname = $1",
                // clang-format on
                .rows = DB_NO_ROWS,
                .idempotent = true,
        };
        return db_query(&statement, NULL, DB_TEXT(hostname), DB_TEXT(token_hash));
}

struct db_query vm_reset_done(const char *hostname)
{
        static const struct db_statement statement = {
                .name = "vm_reset_done",
                .sql = "update vms set needs_reset = false where hostname = $1",
                .rows = DB_NO_ROWS,
                .idempotent = true,
        };
        return db_query(&statement, NULL, DB_TEXT(hostname));
}
