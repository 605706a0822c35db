/*
 * Putting a restored database in the place of the lab's. The old one stays whole under its name until the new one is
 * complete; the change of names is one transaction, so that a crash at any moment leaves one of the two, never none.
 */
#include <errno.h>
#include <libpq-fe.h>
#include <string.h>

#include "base/text.h"
#include "db/cluster_internal.h"

#define FRESH "lablink_restore_new"
#define OLD "lablink_restore_old"

static PGconn *connect_admin(struct cluster *cluster, struct error *error)
{
        _cleanup_free_ char *conninfo = cluster_admin_conninfo(cluster);
        PGconn *pg = PQconnectdb(conninfo);
        if (PQstatus(pg) == CONNECTION_OK) {
                PQclear(PQexec(pg, "set client_min_messages = warning"));
                return pg;
        }
        _cleanup_free_ char *words = str_trim(xstrdup(PQerrorMessage(pg)));
        error_set(error, -ENOTCONN, "the embedded database cannot be reached: %s", words);
        PQfinish(pg);
        return NULL;
}

static int run(PGconn *pg, const char *sql, struct error *error)
{
        PGresult *result = PQexec(pg, sql);
        int r = 0;
        if (PQresultStatus(result) != PGRES_COMMAND_OK) {
                const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
                r = error_set(error, -EIO, "%s%s%s",
                              str_or(PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY), PQerrorMessage(pg)),
                              detail ? ": " : "", str_or(detail, ""));
        }
        PQclear(result);
        return r;
}

int cluster_restore_begin(struct cluster *cluster, const struct cluster_options *options, char **ret_conninfo,
                          struct error *error)
{
        PGconn *pg = connect_admin(cluster, error);
        if (!pg)
                return -ENOTCONN;
        char *role = PQescapeIdentifier(pg, options->role, strlen(options->role));
        _cleanup_free_ char *make = xasprintf("create database " FRESH " owner %s encoding 'UTF8' template template0",
                                              str_or(role, "\"\""));
        int r = run(pg, "drop database if exists " FRESH " with (force)", error);
        if (r == 0)
                r = run(pg, "drop database if exists " OLD " with (force)", error);
        if (r == 0)
                r = run(pg, make, error);
        PQfreemem(role);
        PQfinish(pg);
        struct cluster_options fresh = *options;
        fresh.dbname = FRESH;
        if (r == 0)
                *ret_conninfo = cluster_conninfo_at(&fresh);
        return r;
}

int cluster_restore_commit(struct cluster *cluster, const struct cluster_options *options, struct error *error)
{
        PGconn *pg = connect_admin(cluster, error);
        if (!pg)
                return -ENOTCONN;
        char *dbname = PQescapeIdentifier(pg, options->dbname, strlen(options->dbname));
        _cleanup_free_ char *swap = xasprintf("begin; alter database %s rename to " OLD "; alter database " FRESH
                                              " rename to %s; commit",
                                              str_or(dbname, "\"\""), str_or(dbname, "\"\""));
        int r = run(pg, swap, error);
        if (r == 0)
                run(pg, "drop database " OLD " with (force)", NULL); /* a leftover is dropped by the next restore */
        PQfreemem(dbname);
        PQfinish(pg);
        return r;
}

void cluster_restore_abandon(struct cluster *cluster)
{
        PGconn *pg = connect_admin(cluster, NULL);
        if (!pg)
                return;
        run(pg, "drop database if exists " FRESH " with (force)", NULL);
        PQfinish(pg);
}
