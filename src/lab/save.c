/*
 * The backup before a migration. A start that fails after it may be tried again and again, by systemd for one: the files
 * of those tries must not push out the one of the schema that worked.
 */
#include "lab/save.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "lab/backup.h"
#include "lab/schema.h"

#define PREFIX "before-migration-"
#define SCHEMA_LENGTH (strlen(PREFIX) + 4)

static int is_save(const struct dirent *entry)
{
        return str_starts(entry->d_name, PREFIX) && str_ends(entry->d_name, ".dump") &&
               strlen(entry->d_name) > SCHEMA_LENGTH;
}

/* Names sort by schema, then by time: the one to go is the first that has a younger one of its schema behind it. */
static int next_to_go(struct dirent **files, int n)
{
        for (int i = 0; i + 1 < n; i++)
                if (strncmp(files[i]->d_name, files[i + 1]->d_name, SCHEMA_LENGTH) == 0)
                        return i;
        return -1;
}

void saves_prune(const char *directory)
{
        struct dirent **files = NULL;
        int n = scandir(directory, &files, is_save, alphasort);
        for (int gone = 0; n > SAVES_KEPT && (gone = next_to_go(files, n)) >= 0; n--) {
                _cleanup_free_ char *path = path_join(directory, files[gone]->d_name);
                if (unlink(path) < 0)
                        log_warning("cannot remove %s: %s", path, strerror(errno));
                free(files[gone]);
                memmove(files + gone, files + gone + 1, (size_t)(n - gone - 1) * sizeof(*files));
        }
        for (int i = 0; i < n; i++)
                free(files[i]);
        free(files);
}

static char *name_for(const char *directory, int schema)
{
        char stamp[32];
        time_t now = time(NULL);
        struct tm utc;
        strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", gmtime_r(&now, &utc));
        for (int n = 0;; n++) {
                _cleanup_free_ char *more = n ? xasprintf("-%02d", n) : xstrdup("");
                _cleanup_free_ char *path = xasprintf("%s/" PREFIX "%04d-%s%s.dump", directory, schema, stamp, more);
                if (access(path, F_OK) < 0)
                        return STEAL(path);
        }
}

static int save(const struct backup_place *place, const char *directory, int schema, struct error *error)
{
        _cleanup_free_ char *path = name_for(directory, schema);
        log_info("the database has schema %d and gets %d; saving it first as %s", schema, schema_version(), path);
        int r = backup_write(place, path, false, error);
        return r < 0 ? error_wrap(error, "the database must be migrated and could not be saved before") : 0;
}

int save_before_migration(struct db *db, const struct backup_place *place, const char *state_dir, struct error *error)
{
        int schema = 0;
        bool made = false;
        int r = lab_schema_now(db, &made, &schema, error);
        if (r < 0 || !made || schema >= schema_version())
                return r;
        _cleanup_free_ char *directory = path_join(state_dir, "backups");
        r = dir_make(directory, 0700, error);
        if (r == 0)
                r = save(place, directory, schema, error);
        if (r == 0)
                saves_prune(directory);
        return r;
}
