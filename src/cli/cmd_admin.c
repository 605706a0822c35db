/* lablink admin password and db url: facts that live on this machine, beside the allocator. */
#include <errno.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/table.h"
#include "cli/term.h"
#include "config/config.h"
#include "db/cluster.h"

/* Prints {"<key>": text} or the text. */
static void put_fact(const struct cli *cli, const char *key, const char *text)
{
        _cleanup_json_ json_t *value = json_pack("{s:s}", key, text);
        if (cli->json) {
                json_put(value, stdout);
                return;
        }
        term_put(stdout, text);
        putchar('\n');
}

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
        put_fact(cli, "password", password.data ? str_trim(password.data) : "");
        return CLI_GOOD;
}

static void add_quoted(struct buf *out, const char *name, const char *value)
{
        buf_addf(out, "%s%s='", out->len ? " " : "", name);
        for (; *value; value++) {
                if (*value == '\'' || *value == '\\')
                        buf_addc(out, '\\');
                buf_addc(out, *value);
        }
        buf_addc(out, '\'');
}

/* The same without what libpq itself calls secret (dispchar '*'). Owned by the caller; NULL when it is unreadable. */
static char *without_secrets(const char *conninfo, struct error *error)
{
        char *why = NULL;
        PQconninfoOption *options = PQconninfoParse(conninfo, &why);
        if (!options) {
                error_set(error, -EIO, "db.url cannot be read: %s", str_or(why, "out of memory"));
                PQfreemem(why);
                return NULL;
        }
        struct buf out = BUF_NULL;
        for (const PQconninfoOption *option = options; option->keyword; option++)
                if (option->val && *option->dispchar != '*')
                        add_quoted(&out, option->keyword, option->val);
        PQconninfoFree(options);
        return buf_steal(&out);
}

static int embedded_url(struct cli *cli, const struct config *config, char **ret, struct error *error)
{
        _cleanup_free_ char *state = NULL;
        int r = cli_state_dir(cli, &state, error);
        if (r < 0)
                return r;
        _cleanup_free_ char *directory = path_join(state, "db");
        struct cluster_options options = {.directory = directory, .dbname = config->db.dbname, .role = config->db.user};
        *ret = cluster_conninfo_at(&options);
        return 0;
}

int run_db_url(struct cli *cli, _unused_ int argc, _unused_ char **argv, struct error *error)
{
        struct config *config;
        _cleanup_free_ char *conninfo = NULL;
        int r = cli_config(cli, &config, error);
        if (r < 0)
                return r;
        if (config_db_embedded(config)) {
                r = embedded_url(cli, config, &conninfo, error);
        } else {
                _cleanup_free_ char *whole = config_db_conninfo(config);
                conninfo = cli->opt.secrets ? STEAL(whole) : without_secrets(whole, error);
        }
        if (r < 0 || !conninfo)
                return r < 0 ? r : -EIO;
        put_fact(cli, "url", conninfo);
        return CLI_GOOD;
}
