/* The embedded database as a whole: in which order its parts come up, and how it is reached. */
#include "db/cluster.h"

#include <errno.h>
#include <libpq-fe.h>
#include <signal.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "db/cluster_internal.h"
#include "db/conninfo.h"

#define LOCK_MS 60000

static char *conninfo_for(const char *run, const char *dbname, const char *role)
{
        struct buf out = BUF_NULL;
        conninfo_add(&out, "host", run);
        conninfo_add(&out, "port", CLUSTER_PORT);
        conninfo_add(&out, "dbname", dbname);
        conninfo_add(&out, "user", role);
        return buf_steal(&out);
}

char *cluster_admin_conninfo(const struct cluster *cluster)
{
        struct buf out = BUF_NULL;
        _cleanup_free_ char *base = conninfo_for(cluster->run, "postgres", CLUSTER_SUPERUSER);
        buf_adds(&out, base);
        conninfo_add(&out, "connect_timeout", "10");
        return buf_steal(&out);
}

char *cluster_conninfo_at(const struct cluster_options *options)
{
        _cleanup_free_ char *run = path_join(options->directory, "run");
        return conninfo_for(run, options->dbname, options->role);
}

char *cluster_version(const char *directory)
{
        _cleanup_free_ char *path = xasprintf("%s/data/PG_VERSION", directory);
        struct buf text = BUF_NULL;
        if (file_read(path, 64, &text, NULL) < 0) {
                buf_deinit(&text);
                return xstrdup("");
        }
        char *version = str_trim(xstrdup(buf_str(&text)));
        buf_deinit(&text);
        return version;
}

/* --- role and database -------------------------------------------------------------------------------------------- */

static int command(PGconn *pg, const char *what, char *sql, struct error *error)
{
        _cleanup_free_ char *owned = sql;
        PGresult *result = PQexec(pg, owned);
        int r = PQresultStatus(result) == PGRES_COMMAND_OK
                        ? 0
                        : error_set(error, -EIO, "cannot make the %s: %s", what, PQresultErrorMessage(result));
        PQclear(result);
        return r;
}

static bool is_there(PGconn *pg, const char *sql, const char *name)
{
        PGresult *result = PQexecParams(pg, sql, 1, NULL, &name, NULL, NULL, 0);
        bool found = PQntuples(result) > 0;
        PQclear(result);
        return found;
}

static int make_contents(const struct cluster_options *options, PGconn *pg, struct error *error)
{
        char *role = PQescapeIdentifier(pg, options->role, strlen(options->role));
        char *dbname = PQescapeIdentifier(pg, options->dbname, strlen(options->dbname));
        int r = role && dbname ? 0 : error_set(error, -EINVAL, "the names of database and role are not valid");
        if (r == 0 && !is_there(pg, "select 1 from pg_roles where rolname = $1", options->role))
                r = command(pg, "role", xasprintf("create role %s login", role), error);
        if (r == 0 && !is_there(pg, "select 1 from pg_database where datname = $1", options->dbname))
                r = command(pg, "database",
                            xasprintf("create database %s owner %s encoding 'UTF8' template template0", dbname, role),
                            error);
        PQfreemem(role);
        PQfreemem(dbname);
        return r;
}

static int ensure_contents(struct cluster *cluster, const struct cluster_options *options, struct error *error)
{
        _cleanup_free_ char *conninfo = cluster_admin_conninfo(cluster);
        PGconn *pg = PQconnectdb(conninfo);
        int r = PQstatus(pg) == CONNECTION_OK ? make_contents(options, pg, error)
                                              : error_set(error, -EIO, "%s", PQerrorMessage(pg));
        PQfinish(pg);
        return r;
}

/* --- starting ----------------------------------------------------------------------------------------------------- */

static int prepare_data(struct cluster *cluster, struct error *error)
{
        _cleanup_free_ char *version = cluster_version(cluster->directory);
        int64_t major = 0;
        bool there = access(cluster->data, F_OK) == 0;
        if (there && parse_int(version, 1, 9999, &major) < 0)
                return error_set(error, -EINVAL, "%s is no data directory of PostgreSQL (PG_VERSION is missing)",
                                 cluster->data);
        int r = there ? cluster_give(cluster, cluster->data, 0700, error) : 0;
        if (r == 0)
                r = cluster_find_binaries(cluster, (int)major, error);
        return r < 0 || there ? r : cluster_initdb(cluster, error);
}

static int adopt_or_launch(struct cluster *cluster, struct error *error)
{
        cluster->adopted = cluster_find_postmaster(cluster);
        if (!cluster->adopted)
                return cluster_launch(cluster, error);
        log_info("found PostgreSQL running in %s (process %d)", cluster->directory, (int)cluster->postmaster.pid);
        kill(cluster->postmaster.pid, SIGHUP);
        int r = cluster_wait_ready(cluster, error);
        if (r != -ECHILD)
                return r;
        error_clear(error); /* it was just ending */
        cluster->adopted = false;
        return cluster_launch(cluster, error);
}

static int bring_up(struct cluster *cluster, const struct cluster_options *options, struct error *error)
{
        _cleanup_free_ char *lock = path_join(cluster->directory, "lock");
        _cleanup_close_ int fd = -1;
        int r = cluster_find_user(cluster, options->user, error);
        if (r == 0)
                r = cluster_make_directories(cluster, error);
        if (r == 0)
                r = file_lock(lock, LOCK_MS, &fd, error);
        if (r == 0)
                r = prepare_data(cluster, error);
        if (r == 0)
                r = cluster_write_conf(cluster, options, error);
        if (r == 0)
                r = adopt_or_launch(cluster, error);
        return r < 0 ? r : ensure_contents(cluster, options, error);
}

int cluster_start(const struct cluster_options *options, struct cluster **ret, struct error *error)
{
        struct cluster *cluster = xcalloc(1, sizeof *cluster);
        *ret = NULL;
        cluster->directory = xstrdup(options->directory);
        cluster->data = path_join(options->directory, "data");
        cluster->run = path_join(options->directory, "run");
        cluster->conf = path_join(options->directory, "conf");
        cluster->log = path_join(options->directory, "log");
        cluster->conninfo = cluster_conninfo_at(options);
        int r = bring_up(cluster, options, error);
        if (r < 0)
                cluster_free(cluster);
        else
                *ret = cluster;
        return r;
}

const char *cluster_conninfo(const struct cluster *cluster)
{
        return cluster->conninfo;
}

pid_t cluster_pid(const struct cluster *cluster)
{
        return cluster->postmaster.pid;
}

bool cluster_adopted(const struct cluster *cluster)
{
        return cluster->adopted;
}

struct cluster *cluster_free(struct cluster *cluster)
{
        if (!cluster)
                return NULL;
        free(cluster->directory);
        free(cluster->data);
        free(cluster->run);
        free(cluster->conf);
        free(cluster->log);
        free(cluster->bin);
        free(cluster->user);
        free(cluster->conninfo);
        free(cluster);
        return NULL;
}
