/*
 * The claim. It locks each person's own seat if there is one, else gives out the oldest claimable VMs that nobody else is
 * claiming at this moment (SKIP LOCKED), and gives one row a person always: the seat, or whether asking again makes sense
 * because claimable ones are only locked by others. Claims that arrive together are one statement: a commit that notifies
 * lets no other commit beside it, so a rush of single ones would wait for the disk one after the other.
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

/* Column 0 is the number in a batch. */
static int decode_seat(const struct db_row *row, void *receiver, struct error *error _unused_)
{
        struct seat *seat = receiver;
        seat_deinit(seat);
        seat->more = db_bool(row, 9);
        seat->found = !db_null(row, 1);
        snprintf(seat->asker, sizeof seat->asker, "%s", db_null(row, 10) ? "" : db_text(row, 10));
        if (!seat->found)
                return 0;
        snprintf(seat->hostname, sizeof seat->hostname, "%s", db_text(row, 1));
        seat->email = xstrdup(db_text(row, 2));
        seat->command = xstrdup(db_text(row, 3));
        snprintf(seat->pin, sizeof seat->pin, "%s", db_null(row, 4) ? "" : db_text(row, 4));
        seat->generation = db_int(row, 5);
        seat->returning = db_bool(row, 6);
        snprintf(seat->status, sizeof seat->status, "%s", db_text(row, 7));
        seat->unhealthy = db_bool(row, 8);
        return 0;
}

// clang-format off
/* The person's command stays: none came, or it is not known yet whether they are the one whose seat this is. */
#define KEPT "(c.returning and (i.command = '' or i.fresh is true))"
#define CLAIM(items) \
        "with item as materialized (" \
        "   select * from jsonb_to_recordset(" items ") as i(ord int, email text, command text, pin text, fresh boolean, asker text," \
        "    return_hash text))," \
        " mine as materialized (" \
        "   select v.id, v.email from vms v where v.email in (select email from item)" \
        "    order by v.id for no key update)," \
        " need as materialized (" \
        "   select i.ord, row_number() over (order by i.ord) as n from item i" \
        "    where not exists (select 1 from mine m where m.email = i.email))," \
        " free as materialized (" \
        "   select v.id, v.created_at from vms v where " CLAIMABLE_ONE("v") \
        "    order by v.created_at, v.id limit (select count(*) from need) for no key update of v skip locked)," \
        " pick as materialized (select array_agg(id order by created_at, id) as ids from free)," \
        " chosen as (" \
        "   select i.ord, m.id, true as returning from item i join mine m on m.email = i.email" \
        "   union all select n.ord, p.ids[n.n], false from need n, pick p)," \
        " held as (" \
        "   update vms v set email = i.email, crd_command = case when " KEPT " then v.crd_command else i.command end," \
        "       pin = case when c.returning then v.pin else i.pin end," \
        "       assigned_at = case when c.returning then v.assigned_at else now() end," \
        "       generation = v.generation + (v.crd_command is distinct from i.command and not " KEPT ")::int" \
        "     from chosen c join item i on i.ord = c.ord where v.id = c.id" \
        "     returning v.id, v.tenancy, i.return_hash, c.ord, v.hostname, v.email, v.crd_command, v.pin, v.generation, c.returning," \
        "       " SHOWN("v") " as status, v.healthy is false as unhealthy)," \
        " coded as (" \
        "   insert into desktop_seats (vm_id, tenancy, return_hash)" \
        "   select h.id, h.tenancy, h.return_hash from held h where h.return_hash is not null and not h.returning" \
        "   on conflict (vm_id) do update" \
        "      set tenancy = excluded.tenancy, return_hash = excluded.return_hash, assist_until = null)" \
        " select i.ord, h.hostname, h.email, h.crd_command, h.pin, h.generation, h.returning, h.status, h.unhealthy," \
        "   h.hostname is null and exists (" \
        "     select 1 from vms v where " CLAIMABLE_ONE("v") " and v.id not in (select id from free)), i.asker" \
        "   from item i left join held h on h.ord = i.ord"
// clang-format on

struct db_query seat_claim(const char *email, const char *command, const char *pin, struct seat *ret)
{
        static const struct db_statement statement = {
                .name = "seat_claim",
                .sql = CLAIM("jsonb_build_array(jsonb_build_object('ord', 0, 'email', $1::text,"
                             " 'command', $2::text, 'pin', $3::text))"),
                .rows = DB_ONE,
                .decode = decode_seat,
                .retry = "23505",
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_TEXT(email), DB_TEXT(command), DB_TEXT(pin));
}

static const struct db_statement claims_statement = {
        .name = "seat_claims",
        .sql = CLAIM("$1::jsonb"),
        .rows = DB_MANY,
        .decode = decode_seat,
        .retry = "23505",
        .idempotent = true,
};

const struct batch_kind claim_kind = {.statement = &claims_statement};

json_t *claim_item(const char *email, const char *command, const char *pin, const char *asker, const char *return_hash)
{
        return json_pack("{s:s, s:s, s:s, s:b, s:s?, s:s?}", "email", email, "command", command, "pin", pin, "fresh",
                         return_hash != NULL, "asker", asker, "return_hash", return_hash);
}

struct db_query seat_assignment(const char *hostname, const char *token_hash, struct seat *ret)
{
        static const struct db_statement statement = {
                .name = "seat_assignment",
                // clang-format off
                .sql = "select 0, hostname, email, crd_command, pin, generation, false, " SHOWN("v") ", healthy is false, false, null"
                       "  from vms v where hostname = $1 and token_hash is not distinct from $2",
                // clang-format on
                .rows = DB_MAYBE,
                .decode = decode_seat,
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_TEXT(hostname), DB_TEXT(token_hash));
}

struct db_query seats_given(const char *since, struct vm_list *ret)
{
        static const struct db_statement statement = {
                .name = "seats_given",
                // clang-format off
                .sql = "select h.horizon, v.hostname, v.generation"
                       "  from (select pg_snapshot_xmin(pg_current_snapshot())::text as horizon) h"
                       "  left join vms v on v.changed_xid >= coalesce($1, '0')::xid8 and v.email is not null",
                // clang-format on
                .rows = DB_MANY,
                .decode = answer_append,
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_TEXT(since));
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
                .sql = "with held as (select v.id from vms v where v.hostname = $1::text"
                       "   and " RELEASABLE("v") " for no key update),"
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
