/*
 * lablink db restore. Everything that can be refused is refused before anything is changed: a running allocator, a file
 * that is none of ours, no word yes. The embedded database is restored beside the old one, which it then replaces in one
 * step; an external one is replaced in one transaction, since its role may make no databases.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/text.h"
#include "cli/commands.h"
#include "cli/confirm.h"
#include "cli/database.h"
#include "cli/follow.h"
#include "cli/table.h"
#include "cli/term.h"
#include "config/config.h"
#include "lab/answer.h"
#include "lab/backup.h"
#include "lab/site.h"
#include "lab/sql.h"

struct restore {
        struct cli *cli;
        const char *file;
        int fd;
        int64_t size;
        struct database database;
        struct lab_backup backup;
        struct progress progress;
        bool loaded; /* into an external database: there is no way back */
};

static void restore_deinit(struct restore *restore)
{
        progress_deinit(&restore->progress);
        database_deinit(&restore->database);
        closep(&restore->fd);
}

static bool show_share(void *userdata, int64_t bytes)
{
        struct restore *restore = userdata;
        progress_set(&restore->progress, "restoring, %d %%",
                     (int)(restore->size > 0 ? MIN(bytes * 100 / restore->size, (int64_t)100) : 0));
        progress_tick(&restore->progress);
        return !interrupt_seen();
}

static struct backup_place place_of(struct restore *restore, const char *conninfo)
{
        struct backup_place place = database_place(&restore->database, conninfo);
        place.tick = show_share;
        place.userdata = restore;
        return place;
}

/* --- what is refused ---------------------------------------------------------------------------------------------- */

static int open_file(struct restore *restore, struct error *error)
{
        struct stat st;
        restore->fd = open(restore->file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (restore->fd < 0 || fstat(restore->fd, &st) < 0)
                return error_errno(error, errno, "cannot read %s", restore->file);
        restore->size = st.st_size;
        return 0;
}

static int hold(struct restore *restore, struct error *error)
{
        struct database *database = &restore->database;
        int r = 0;
        if (database->embedded)
                r = dir_make(database->state, 0711, error);
        else if (access(database->state, F_OK) < 0)
                return 0; /* the allocators are elsewhere: their connections tell of them */
        if (r == 0)
                r = database_hold(restore->cli, database, true, error);
        if (r != -EWOULDBLOCK)
                return r;
        if (database->supervisor_lock >= 0)
                cli_hint(restore->cli, "wait for its end: `pgrep -a lablink-runner`");
        else
                cli_hint(restore->cli, "stop it first (systemctl stop lablink-allocator, or Ctrl-C where it runs), "
                                       "restore, and start it again; client VMs go on");
        return -EBUSY;
}

static void add_count(struct buf *out, int64_t n, const char *what, const char *after)
{
        buf_addf(out, "%lld %s%s%s", (long long)n, what, n == 1 ? "" : "s", after);
}

static const char *contents(const struct lab_backup *backup, struct buf *out)
{
        add_count(out, backup->vms, "VM", ", ");
        add_count(out, backup->seats, "seat", ", ");
        add_count(out, backup->operations, "operation", " and ");
        add_count(out, backup->log_lines, "log line", "");
        return buf_str(out);
}

/* The question of a terminal, or --yes. */
static int ask(struct restore *restore, struct error *error)
{
        _cleanup_buf_ struct buf text = BUF_NULL;
        if (restore->cli->opt.yes)
                return 0;
        return confirm(error,
                       "%s holds %s.\nIt replaces the lab's database; what was done since is lost.\n"
                       "Type yes to go on: ",
                       restore->file, contents(&restore->backup, &text));
}

/* --- the embedded database ---------------------------------------------------------------------------------------- */

static int machines_of(const char *conninfo, json_t **ret, struct error *error)
{
        _cleanup_db_ struct db *db = NULL;
        int r = db_open(conninfo, "lablink-restore", &db, error);
        return r < 0 ? r : lab_machines(db, ret, error);
}

static int settle(const char *conninfo, const json_t *machines, const char *site, struct error *error)
{
        _cleanup_db_ struct db *db = NULL;
        int r = db_open(conninfo, "lablink-restore", &db, error);
        if (r == 0)
                r = lab_settle(db, machines, site, error);
        return r < 0 ? r : db_exec(db, "analyze", error);
}

static int fill(struct restore *restore, const char *conninfo, struct error *error)
{
        char site[SITE_SIZE];
        _cleanup_json_ json_t *machines = NULL;
        struct backup_place place = place_of(restore, conninfo);
        int r = site_open(restore->database.state, site, error);
        if (r == 0)
                r = machines_of(restore->database.conninfo, &machines, error);
        if (r == 0)
                r = backup_load(&place, restore->fd, false, error);
        return r < 0 ? r : settle(conninfo, machines, site, error);
}

static int restore_embedded(struct restore *restore, struct error *error)
{
        _cleanup_free_ char *fresh = NULL;
        struct database *database = &restore->database;
        int r = database_start(restore->cli, database, true, error);
        if (r == 0)
                r = cluster_restore_begin(database->cluster, &database->options, &fresh, error);
        if (r < 0)
                return r;
        r = fill(restore, fresh, error);
        if (r == 0 && interrupt_seen())
                r = error_set(error, -ECANCELED, "the restore was stopped");
        if (r == 0)
                r = cluster_restore_commit(database->cluster, &database->options, error);
        if (r < 0)
                cluster_restore_abandon(database->cluster);
        return r;
}

/* --- an external database ----------------------------------------------------------------------------------------- */

/* Another allocator, or a runner, of this machine or another. */
static int nobody_else(struct db *db, struct error *error)
{
        static const struct db_statement statement = {
                .name = "restore_others",
                .sql = "select count(*) from pg_stat_activity where datname = current_database()"
                       " and pid <> pg_backend_pid() and application_name like 'lablink-%'",
                .rows = DB_ONE,
                .decode = answer_count,
        };
        struct count_answer others = {0};
        int r = db_run(db, db_query_none(&statement, &others), error);
        if (r == 0 && others.count)
                r = error_set(error, -EBUSY,
                              "%lld connections of an allocator or runner are open on the database: stop "
                              "every allocator that uses it",
                              (long long)others.count);
        return r;
}

/* What a newer schema added would stay beside what the backup brings. */
static int check_schema(const struct restore *restore, struct db *db, struct error *error)
{
        bool made;
        int schema = 0;
        int r = lab_schema_now(db, &made, &schema, error);
        if (r == 0 && schema > restore->backup.schema)
                r = error_set(error, -EPROTO,
                              "the database has schema %d and the backup %d: restore into a new, empty database and "
                              "name that one in the configuration",
                              schema, restore->backup.schema);
        return r;
}

static int restore_external(struct restore *restore, struct error *error)
{
        _cleanup_json_ json_t *machines = NULL;
        _cleanup_db_ struct db *db = NULL;
        const char *conninfo = restore->database.conninfo;
        struct backup_place place = place_of(restore, conninfo);
        int r = db_open(conninfo, "lablink-restore", &db, error);
        if (r == 0)
                r = nobody_else(db, error);
        if (r == 0)
                r = check_schema(restore, db, error);
        if (r == 0)
                r = lab_machines(db, &machines, error);
        if (r == 0 && interrupt_seen())
                r = error_set(error, -ECANCELED, "the restore was stopped");
        db = db_close(db);
        if (r == 0)
                r = backup_load(&place, restore->fd, true, error);
        restore->loaded = r == 0;
        return r < 0 ? r : settle(conninfo, machines, NULL, error);
}

/* --- the command -------------------------------------------------------------------------------------------------- */

static int prepare(struct restore *restore, struct error *error)
{
        struct cli *cli = restore->cli;
        int r = confirm_possible(cli, "a restore", error);
        if (r >= 0)
                r = database_find(cli, &restore->database, error);
        if (r == 0)
                r = open_file(restore, error);
        if (r == 0)
                r = hold(restore, error);
        if (r < 0)
                return r;
        struct backup_place place = place_of(restore, NULL);
        r = lab_backup_look(&place, restore->fd, restore->database.config, &restore->backup, error);
        if (r < 0) {
                error_wrap(error, "%s is refused", restore->file);
                return r == -EINVAL ? -EIO : r;
        }
        return ask(restore, error);
}

static int told(const struct restore *restore)
{
        const struct lab_backup *b = &restore->backup;
        if (restore->cli->json) {
                _cleanup_json_ json_t *value = json_pack("{s:s, s:I, s:I, s:I, s:I}", "file", restore->file, "vms",
                                                         (json_int_t)b->vms, "seats", (json_int_t)b->seats,
                                                         "operations", (json_int_t)b->operations, "log_lines",
                                                         (json_int_t)b->log_lines);
                json_put(value, stdout);
        }
        _cleanup_buf_ struct buf text = BUF_NULL;
        cli_say(restore->cli, "restored %s; start the allocator now", contents(b, &text));
        return CLI_GOOD;
}

int run_db_restore(struct cli *cli, _unused_ int argc, char **argv, struct error *error)
{
        _cleanup_(restore_deinit) struct restore restore = {
                .cli = cli, .file = argv[0], .fd = -1, .database = {.supervisor_lock = -1, .runner_lock = -1}};
        progress_init(&restore.progress, cli->opt.quiet || cli->json);
        int r = prepare(&restore, error);
        if (r < 0)
                return r;
        interrupt_catch();
        progress_set(&restore.progress, "restoring");
        r = restore.database.embedded ? restore_embedded(&restore, error) : restore_external(&restore, error);
        progress_clear(&restore.progress);
        if (r < 0) {
                error_wrap(error,
                           restore.loaded ? "the backup is loaded; restore it once more" : "nothing was changed");
                return r == -EINVAL || r == -ENOTCONN ? -EIO : r;
        }
        return told(&restore);
}
