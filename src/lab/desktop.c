/*
 * The statements behind seat cookies, return codes, consent and the agents' connections. One of them, SEAT, is the only
 * place that says what a valid cookie is: its tenancy is the VM's present one, and somebody holds the seat.
 */
#include "lab/desktop.h"

#include <stdio.h>
#include <string.h>

#include "lab/sql.h"

void desktop_seat_deinit(struct desktop_seat *seat)
{
        json_decref(seat->cookies);
        *seat = (struct desktop_seat){0};
}

static void copy(char *to, size_t size, const struct db_row *row, int column)
{
        snprintf(to, size, "%s", db_null(row, column) ? "" : db_text(row, column));
}

/* The columns are those of SEAT. */
static int decode_seat(const struct db_row *row, void *receiver, struct error *error)
{
        struct desktop_seat *seat = receiver;
        desktop_seat_deinit(seat);
        seat->found = true;
        copy(seat->hostname, sizeof seat->hostname, row, 0);
        copy(seat->email, sizeof seat->email, row, 1);
        copy(seat->status, sizeof seat->status, row, 2);
        seat->tenancy = db_int(row, 3);
        seat->generation = db_int(row, 4);
        seat->assist = db_bool(row, 5);
        copy(seat->return_hash, sizeof seat->return_hash, row, 6);
        seat->has_code = seat->return_hash[0] != '\0';
        seat->linked = db_bool(row, 7);
        copy(seat->link_url, sizeof seat->link_url, row, 8);
        copy(seat->link_site, sizeof seat->link_site, row, 9);
        copy(seat->secret_hash, sizeof seat->secret_hash, row, 10);
        seat->watched = db_bool(row, 11);
        seat->helped = db_bool(row, 12);
        seat->cookie = db_bool(row, 13);
        if (db_null(row, 14))
                return 0;
        const char *text = db_text(row, 14);
        seat->cookies = json_read(text, strlen(text), error);
        return seat->cookies ? 0 : -EINVAL;
}

// clang-format off

/* Of a row `v` of vms; `cookie` and `cookies` are expressions. */
#define SEAT(cookie, cookies) \
        "v.hostname, v.email, " SHOWN("v") ", v.tenancy, v.generation, coalesce(s.assist_until > now(), false)," \
        " s.return_hash, l.vm_id is not null, l.url, l.site, v.token_hash," \
        " coalesce(l.watchers > 0, false), coalesce(l.helpers > 0, false), " cookie ", " cookies
#define SEAT_JOINS \
        " left join desktop_seats s on s.vm_id = v.id and s.tenancy = v.tenancy" \
        " left join agent_links l on l.vm_id = v.id"
#define VALID(c, v) c ".vm_id = " v ".id and " c ".tenancy = " v ".tenancy and " v ".email is not null"

// clang-format on

struct db_query desktop_enter(const char *hostname, const char *email, const char *cookie_hash, const char *code_hash,
                              bool alone, struct desktop_seat *ret)
{
        static const struct db_statement statement = {
                .name = "desktop_enter",
                // clang-format off
                .sql = "with held as materialized ("
                       "   select id, tenancy from vms where hostname = $1 and email = $2 for share),"
                       " gone as ("
                       "   delete from desktop_cookies c using held h where c.vm_id = h.id and c.hash <> $3"
                       "    and ($5 or c.tenancy <> h.tenancy or c.expires_at < now() or c.hash in ("
                       "      select o.hash from desktop_cookies o where o.vm_id = h.id and o.kind = 'seat'"
                       "       order by o.created_at desc offset $6 - 1))),"
                       " code as ("
                       "   insert into desktop_seats as s (vm_id, tenancy, return_hash)"
                       "   select id, tenancy, $4::text from held"
                       "   on conflict (vm_id) do update set tenancy = excluded.tenancy,"
                       "      assist_until = case when s.tenancy = excluded.tenancy then s.assist_until end,"
                       "      return_hash = case when s.tenancy = excluded.tenancy"
                       "         then coalesce(excluded.return_hash, s.return_hash) else excluded.return_hash end),"
                       " put as ("
                       "   insert into desktop_cookies (hash, vm_id, tenancy) select $3, id, tenancy from held"
                       "   on conflict (hash) do nothing)"
                       " select " SEAT("true", "null") " from held h join vms v on v.id = h.id" SEAT_JOINS,
                // clang-format on
                .rows = DB_MAYBE,
                .decode = decode_seat,
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_TEXT(hostname), DB_TEXT(email), DB_TEXT(cookie_hash), DB_TEXT(code_hash),
                        DB_BOOL(alone), DB_INT(DESKTOP_COOKIES_MAX));
}

struct db_query desktop_holder(const char *email, const char *cookie_hash, struct desktop_seat *ret)
{
        static const struct db_statement statement = {
                .name = "desktop_holder",
                // clang-format off
                .sql = "select " SEAT("exists (select 1 from desktop_cookies c"
                                      "  where c.hash = $2 and c.kind = 'seat' and " VALID("c", "v") ")", "null")
                       " from vms v" SEAT_JOINS " where v.email = $1",
                // clang-format on
                .rows = DB_MAYBE,
                .decode = decode_seat,
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_TEXT(email), DB_TEXT(cookie_hash));
}

struct db_query desktop_seat(const char *cookie_hash, struct desktop_seat *ret)
{
        static const struct db_statement statement = {
                .name = "desktop_seat",
                // clang-format off
                .sql = "select " SEAT("true", "null")
                       " from desktop_cookies c join vms v on " VALID("c", "v") SEAT_JOINS
                       " where c.hash = $1 and c.kind = 'seat'",
                // clang-format on
                .rows = DB_MAYBE,
                .decode = decode_seat,
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_TEXT(cookie_hash));
}

struct db_query desktop_guard(const char *hostname, struct desktop_seat *ret)
{
        static const struct db_statement statement = {
                .name = "desktop_guard",
                // clang-format off
                .sql = "select " SEAT("false", "(select coalesce(jsonb_agg(c.hash), '[]') from desktop_cookies c"
                                               "  where c.kind = 'seat' and " VALID("c", "v") ")")
                       " from vms v" SEAT_JOINS " where v.hostname = $1",
                // clang-format on
                .rows = DB_MAYBE,
                .decode = decode_seat,
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_TEXT(hostname));
}

struct db_query desktop_leave(const char *cookie_hash, struct flag_answer *ret)
{
        static const struct db_statement statement = {
                .name = "desktop_leave",
                .sql = "with gone as (delete from desktop_cookies where hash = $1 and kind = 'seat' returning 1)"
                       " select exists (select 1 from gone)",
                .rows = DB_ONE,
                .decode = answer_flag,
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_TEXT(cookie_hash));
}

struct db_query desktop_assist(const char *cookie_hash, int64_t seconds, struct flag_answer *ret)
{
        static const struct db_statement statement = {
                .name = "desktop_assist",
                // clang-format off
                .sql = "with seat as (select v.id, v.tenancy from desktop_cookies c join vms v on " VALID("c", "v")
                       "   where c.hash = $1 and c.kind = 'seat'),"
                       " put as ("
                       "   insert into desktop_seats as s (vm_id, tenancy, assist_until)"
                       "   select id, tenancy, now() + make_interval(secs => $2::float8) from seat"
                       "   on conflict (vm_id) do update set tenancy = excluded.tenancy,"
                       "      assist_until = excluded.assist_until,"
                       "      return_hash = case when s.tenancy = excluded.tenancy then s.return_hash end"
                       "      where s.tenancy <= excluded.tenancy returning 1)" /* not the word of one who has left */
                       " select exists (select 1 from put)",
                // clang-format on
                .rows = DB_ONE,
                .decode = answer_flag,
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_TEXT(cookie_hash), DB_INT(seconds));
}

struct db_query desktop_ticket_add(const char *cookie_hash, const char *ticket_hash, struct flag_answer *ret)
{
        static const struct db_statement statement = {
                .name = "desktop_ticket_add",
                // clang-format off
                .sql = "with old as (delete from desktop_cookies where kind = 'ticket' and expires_at < now()),"
                       " put as ("
                       "   insert into desktop_cookies (hash, vm_id, tenancy, kind, cookie, expires_at)"
                       "   select $2, v.id, v.tenancy, 'ticket', $1, now() + interval '" DESKTOP_TICKET_SECONDS " seconds'"
                       "     from desktop_cookies c join vms v on " VALID("c", "v")
                       "    where c.hash = $1 and c.kind = 'seat' returning 1)"
                       " select exists (select 1 from put)",
                // clang-format on
                .rows = DB_ONE,
                .decode = answer_flag,
        };
        return db_query(&statement, ret, DB_TEXT(cookie_hash), DB_TEXT(ticket_hash));
}

struct db_query desktop_ticket_take(const char *ticket_hash, struct desktop_seat *ret)
{
        static const struct db_statement statement = {
                .name = "desktop_ticket_take",
                // clang-format off
                .sql = "with taken as (delete from desktop_cookies where hash = $1 and kind = 'ticket'"
                       "   returning cookie, expires_at)"
                       " select " SEAT("true", "jsonb_build_array(c.hash)")
                       " from taken k join desktop_cookies c on c.hash = k.cookie and c.kind = 'seat'"
                       "  join vms v on " VALID("c", "v") SEAT_JOINS
                       " where k.expires_at > now()",
                // clang-format on
                .rows = DB_MAYBE,
                .decode = decode_seat,
        };
        return db_query(&statement, ret, DB_TEXT(ticket_hash));
}

struct db_query desktop_audit(const char *who, const char *action, const char *hostname)
{
        static const struct db_statement statement = {
                .name = "desktop_audit",
                .sql = "insert into audit (who, action, detail)"
                       " values ($1, $2, jsonb_build_object('hostname', $3::text))",
                .rows = DB_NO_ROWS,
        };
        return db_query(&statement, NULL, DB_TEXT(who), DB_TEXT(action), DB_TEXT(hostname));
}

/* --- where a VM's agent is connected -------------------------------------------------------------------------------- */

struct db_query agent_link_set(const char *hostname, const char *link, const char *url, struct flag_answer *ret)
{
        static const struct db_statement statement = {
                .name = "agent_link_set",
                // clang-format off
                .sql = "with put as ("
                       "   insert into agent_links (vm_id, link, url) select id, $2, $3 from vms where hostname = $1"
                       "   on conflict (vm_id) do update set link = excluded.link, url = excluded.url,"
                       "      site = current_setting('lablink.site', true), since = now(), watchers = 0, helpers = 0"
                       "   returning 1)"
                       " select exists (select 1 from put)",
                // clang-format on
                .rows = DB_ONE,
                .decode = answer_flag,
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_TEXT(hostname), DB_TEXT(link), DB_TEXT(url));
}

struct db_query agent_link_visitors(const char *hostname, const char *link, unsigned watchers, unsigned helpers)
{
        static const struct db_statement statement = {
                .name = "agent_link_visitors",
                .sql = "update agent_links l set watchers = $3, helpers = $4 from vms v"
                       " where v.id = l.vm_id and v.hostname = $1 and l.link = $2",
                .rows = DB_NO_ROWS,
                .idempotent = true,
        };
        return db_query(&statement, NULL, DB_TEXT(hostname), DB_TEXT(link), DB_INT(watchers), DB_INT(helpers));
}

struct db_query agent_link_clear(const char *hostname, const char *link)
{
        static const struct db_statement statement = {
                .name = "agent_link_clear",
                .sql = "delete from agent_links l using vms v where v.id = l.vm_id and v.hostname = $1 and l.link = $2",
                .rows = DB_NO_ROWS,
                .idempotent = true,
        };
        return db_query(&statement, NULL, DB_TEXT(hostname), DB_TEXT(link));
}

struct db_query agent_links_forget(const char *process)
{
        static const struct db_statement statement = {
                .name = "agent_links_forget",
                .sql = "delete from agent_links l where " HERE("l") " and not starts_with(l.link, $1)",
                .rows = DB_NO_ROWS,
                .idempotent = true,
        };
        return db_query(&statement, NULL, DB_TEXT(process));
}
