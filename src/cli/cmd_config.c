/* lablink config show and check: what an allocator started with these options would see. Read here, not asked. */
#include <errno.h>
#include <stdio.h>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/table.h"
#include "cli/term.h"
#include "config/config.h"

int run_config_show(struct cli *cli, _unused_ int argc, _unused_ char **argv, struct error *error)
{
        static const char *const heads[] = {"KEY", "VALUE", "SOURCE", "PLACE", NULL};
        struct config *config;
        int r = cli_config(cli, &config, error);
        if (r < 0)
                return r;
        _cleanup_json_ json_t *rows = config_show(config);
        if (cli->json) {
                json_put(rows, stdout);
                return CLI_GOOD;
        }
        _cleanup_table_ struct table *table = table_new(heads);
        size_t i;
        const json_t *row;
        json_array_foreach (rows, i, row) {
                table_add_json(table, row, "key");
                table_add_json(table, row, "value");
                table_add_json(table, row, "source");
                table_add_json(table, row, "place");
        }
        table_print(table, false, stdout);
        return CLI_GOOD;
}

int run_config_check(struct cli *cli, _unused_ int argc, _unused_ char **argv, struct error *error)
{
        struct config *config;
        _cleanup_buf_ struct buf problems = BUF_NULL;
        int r = cli_config(cli, &config, error);
        if (r < 0)
                return r;
        if (config_check_allocator(config, &problems) < 0) {
                term_put(stderr, buf_str(&problems));
                return error_set(error, -EIO, "an allocator would not start with this configuration");
        }
        _cleanup_json_ json_t *answer = json_pack("{s:b, s:s?}", "valid", 1, "file", config->file);
        if (cli->json)
                json_put(answer, stdout);
        cli_say(cli, "the configuration is good: %s",
                config->file ? config->file : "no file, so defaults, environment and options");
        return CLI_GOOD;
}
