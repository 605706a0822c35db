/* One way to show a list, whatever its rows are of. */
#include "cli/list.h"

#include <stdio.h>

#include "cli/api.h"

int list_show(struct cli *cli, const char *path, const char *member, const char *const *heads,
              void (*add)(struct table *table, const json_t *entry), const char *empty, struct error *error)
{
        _cleanup_json_ json_t *answer = NULL;
        int r = api_get(cli, path, &answer, error);
        if (r < 0)
                return r;
        if (cli->json) {
                json_put(answer, stdout);
                return CLI_GOOD;
        }
        _cleanup_table_ struct table *table = table_new(heads);
        size_t i;
        const json_t *entry;
        json_array_foreach (json_object_get(answer, member), i, entry)
                add(table, entry);
        if (table_rows(table))
                table_print(table, false, stdout);
        else
                cli_say(cli, "%s", empty);
        return CLI_GOOD;
}
