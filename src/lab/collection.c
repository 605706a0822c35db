/* The statements of collections. */
#include "lab/collection.h"

#include "lab/sql.h"

// clang-format off
#define COLLECTION_COLUMNS(c) \
        c ".id, " c ".selection, " c ".open, " ISO(c ".created_at") " as created_at, " \
        ISO(c ".collected_at") " as collected_at, " c ".list, " c ".files, " c ".bytes," \
        " (select count(*) from collection_vms m where m.collection_id = " c ".id) as vms," \
        " (select count(*) from collection_vms m where m.collection_id = " c ".id and m.state = 'failed') as failed," \
        " '/admin/collections/' || " c ".id as page, '/api/collections/' || " c ".id as url," \
        " '/api/collections/' || " c ".id || '/archive' as archive"
// clang-format on

struct db_query collection_take(const char *selection, struct count_answer *ret)
{
        static const struct db_statement statement = {
                .name = "collection_take",
                // clang-format off
                .sql = "with there as ("
                       "   select id from collections c where open and selection = $1::jsonb and " HERE("c")
                       "    order by id desc limit 1),"
                       " made as ("
                       "   insert into collections (selection) select $1::jsonb where not exists (select 1 from there)"
                       "   returning id)"
                       " select id from there union all select id from made",
                // clang-format on
                .rows = DB_ONE,
                .decode = answer_count,
                .retry = "23505",
        };
        return db_query(&statement, ret, DB_TEXT(selection));
}

struct db_query collection_targets(struct vm_list *ret)
{
        static const struct db_statement statement = {
                .name = "collection_targets",
                // clang-format off
                .sql = "select v.hostname, v.id as vm_id, v.email from vms v"
                       " where v.launched and not v.needs_reset and " HERE("v") " order by v.created_at, v.id",
                // clang-format on
                .rows = DB_MANY,
                .decode = answer_append,
                .idempotent = true,
        };
        return db_query_none(&statement, ret);
}

struct db_query collection_seats(int64_t id, struct vm_list *ret)
{
        static const struct db_statement statement = {
                .name = "collection_seats",
                // clang-format off
                .sql = "select m.folder, m.hostname, m.vm_id, m.email, m.state, m.step, m.reason, m.files, m.bytes,"
                       "       m.fresh_files, m.fresh_bytes, " ISO("m.asked_at") " as asked_at,"
                       "       " ISO("m.collected_at") " as collected_at"
                       "  from collection_vms m where m.collection_id = $1 order by m.folder",
                // clang-format on
                .rows = DB_MANY,
                .decode = answer_append,
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_INT(id));
}

struct db_query collection_seat_put(int64_t id, const struct collection_seat *seat)
{
        static const struct db_statement statement = {
                .name = "collection_seat_put",
                // clang-format off
                .sql = "insert into collection_vms as m (collection_id, folder, hostname, vm_id, email, state, step, reason,"
                       "   files, bytes, fresh_files, fresh_bytes, asked_at, collected_at)"
                       " values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, now(),"
                       "   case when $6 = 'done' then now() end)"
                       " on conflict (collection_id, folder) do update set email = excluded.email, state = excluded.state,"
                       "   step = excluded.step, reason = excluded.reason, files = excluded.files, bytes = excluded.bytes,"
                       "   fresh_files = excluded.fresh_files, fresh_bytes = excluded.fresh_bytes, asked_at = excluded.asked_at,"
                       "   collected_at = coalesce(excluded.collected_at, m.collected_at)",
                // clang-format on
                .rows = DB_NO_ROWS,
                .idempotent = true,
        };
        return db_query(&statement, NULL, DB_INT(id), DB_TEXT(seat->folder), DB_TEXT(seat->hostname),
                        DB_INT(seat->vm_id), DB_TEXT(seat->email), DB_TEXT(seat->state), DB_TEXT(seat->step),
                        DB_TEXT(seat->reason), DB_INT(seat->files), DB_INT(seat->bytes), DB_INT(seat->fresh_files),
                        DB_INT(seat->fresh_bytes));
}

struct db_query collection_listed(int64_t id, int64_t list, int64_t files, int64_t bytes)
{
        static const struct db_statement statement = {
                .name = "collection_listed",
                .sql = "update collections set list = $2, files = $3, bytes = $4, collected_at = now() where id = $1",
                .rows = DB_NO_ROWS,
                .idempotent = true,
        };
        return db_query(&statement, NULL, DB_INT(id), DB_INT(list), DB_INT(files), DB_INT(bytes));
}

struct db_query collection_close_all(void)
{
        static const struct db_statement statement = {
                .name = "collection_close_all",
                .sql = "update collections c set open = false where open and " HERE("c"),
                .rows = DB_NO_ROWS,
                .idempotent = true,
        };
        return db_query_none(&statement, NULL);
}

struct db_query collection_forget(int64_t id)
{
        static const struct db_statement statement = {
                .name = "collection_forget",
                .sql = "delete from collections where id = $1",
                .rows = DB_NO_ROWS,
                .idempotent = true,
        };
        return db_query(&statement, NULL, DB_INT(id));
}

struct db_query collection_list(int64_t limit, struct vm_list *ret)
{
        static const struct db_statement statement = {
                .name = "collection_list",
                .sql = "select " COLLECTION_COLUMNS("c") " from collections c order by c.id desc limit $1",
                .rows = DB_MANY,
                .decode = answer_append,
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_INT(limit));
}

struct db_query collection_get(int64_t id, struct json_answer *ret)
{
        static const struct db_statement statement = {
                .name = "collection_get",
                .sql = "select " COLLECTION_COLUMNS("c") " from collections c where c.id = $1",
                .rows = DB_MAYBE,
                .decode = answer_object,
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_INT(id));
}

struct db_query collection_find(const char *selection, struct json_answer *ret)
{
        static const struct db_statement statement = {
                .name = "collection_find",
                // clang-format off
                .sql = "select " COLLECTION_COLUMNS("c") " from collections c"
                       " where c.open and c.selection = $1::jsonb and " HERE("c") " order by c.id desc limit 1",
                // clang-format on
                .rows = DB_MAYBE,
                .decode = answer_object,
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_TEXT(selection));
}

/* So long after a look at them the files count as unknown again. */
#define STALE "10 minutes"

struct db_query collection_guard(struct json_answer *ret)
{
        static const struct db_statement statement = {
                .name = "collection_guard",
                // clang-format off
                .sql = "with held as ("
                       "   select v.id, (select max(m.collected_at) from collection_vms m"
                       "                  where m.vm_id = v.id and m.hostname = v.hostname and m.email = v.email) as at"
                       "     from vms v where v.launched and v.email is not null and " HERE("v") "),"
                       " look as (select value, (value->>'at')::timestamptz as at from settings where key = 'files_look')"
                       " select count(*) as vms, count(*) filter (where h.at is null) as uncollected,"
                       "        count(*) filter (where greatest(h.at, l.at) < now() - interval '" STALE "') as stale, "
                       ISO("max(h.at)") " as collected_at, " ISO("min(h.at)") " as oldest_at,"
                       "        (select value from look where at > coalesce(max(h.at), '-infinity')) as look"
                       "   from held h left join look l on true",
                // clang-format on
                .rows = DB_ONE,
                .decode = answer_object,
                .idempotent = true,
        };
        return db_query_none(&statement, ret);
}
