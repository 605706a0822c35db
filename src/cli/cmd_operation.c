/* lablink operation list, show, watch, cancel. */
#include <stdio.h>

#include "base/text.h"
#include "cli/api.h"
#include "cli/commands.h"
#include "cli/follow.h"
#include "cli/list.h"
#include "cli/table.h"
#include "cli/term.h"

static void add_row(struct table *table, const json_t *operation)
{
        const json_t *progress = json_object_get(operation, "progress");
        long long done = json_integer_value(json_object_get(progress, "done"));
        long long total = json_integer_value(json_object_get(progress, "total"));
        _cleanup_buf_ struct buf ago = BUF_NULL;
        term_ago(json_get_string(operation, "created_at"), &ago);
        table_add_json(table, operation, "id");
        table_add_json(table, operation, "kind");
        table_add_json(table, operation, "state");
        if (total > 0)
                table_addf(table, "%lld of %lld", done, total);
        else
                table_add(table, NULL);
        table_add_json(table, operation, "requested_by");
        table_add(table, buf_str(&ago));
        table_add_json(table, operation, "error");
}

int run_operation_list(struct cli *cli, _unused_ int argc, _unused_ char **argv, struct error *error)
{
        static const char *const heads[] = {"ID", "KIND", "STATE", "PROGRESS", "BY", "STARTED", "ERROR", NULL};
        return list_show(cli, "/api/operations", "operations", heads, add_row, "there was no operation yet", error);
}

static int get(struct cli *cli, const char *word, json_t **ret, struct error *error)
{
        int64_t id;
        int r = api_check_id(word, &id, error);
        if (r < 0)
                return r;
        _cleanup_free_ char *path = xasprintf("/api/operations/%lld", (long long)id);
        return api_get(cli, path, ret, error);
}

int run_operation_show(struct cli *cli, _unused_ int argc, char **argv, struct error *error)
{
        _cleanup_json_ json_t *answer = NULL;
        int r = get(cli, argv[0], &answer, error);
        if (r < 0)
                return r;
        if (cli->json) {
                json_put(answer, stdout);
                return CLI_GOOD;
        }
        json_t *operation = json_object_get(answer, "operation");
        _cleanup_table_ struct table *table = table_new(NULL);
        const char *key;
        json_t *value;
        json_object_foreach (operation, key, value) {
                table_add(table, key);
                table_add_json(table, operation, key);
        }
        table_print(table, false, stdout);
        return CLI_GOOD;
}

int run_operation_watch(struct cli *cli, _unused_ int argc, char **argv, struct error *error)
{
        int64_t id;
        int r = api_check_id(argv[0], &id, error);
        return r < 0 ? r : follow_operation(cli, id, error);
}

int run_operation_cancel(struct cli *cli, _unused_ int argc, char **argv, struct error *error)
{
        int64_t id;
        int r = api_check_id(argv[0], &id, error);
        if (r < 0)
                return r;
        _cleanup_free_ char *path = xasprintf("/api/operations/%lld/cancel", (long long)id);
        _cleanup_json_ json_t *body = json_object();
        _cleanup_json_ json_t *answer = NULL;
        r = api_post(cli, path, body, &answer, error);
        if (r < 0)
                return r;
        if (cli->json)
                json_put(answer, stdout);
        cli_say(cli, "operation %lld is asked to stop at its next safe point; `lablink operation watch %lld` shows it",
                (long long)id, (long long)id);
        return CLI_GOOD;
}
