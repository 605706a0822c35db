/*
 * Pieces of SQL that several statements share, so that "claimable", "shown status" and the columns of a VM are each
 * told once. `v` is the alias of vms, `p` of vm_presence (left joined).
 */
#pragma once

#include "db/db.h"

/* A statement without parameters. */
#define db_query_none(stmt, recv) ((struct db_query){.statement = (stmt), .receiver = (recv)})

// clang-format off

/* On a held seat `running` and `available` show as `assigned` (contract, "The life of a VM and of a seat"). */
#define READY(v) v ".status in ('running', 'available')"
#define SHOWN(v) \
        "(case when " v ".email is not null and " READY(v) " then 'assigned'" \
        "      else " v ".status end)"

/* The status after any word that names none: a silence ends, and what was last reported holds again. */
#define BACK(v) \
        "(case when " v ".status = 'unknown' then coalesce(" v ".reported_status, 'initializing')" \
        "      else " v ".status end)"

/* This row belongs to the allocator that asks (lab/site.h). */
#define HERE(row) row ".site is not distinct from current_setting('lablink.site', true)"

/* No e-mail, running or available, not unhealthy, made fresh, and seen lately if it ever sent a heartbeat. */
#define CLAIMABLE(v, p) "(" UNTAKEN(v) " and " HEARD(p) ")"
#define UNTAKEN(v) \
        v ".email is null and " READY(v) " and " v ".healthy is not false" \
        " and not " v ".needs_reset"
#define HEARD(p) "(" p ".heartbeat_at is null or " p ".last_seen > now() - interval '90 seconds')"
/* The same, looked up row by row: whoever wants only the first of many in the order of an index needs no other row. */
#define CLAIMABLE_ONE(v) \
        "(" UNTAKEN(v) " and coalesce((select " HEARD("p") " from vm_presence p where p.vm_id = " v ".id), true))"

/* Somebody holds it, or nobody can have it as it is: a release makes it fresh. */
#define RELEASABLE(v) "(" v ".email is not null or not " READY(v) " and not " v ".needs_reset)"

#define ISO(column) "to_char(" column " at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"

/* Sum of what is known of making, booting and container start; null when nothing is. */
#define TOTAL_TIME(metrics, made) \
        "(select sum(part) from (values (" made ")," \
        "    ((" metrics "->>'cloud_init_duration_seconds')::numeric)," \
        "    ((" metrics "->>'container_startup_duration_seconds')::numeric)) t(part))"

#define VM_COLUMNS \
        "v.id, v.hostname, " SHOWN("v") " as status, v.reported_status," \
        " v.email, v.pin, v.crd_command, v.generation, v.in_use, v.healthy, " \
        ISO("v.created_at") " as created_at, " \
        ISO("v.updated_at") " as updated_at, " \
        ISO("v.assigned_at") " as assigned_at, " \
        ISO("p.last_seen") " as last_seen, " \
        ISO("p.heartbeat_at") " as heartbeat_at," \
        " p.boot_id, p.carried_generation, v.metrics," \
        " v.terraform_timing_seconds::float8 as terraform_timing_seconds, " \
        ISO("v.terraform_timing_start") " as terraform_timing_start, " \
        ISO("v.terraform_timing_end") " as terraform_timing_end," \
        " v.total_startup_time_seconds::float8 as total_startup_time_seconds," \
        " v.needs_reset, v.launched, " RELEASABLE("v") " as releasable, " CLAIMABLE("v", "p") " as claimable"

// clang-format on
