/* lablink status: the page that answers "how is the lab?" in one look. */
#include <string.h>

#include "base/text.h"
#include "cli/api.h"
#include "cli/commands.h"
#include "cli/table.h"
#include "cli/term.h"

static json_int_t count(const json_t *counts, const char *name)
{
        return json_integer_value(json_object_get(counts, name));
}

static void add_counts(struct table *table, const json_t *counts)
{
        static const char *const names[] = {"claimable", "assigned", "initializing", "error", "unknown"};
        _cleanup_buf_ struct buf text = BUF_NULL;
        buf_addf(&text, "%lld", (long long)count(counts, "total"));
        for (size_t i = 0, shown = 0; i < ARRAY_SIZE(names); i++)
                if (count(counts, names[i]))
                        buf_addf(&text, "%s%lld %s", shown++ ? ", " : ": ", (long long)count(counts, names[i]),
                                 names[i]);
        table_add(table, "VMs");
        table_add(table, buf_str(&text));
}

static void add_provider(struct table *table, const json_t *provider)
{
        const char *code = json_get_string(provider, "code");
        const char *hint = json_get_string(provider, "hint");
        table_add(table, "Provider");
        table_addf(table, "%s, %s%s%s", str_or(json_get_string(provider, "name"), "unknown"),
                   str_or(code, "not asked yet"), hint && *hint ? ": " : "", str_or(hint, ""));
        size_t i;
        const json_t *line;
        json_array_foreach (json_object_get(provider, "detail"), i, line) {
                table_add(table, i ? " " : "Limits");
                table_add(table, json_string_value(line));
        }
}

/* Machines that run though no row names them. */
static void add_orphans(struct table *table, const json_t *orphans)
{
        size_t i;
        const json_t *name;
        json_array_foreach (orphans, i, name) {
                table_add(table, i ? " " : "Orphans");
                table_addf(table, "%s%s", str_or(json_string_value(name), "?"),
                           i ? "" : ": a machine without a row; `lablink destroy` ends it too");
        }
}

static void add_operation(struct table *table, const json_t *operation)
{
        table_add(table, "Operation");
        if (!json_is_object(operation)) {
                table_add(table, "none is running");
                return;
        }
        const json_t *progress = json_object_get(operation, "progress");
        _cleanup_buf_ struct buf text = BUF_NULL;
        buf_addf(&text, "%s %lld is %s", str_or(json_get_string(operation, "kind"), "operation"),
                 (long long)count(operation, "id"), str_or(json_get_string(operation, "state"), "unknown"));
        if (count(progress, "total") > 0)
                buf_addf(&text, ", %lld of %lld", (long long)count(progress, "done"),
                         (long long)count(progress, "total"));
        buf_addf(&text, "; `lablink operation watch %lld` shows it", (long long)count(operation, "id"));
        table_add(table, buf_str(&text));
}

static void add_version(struct table *table, const json_t *lab)
{
        _cleanup_buf_ struct buf text = BUF_NULL;
        buf_addf(&text, "LabLink %s, up ", str_or(json_get_string(lab, "version"), "?"));
        term_duration(json_number_value(json_object_get(lab, "uptime_seconds")), &text);
        table_add(table, "Allocator");
        table_add(table, buf_str(&text));
}

int run_status(struct cli *cli, _unused_ int argc, _unused_ char **argv, struct error *error)
{
        _cleanup_json_ json_t *lab = NULL;
        int r = api_get(cli, "/admin", &lab, error);
        if (r < 0)
                return r;
        if (cli->json) {
                json_put(lab, stdout);
                return CLI_GOOD;
        }
        _cleanup_table_ struct table *table = table_new(NULL);
        table_add(table, "Address");
        table_add_json(table, lab, "public_url");
        add_version(table, lab);
        add_counts(table, json_object_get(lab, "counts"));
        add_provider(table, json_object_get(lab, "provider"));
        add_orphans(table, json_object_get(json_object_get(lab, "provider"), "orphans"));
        add_operation(table, json_object_get(lab, "operation"));
        table_add(table, "VMs' access");
        table_add_json(table, lab, "client_auth");
        table_print(table, false, stdout);
        return CLI_GOOD;
}
