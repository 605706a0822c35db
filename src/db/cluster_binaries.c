/*
 * The distribution's PostgreSQL: Debian keeps each major version in a directory of its own and none in PATH, others
 * have one in PATH. The one idea: a data directory belongs to its major version, so that one is looked for first.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "db/cluster_internal.h"

#define DEBIAN "/usr/lib/postgresql"

struct found {
        const char *program, *companion; /* both must be there; the first is asked for its version */
        char *bin;
        int major;  /* of the best so far */
        int newest; /* seen at all, usable or not */
};

/* The major version of DIR/PROGRAM, or 0. */
static int major_of(const struct found *found, const char *bin)
{
        _cleanup_free_ char *program = path_join(bin, found->program);
        _cleanup_free_ char *companion = path_join(bin, found->companion);
        _cleanup_buf_ struct buf out = BUF_NULL;
        int major = 0;
        if (access(program, X_OK) < 0 || access(companion, X_OK) < 0)
                return 0;
        const char *argv[] = {program, "--version", NULL};
        if (process_capture(argv, &out, NULL) < 0 || sscanf(buf_str(&out), "%*s (PostgreSQL) %d", &major) != 1)
                return 0;
        return major;
}

static void consider(struct found *found, const char *bin, int wanted)
{
        int major = major_of(found, bin);
        found->newest = MAX(found->newest, major);
        bool fits = wanted ? major == wanted : major >= CLUSTER_OLDEST && major > found->major;
        if (!fits || (found->bin && found->major == major))
                return;
        str_replace(&found->bin, bin);
        found->major = major;
}

static void consider_debian(struct found *found, int wanted)
{
        DIR *dir = opendir(DEBIAN);
        for (struct dirent *entry; dir && (entry = readdir(dir));) {
                if (entry->d_name[0] < '0' || entry->d_name[0] > '9')
                        continue;
                _cleanup_free_ char *bin = xasprintf(DEBIAN "/%s/bin", entry->d_name);
                consider(found, bin, wanted);
        }
        if (dir)
                closedir(dir);
}

static void consider_pg_config(struct found *found, int wanted)
{
        static const char *const argv[] = {"pg_config", "--bindir", NULL};
        _cleanup_buf_ struct buf out = BUF_NULL;
        if (process_capture(argv, &out, NULL) == 0 && out.len)
                consider(found, str_trim(out.data), wanted);
}

static void consider_path(struct found *found, int wanted)
{
        _cleanup_strv_ char **places = str_split(str_or(getenv("PATH"), "/usr/bin"), ':');
        for (size_t i = 0; places[i]; i++)
                if (places[i][0] == '/')
                        consider(found, places[i], wanted);
}

static void look_everywhere(struct found *found, int wanted)
{
        consider_debian(found, wanted);
        if (!found->bin)
                consider_pg_config(found, wanted);
        if (!found->bin)
                consider_path(found, wanted);
}

int cluster_find_tools(int major, char **ret, struct error *error)
{
        struct found found = {.program = "pg_dump", .companion = "pg_restore"};
        if (major)
                look_everywhere(&found, major);
        if (!found.bin)
                look_everywhere(&found, 0);
        if (found.bin && found.major >= major) {
                *ret = found.bin;
                return 0;
        }
        free(found.bin);
        if (found.newest)
                return error_set(error, -EPROTO,
                                 "the database is PostgreSQL %d, and this machine has pg_dump %d only: apt install "
                                 "postgresql-client-%d",
                                 MAX(major, CLUSTER_OLDEST), found.newest, MAX(major, CLUSTER_OLDEST));
        return error_set(error, -ENOENT,
                         "pg_dump and pg_restore are not installed here: apt install postgresql-client");
}

int cluster_find_binaries(struct cluster *cluster, int major, struct error *error)
{
        struct found found = {.program = "postgres", .companion = "initdb"};
        look_everywhere(&found, major);
        if (found.bin) {
                free(cluster->bin);
                cluster->bin = found.bin;
                return 0;
        }
        if (major && found.newest)
                return error_set(error, -EPROTO,
                                 "the data in %s was made by PostgreSQL %d, and this machine has only %d: install "
                                 "PostgreSQL %d again (apt install postgresql-%d), save the lab with "
                                 "`lablink db backup`, move %s away and load it with `lablink db restore`",
                                 cluster->data, major, found.newest, major, major, cluster->directory);
        if (major)
                return error_set(error, -ENOENT,
                                 "the data in %s needs PostgreSQL %d, and none is installed here: apt install "
                                 "postgresql-%d",
                                 cluster->data, major, major);
        return error_set(error, -ENOENT, "no PostgreSQL %d or newer is installed here: apt install postgresql",
                         CLUSTER_OLDEST);
}
