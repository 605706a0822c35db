/*
 * lablink db url and db backup. A backup is taken while the lab runs, or from a database that is started for it; Ctrl-C
 * leaves nothing behind.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/file.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/database.h"
#include "cli/follow.h"
#include "cli/table.h"
#include "cli/term.h"
#include "config/config.h"
#include "db/conninfo.h"

int run_db_url(struct cli *cli, _unused_ int argc, _unused_ char **argv, struct error *error)
{
        struct config *config;
        _cleanup_free_ char *state = NULL, *conninfo = NULL;
        int r = cli_config(cli, &config, error);
        if (r < 0)
                return r;
        if (config_db_embedded(config)) {
                r = cli_state_dir(cli, &state, error);
                if (r < 0)
                        return r;
                _cleanup_free_ char *directory = path_join(state, "db");
                conninfo = cluster_conninfo_at(&(struct cluster_options){
                        .directory = directory, .dbname = config->db.dbname, .role = config->db.user});
        } else {
                _cleanup_free_ char *whole = config_db_conninfo(config);
                if (cli->opt.secrets)
                        conninfo = STEAL(whole);
                else if (conninfo_split(whole, &conninfo, NULL, error) < 0)
                        return -EIO;
        }
        cli_fact(cli, "url", conninfo);
        return CLI_GOOD;
}

/* --- backup ------------------------------------------------------------------------------------------------------- */

static char *default_name(void)
{
        char stamp[32];
        time_t now = time(NULL);
        struct tm local;
        strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", localtime_r(&now, &local));
        return xasprintf("lablink-%s.dump", stamp);
}

/* FILE, or one with a name of ours in the directory that was named or is the working one. */
static char *choose_file(const char *given)
{
        struct stat st;
        if (given && (stat(given, &st) < 0 || !S_ISDIR(st.st_mode)))
                return xstrdup(given);
        _cleanup_free_ char *name = default_name();
        return given ? path_join(given, name) : STEAL(name);
}

static char *size_text(int64_t bytes)
{
        return bytes < (1 << 20) ? xasprintf("%d KB", (int)((bytes + 1023) >> 10))
                                 : xasprintf("%.1f MB", (double)bytes / (1 << 20));
}

static bool show_size(void *userdata, int64_t bytes)
{
        _cleanup_free_ char *size = size_text(bytes);
        progress_set(userdata, "saving, %s written", size);
        progress_tick(userdata);
        return !interrupt_seen();
}

/* An allocator that runs has its database up; without one the embedded database is started for the while. */
static int reach(struct cli *cli, struct database *database, struct error *error)
{
        if (!database->embedded)
                return 0;
        if (access(database->state, F_OK) < 0) {
                cli_hint(cli, "--state-dir DIR names another lab's state");
                return error_errno(error, errno, "there is no lab in %s", database->state);
        }
        int r = database_hold(cli, database, false, error);
        if (r == -EWOULDBLOCK) {
                error_clear(error);
                return 0;
        }
        return r < 0 ? r : database_start(cli, database, false, error);
}

static int told(struct cli *cli, const char *file, struct error *error)
{
        struct stat st = {0};
        if (stat(file, &st) < 0)
                return error_errno(error, errno, "cannot read %s", file);
        _cleanup_free_ char *size = size_text(st.st_size);
        if (cli->json) {
                _cleanup_json_ json_t *value = json_pack("{s:s, s:I}", "file", file, "bytes", (json_int_t)st.st_size);
                json_put(value, stdout);
        }
        cli_say(cli, "saved the database as %s (%s)", file, size);
        return CLI_GOOD;
}

int run_db_backup(struct cli *cli, int argc, char **argv, struct error *error)
{
        _cleanup_(database_deinit) struct database database = {.supervisor_lock = -1, .runner_lock = -1};
        _cleanup_progress_ struct progress progress;
        progress_init(&progress, cli->opt.quiet || cli->json);
        _cleanup_free_ char *file = choose_file(argc > 0 ? argv[0] : NULL);
        int r = database_find(cli, &database, error);
        if (r == 0) {
                interrupt_catch();
                r = reach(cli, &database, error);
        }
        if (r < 0)
                return r;
        struct backup_place place = database_place(&database, database.conninfo);
        place.tick = show_size;
        place.userdata = &progress;
        r = backup_write(&place, file, cli->opt.yes, error);
        progress_clear(&progress);
        if (r == -EEXIST)
                cli_hint(cli, "choose another name, or --yes replaces it");
        if (r == -ENOTCONN && database.embedded)
                cli_hint(cli, "run it as root or as the user who started the allocator; `lablink doctor` says more");
        if (r < 0) {
                error_wrap(error, "nothing was saved");
                return r == -EINVAL || r == -ENOTCONN ? -EIO : r;
        }
        return told(cli, file, error);
}
