/*
 * The claim. It locks the person's own seat if there is one, else the oldest claimable VM that nobody else is claiming
 * at this moment (SKIP LOCKED), and gives one row always: the seat, or whether asking again makes sense because
 * claimable ones are only locked by others.
 */
#include "lab/seat.h"

#include <stdio.h>

#include "lab/sql.h"

void seat_deinit(struct seat *seat)
{
        free(seat->email);
        free(seat->command);
        *seat = (struct seat){0};
}

static int decode_seat(const struct db_row *row, void *receiver, struct error *error _unused_)
{
        struct seat *seat = receiver;
        seat_deinit(seat);
        seat->more = db_bool(row, 8);
        seat->found = !db_null(row, 0);
        if (!seat->found)
                return 0;
        snprintf(seat->hostname, sizeof seat->hostname, "%s", db_text(row, 0));
        seat->email = xstrdup(db_text(row, 1));
        seat->command = xstrdup(db_text(row, 2));
        snprintf(seat->pin, sizeof seat->pin, "%s", db_null(row, 3) ? "" : db_text(row, 3));
        seat->generation = db_int(row, 4);
        seat->returning = db_bool(row, 5);
        snprintf(seat->status, sizeof seat->status, "%s", db_text(row, 6));
        seat->unhealthy = db_bool(row, 7);
        return 0;
}

struct db_query seat_claim(const char *email, const char *command, const char *pin, struct seat *ret)
{
        static const struct db_statement statement = {
                .name = "seat_claim",
                // clang-format off
                .sql = "with mine as materialized ("
                       "   select id from vms where email = $1 for no key update),"
                       " pick as materialized ("
                       "   select v.id from vms v left join vm_presence p on p.vm_id = v.id"
                       "    where not exists (select 1 from mine) and " CLAIMABLE("v", "p")
                       "    order by v.created_at, v.id limit 1 for no key update of v skip locked),"
                       " chosen as ("
                       "   select id, true as returning from mine union all select id, false from pick),"
                       " held as ("
                       "   update vms v set email = $1, crd_command = $2,"
                       "       pin = case when c.returning then v.pin else $3 end,"
                       "       assigned_at = case when c.returning then v.assigned_at else now() end,"
                       "       generation = v.generation + (v.crd_command is distinct from $2)::int"
                       "     from chosen c where v.id = c.id"
                       "     returning v.hostname, v.email, v.crd_command, v.pin, v.generation, c.returning,"
                       "       " SHOWN("v") " as status, v.healthy is false as unhealthy)"
                       " select h.*, h.hostname is null and exists ("
                       "     select 1 from vms v left join vm_presence p on p.vm_id = v.id where " CLAIMABLE("v", "p") ")"
                       "   from (select 1) one left join held h on true",
                // clang-format on
                .rows = DB_ONE,
                .decode = decode_seat,
                .retry = "23505",
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_TEXT(email), DB_TEXT(command), DB_TEXT(pin));
}

struct db_query seat_assignment(const char *hostname, const char *token_hash, struct seat *ret)
{
        static const struct db_statement statement = {
                .name = "seat_assignment",
                // clang-format off
                .sql = "select hostname, email, crd_command, pin, generation, false, " SHOWN("v") ", healthy is false, false"
                       "  from vms v where hostname = $1 and token_hash is not distinct from $2",
                // clang-format on
                .rows = DB_MAYBE,
                .decode = decode_seat,
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_TEXT(hostname), DB_TEXT(token_hash));
}

static int decode_release(const struct db_row *row, void *receiver, struct error *error _unused_)
{
        ((struct release_answer *)receiver)->outcome = (enum release_outcome)db_int(row, 0);
        return 0;
}

struct db_query seat_release(const char *hostname, const char *who, const char *request_key, struct release_answer *ret)
{
        /* The numbers are those of enum release_outcome. */
        static const struct db_statement statement = {
                .name = "seat_release",
                // clang-format off
                .sql = "with held as (select id from vms where hostname = $1::text"
                       "   and (email is not null or status = 'error' and not needs_reset) for no key update),"
                       " repeated as (select 1 from audit where request_key = $3),"
                       " noted as ("
                       "   insert into audit (who, action, detail, request_key)"
                       "   select $2, 'release', jsonb_build_object('hostname', $1::text), $3 from held"
                       "    where not exists (select 1 from repeated)"
                       "   on conflict (request_key) do nothing returning 1),"
                       " freed as ("
                       "   update vms v set email = null, crd_command = null, pin = null, assigned_at = null,"
                       "       generation = v.generation + 1, needs_reset = true, in_use = false"
                       "    from held, noted where v.id = held.id returning 1)"
                       " select case when exists (select 1 from freed) then 0"
                       "             when exists (select 1 from repeated) then 1"
                       "             when exists (select 1 from vms where hostname = $1::text) then 2 else 3 end",
                // clang-format on
                .rows = DB_ONE,
                .decode = decode_release,
        };
        return db_query(&statement, ret, DB_TEXT(hostname), DB_TEXT(who), DB_TEXT(request_key));
}
