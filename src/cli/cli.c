/* What commands share. A broken configuration is told whole, every problem with its place, before anything is done. */
#include "cli/cli.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "cli/api.h"
#include "cli/table.h"
#include "cli/term.h"
#include "config/config.h"

int cli_config(struct cli *cli, struct config **ret, struct error *error)
{
        _cleanup_buf_ struct buf problems = BUF_NULL;
        struct config_input input = {
                .file = cli->opt.config_file,
                .sets = cli->opt.sets.n ? cli->opt.sets.values : NULL,
                .state_dir = cli->opt.state_dir,
        };
        if (!cli->config && config_load(&input, &cli->config, &problems) < 0) {
                term_put(stderr, buf_str(&problems));
                return error_set(error, -EIO, "the configuration has problems");
        }
        *ret = cli->config;
        return 0;
}

/* Without the configuration where it can be, so that a broken one does not hide a running lab. */
int cli_state_dir(struct cli *cli, char **ret, struct error *error)
{
        const char *given = cli->opt.state_dir;
        if (given && *given) {
                char here[PATH_MAX];
                *ret = given[0] == '/' || !getcwd(here, sizeof(here)) ? xstrdup(given) : path_join(here, given);
                return 0;
        }
        struct config *config = NULL;
        int r = cli_config(cli, &config, error);
        if (r < 0) {
                cli_hint(cli, "with --state-dir DIR the lab is found without the configuration");
                return r;
        }
        *ret = config_state_dir(config);
        return 0;
}

char *cli_program(const char *name)
{
        char self[PATH_MAX];
        ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
        self[MAX(n, (ssize_t)0)] = '\0';
        char *slash = strrchr(self, '/');
        if (!slash)
                return xstrdup(name);
        *slash = '\0';
        _cleanup_free_ char *beside = path_join(self, name);
        return access(beside, X_OK) == 0 ? STEAL(beside) : xstrdup(name);
}

void cli_hint(struct cli *cli, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        free(cli->hint);
        cli->hint = xvasprintf(format, args);
        va_end(args);
}

void cli_say(const struct cli *cli, const char *format, ...)
{
        if (cli->opt.quiet || cli->json)
                return;
        va_list args;
        va_start(args, format);
        _cleanup_free_ char *text = xvasprintf(format, args);
        va_end(args);
        term_put(stdout, text);
        putchar('\n');
}

void cli_fact(const struct cli *cli, const char *key, const char *text)
{
        _cleanup_json_ json_t *value = json_pack("{s:s}", key, text);
        if (cli->json) {
                json_put(value, stdout);
                return;
        }
        term_put(stdout, text);
        putchar('\n');
}

void cli_deinit(struct cli *cli)
{
        cli->api = api_free(cli->api);
        cli->config = config_free(cli->config);
        free(cli->hint);
}
