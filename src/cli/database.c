/* Finding, holding and starting the lab's database. The locks are the allocator's and the runner's own. */
#include "cli/database.h"

#include <errno.h>
#include <stdio.h>

#include "base/file.h"
#include "base/text.h"
#include "cli/term.h"
#include "config/config.h"

int database_find(struct cli *cli, struct database *ret, struct error *error)
{
        *ret = (struct database){.supervisor_lock = -1, .runner_lock = -1};
        if (cli->opt.url)
                return error_set(error, -EINVAL, "this works on the machine of the lab, not through --url");
        int r = cli_config(cli, &ret->config, error);
        if (r == 0)
                r = cli_state_dir(cli, &ret->state, error);
        if (r < 0)
                return r;
        ret->embedded = config_db_embedded(ret->config);
        ret->directory = path_join(ret->state, "db");
        ret->options = (struct cluster_options){
                .directory = ret->directory, .dbname = ret->config->db.dbname, .role = ret->config->db.user};
        ret->conninfo = ret->embedded ? cluster_conninfo_at(&ret->options) : config_db_conninfo(ret->config);
        return 0;
}

static int hold(struct cli *cli, const struct database *database, const char *name, int *fd, struct error *error)
{
        _cleanup_free_ char *path = path_join(database->state, name);
        int r = file_lock(path, 0, fd, error);
        if (r == -EACCES || r == -EPERM)
                cli_hint(cli, "run it as root or as the user who started the allocator");
        return r;
}

int database_hold(struct cli *cli, struct database *database, bool runners, struct error *error)
{
        int r = hold(cli, database, "supervisor.lock", &database->supervisor_lock, error);
        if (r == -EWOULDBLOCK)
                return error_set(error, r, "an allocator runs with the state directory %s", database->state);
        if (r == 0 && runners)
                r = hold(cli, database, "runner.lock", &database->runner_lock, error);
        if (r == -EWOULDBLOCK)
                return error_set(error, r, "an operation still runs with the state directory %s", database->state);
        return r;
}

int database_start(struct cli *cli, struct database *database, bool make, struct error *error)
{
        _cleanup_free_ char *version = cluster_version(database->directory);
        if (!make && !*version) {
                cli_hint(cli, "--state-dir DIR names another lab's state");
                return error_set(error, -ENOENT, "there is no database in %s", database->directory);
        }
        int r = cluster_start(&database->options, &database->cluster, error);
        return r < 0 ? error_wrap(error, "the embedded database cannot start") : 0;
}

void database_deinit(struct database *database)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        if (database->cluster && !cluster_adopted(database->cluster) && cluster_stop(database->cluster, &error) < 0) {
                fputs("lablink: ", stderr);
                term_put(stderr, error_text(&error));
                fputc('\n', stderr);
        }
        cluster_free(database->cluster);
        closep(&database->runner_lock);
        closep(&database->supervisor_lock);
        free(database->state);
        free(database->directory);
        free(database->conninfo);
}

struct backup_place database_place(const struct database *database, const char *conninfo)
{
        return (struct backup_place){.conninfo = conninfo,
                                     .directory = database->embedded ? database->directory : NULL};
}
