/*
 * One statement for every kind of word but metrics. The rows are locked `order by hostname` before anything is written
 * (two overlapping batches would deadlock otherwise), and the word of a VM that had fallen silent brings back the
 * status that it last reported.
 */
#include "lab/report.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "lab/sql.h"

#define METRICS_MAX 16384 /* bytes of one word, as JSON */
#define METRICS_KEPT "65536"
#define NUMBER_MAX 9e15 /* larger ones come back from the database as integers that JSON readers refuse */

static int decode_found(const struct db_row *row _unused_, void *receiver, struct error *error _unused_)
{
        struct report_answer *answer = receiver;
        answer->found = answer->allowed = true;
        return 0;
}

static int decode_report(const struct db_row *row, void *receiver, struct error *error _unused_)
{
        struct report_answer *answer = receiver;
        answer->found = true;
        answer->allowed = db_bool(row, 1);
        return 0;
}

static const struct db_statement report_statement = {
        .name = "report",
        // clang-format off
        .sql = "with item as ("
               "   select * from jsonb_to_recordset($1::jsonb) as i(ord int, hostname text, status text, in_use boolean,"
               "       has_health boolean, healthy boolean, beat boolean, boot_id text, generation bigint, uptime float8,"
               "       proven boolean, proof text, demanded boolean)),"
               " locked as materialized ("
               "   select v.id, i.ord, coalesce(i.proven or case when v.token_hash is null then not i.demanded"
               "       else v.token_hash = i.proof end, false) as allowed"
               "     from vms v join item i on i.hostname = v.hostname order by v.hostname for no key update of v),"
               " changed as ("
               "   update vms v set"
               "       status = coalesce(i.status, " BACK("v") "),"
               "       reported_status = coalesce(i.status, v.reported_status),"
               "       in_use = coalesce(i.in_use, v.in_use),"
               "       healthy = case when i.has_health then i.healthy else v.healthy end"
               "     from item i join locked l on l.ord = i.ord and l.allowed"
               "    where v.id = l.id and (v.status, v.reported_status, v.in_use, v.healthy) is distinct from"
               "       (coalesce(i.status, " BACK("v") "), coalesce(i.status, v.reported_status),"
               "        coalesce(i.in_use, v.in_use), case when i.has_health then i.healthy else v.healthy end)),"
               " seen as ("
               "   insert into vm_presence as p (vm_id, last_seen, heartbeat_at, boot_id, carried_generation, uptime_seconds)"
               "   select l.id, now(), case when i.beat then now() end, i.boot_id, i.generation, i.uptime"
               "     from item i join locked l on l.ord = i.ord and l.allowed order by l.id"
               "   on conflict (vm_id) do update set last_seen = now(),"
               "       heartbeat_at = coalesce(excluded.heartbeat_at, p.heartbeat_at),"
               "       boot_id = coalesce(excluded.boot_id, p.boot_id),"
               "       carried_generation = coalesce(excluded.carried_generation, p.carried_generation),"
               "       uptime_seconds = coalesce(excluded.uptime_seconds, p.uptime_seconds))"
               " select ord, allowed from locked",
        // clang-format on
        .rows = DB_MANY,
        .decode = decode_report,
        .idempotent = true,
};

const struct batch_kind report_kind = {.statement = &report_statement};

static const struct db_statement wait_statement = {
        .name = "wait_goes_on",
        // clang-format off
        .sql = "with item as (select * from jsonb_to_recordset($1::jsonb) as i(ord int, hostname text)),"
               " waiting as (select i.ord, v.id from item i join vms v on v.hostname = i.hostname),"
               " seen as ("
               "   insert into vm_presence as p (vm_id) select id from waiting order by id"
               "   on conflict (vm_id) do update set last_seen = now() where p.heartbeat_at is null)"
               " select ord from waiting",
        // clang-format on
        .rows = DB_MANY,
        .decode = decode_found,
        .idempotent = true,
};

const struct batch_kind wait_kind = {.statement = &wait_statement};

json_t *report_with_proof(json_t *item, const char *proof, bool demanded)
{
        json_object_set_new(item, "demanded", json_boolean(demanded));
        if (proof)
                json_object_set_new(item, "proof", json_string(proof));
        return item;
}

json_t *report_proven(json_t *item)
{
        json_object_set_new(item, "proven", json_true());
        return item;
}

void report_key(const char *hostname, const char *proof, char key[REPORT_KEY_SIZE])
{
        snprintf(key, REPORT_KEY_SIZE, "%s %s", hostname, str_or(proof, ""));
}

json_t *report_status(const char *hostname, const char *status)
{
        return json_pack("{s:s, s:s}", "hostname", hostname, "status", status);
}

json_t *report_in_use(const char *hostname, bool in_use)
{
        return json_pack("{s:s, s:b}", "hostname", hostname, "in_use", in_use);
}

json_t *report_health(const char *hostname, enum health health)
{
        json_t *healthy = health == HEALTH_NO_GPU ? json_null() : json_boolean(health == HEALTH_HEALTHY);
        return json_pack("{s:s, s:b, s:o}", "hostname", hostname, "has_health", 1, "healthy", healthy);
}

json_t *report_seen(const char *hostname)
{
        return json_pack("{s:s}", "hostname", hostname);
}

json_t *report_heartbeat(const char *hostname, const char *boot_id, int64_t generation, double uptime)
{
        json_t *item = json_pack("{s:s, s:b}", "hostname", hostname, "beat", 1);
        if (boot_id)
                json_object_set_new(item, "boot_id", json_string(boot_id));
        if (generation >= 0)
                json_object_set_new(item, "generation", json_integer(generation));
        if (uptime >= 0)
                json_object_set_new(item, "uptime", json_real(uptime));
        return item;
}

/* What is known of a VM's boot does not grow for ever: beyond a limit the new word stands alone. */
#define MERGED \
        "(case when octet_length(v.metrics::text) > " METRICS_KEPT " then i.metrics" \
        "      else v.metrics || i.metrics end)"

static const struct db_statement metrics_statement = {
        .name = "metrics",
        // clang-format off
        .sql = "with item as ("
               "   select * from jsonb_to_recordset($1::jsonb) as i(ord int, hostname text, metrics jsonb)),"
               " locked as materialized ("
               "   select v.id, v.hostname from vms v join item i on i.hostname = v.hostname"
               "    order by v.hostname for no key update of v),"
               " changed as ("
               "   update vms v set metrics = " MERGED ", status = " BACK("v") ","
               "       total_startup_time_seconds = " TOTAL_TIME(MERGED, "v.terraform_timing_seconds")
               "     from item i join locked l on l.hostname = i.hostname where v.id = l.id),"
               " seen as ("
               "   insert into vm_presence (vm_id) select l.id from locked l order by l.id"
               "   on conflict (vm_id) do update set last_seen = now())"
               " select i.ord from item i join locked l on l.hostname = i.hostname",
        // clang-format on
        .rows = DB_MANY,
        .decode = decode_found,
        .idempotent = true,
};

const struct batch_kind metrics_kind = {.statement = &metrics_statement};

json_t *report_metrics(const char *hostname, json_t *metrics)
{
        return json_pack("{s:s, s:o}", "hostname", hostname, "metrics", metrics);
}

enum metric_kind { METRIC_TIME, METRIC_SECONDS };

/* The specification's keys (section 3.3) and those of deployed clients. */
static const struct {
        const char *key;
        enum metric_kind kind;
} known_metrics[] = {
        {"cloud_init_start", METRIC_TIME},
        {"cloud_init_end", METRIC_TIME},
        {"cloud_init_duration_seconds", METRIC_SECONDS},
        {"docker_pull_start", METRIC_TIME},
        {"docker_pull_end", METRIC_TIME},
        {"container_start", METRIC_TIME},
        {"container_ready", METRIC_TIME},
        {"container_start_time", METRIC_TIME},
        {"container_end_time", METRIC_TIME},
        {"container_startup_duration_seconds", METRIC_SECONDS},
};

#define SECONDS_MAX 31536000.0 /* a year: no machine takes longer to boot */

/* The year 2000 to the year 2200: what else comes as an epoch is milliseconds or nonsense. */
static bool plausible_time(double epoch)
{
        return epoch >= 946684800.0 && epoch <= 7258118400.0;
}

/* A number, or a text that is one. */
static bool as_number(const json_t *value, double *ret)
{
        if (json_is_number(value)) {
                *ret = json_number_value(value);
                return isfinite(*ret);
        }
        return json_is_string(value) && strlen(json_string_value(value)) == json_string_length(value) &&
               parse_double(json_string_value(value), ret) == 0;
}

static json_t *check_time(const json_t *value)
{
        double epoch;
        bool good = as_number(value, &epoch) ||
                    (json_is_string(value) && clock_parse_iso(json_string_value(value), &epoch) == 0);
        if (!good || !plausible_time(epoch))
                return NULL;
        char iso[CLOCK_ISO_SIZE];
        clock_iso(epoch, iso);
        return json_string(iso);
}

static json_t *check_seconds(const json_t *value)
{
        double seconds;
        if (!as_number(value, &seconds) || seconds < 0 || seconds > SECONDS_MAX)
                return NULL;
        return json_real(seconds);
}

/* PostgreSQL's jsonb holds no \u0000, and gives 1e300 back as an integer of 301 digits. */
static bool is_kept_well(const json_t *value)
{
        const char *key;
        json_t *member;
        size_t index;
        if (json_is_string(value))
                return strlen(json_string_value(value)) == json_string_length(value);
        if (json_is_real(value))
                return fabs(json_real_value(value)) <= NUMBER_MAX;
        json_object_foreach ((json_t *)value, key, member)
                if (!is_kept_well(member))
                        return false;
        json_array_foreach (value, index, member)
                if (!is_kept_well(member))
                        return false;
        return true;
}

static int check_whole(const json_t *body, struct error *error)
{
        if (json_object_size(body) == 0)
                return error_set(error, -EINVAL, "Metrics are required.");
        _cleanup_free_ char *text = json_text(body);
        if (strlen(text) > METRICS_MAX)
                return error_set(error, -EINVAL, "The metrics are larger than %d bytes.", METRICS_MAX);
        if (!is_kept_well(body))
                return error_set(error, -EINVAL, "A metric holds a NUL character or a number beyond 9e15.");
        return 0;
}

static int derive_duration(json_t *metrics, const char *start, const char *end, const char *duration)
{
        double a, b;
        const char *from = json_get_string(metrics, start), *to = json_get_string(metrics, end);
        if (json_object_get(metrics, duration) || !from || !to)
                return 0;
        if (clock_parse_iso(from, &a) == 0 && clock_parse_iso(to, &b) == 0 && b >= a && b - a <= SECONDS_MAX)
                json_object_set_new(metrics, duration, json_real(b - a));
        return 0;
}

int metrics_check(const json_t *body, json_t **ret, struct error *error)
{
        int r = check_whole(body, error);
        if (r < 0)
                return r;
        _cleanup_json_ json_t *metrics = json_deep_copy(body);
        for (size_t i = 0; i < ARRAY_SIZE(known_metrics); i++) {
                const char *key = known_metrics[i].key;
                const json_t *value = json_object_get(metrics, key);
                if (!value)
                        continue;
                bool is_time = known_metrics[i].kind == METRIC_TIME;
                json_t *clean = is_time ? check_time(value) : check_seconds(value);
                if (!clean)
                        return error_set(error, -EINVAL, "%s is no %s.", key,
                                         is_time ? "time (ISO 8601 or seconds since 1970)" : "number of seconds");
                json_object_set_new(metrics, key, clean);
        }
        derive_duration(metrics, "cloud_init_start", "cloud_init_end", "cloud_init_duration_seconds");
        derive_duration(metrics, "container_start", "container_ready", "container_startup_duration_seconds");
        derive_duration(metrics, "container_start_time", "container_end_time", "container_startup_duration_seconds");
        json_object_del(metrics, "hostname");
        *ret = STEAL(metrics);
        return 0;
}
