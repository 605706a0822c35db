/* lablink admin password: it lives on this machine, beside the allocator. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/table.h"
#include "config/config.h"

static int no_password(struct cli *cli, const char *path, int code, struct error *error)
{
        if (code == -EACCES || code == -EPERM)
                cli_hint(cli, "run it as root or as the user who started the allocator: sudo lablink admin password");
        else if (code == -ENOENT)
                cli_hint(cli, "one is made at the allocator's first start; --state-dir DIR names another lab's state");
        return error_wrap(error, "no generated password in %s", path);
}

int run_admin_password(struct cli *cli, _unused_ int argc, _unused_ char **argv, struct error *error)
{
        struct config *config;
        _cleanup_free_ char *state = NULL;
        _cleanup_buf_ struct buf password = BUF_NULL;
        int r = cli_config(cli, &config, error);
        if (r == 0)
                r = cli_state_dir(cli, &state, error);
        if (r < 0)
                return r;
        if (*config->app.admin_password) {
                cli_hint(cli, "it is set at %s", str_or(config->origins[CONFIG_KEY_app_admin_password].place, "?"));
                return error_set(error, -ENOENT,
                                 "the password comes from the configuration (app.admin_password), none is generated");
        }
        _cleanup_free_ char *path = path_join(state, "admin-password");
        r = file_read(path, 4096, &password, error);
        if (r < 0)
                return no_password(cli, path, r, error);
        cli_fact(cli, "password", password.data ? str_trim(password.data) : "");
        return CLI_GOOD;
}
