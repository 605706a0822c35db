/* What the files of the embedded cluster share. */
#pragma once

#include "base/process.h"
#include "db/cluster.h"

#define CLUSTER_OLDEST 14
#define CLUSTER_PORT "5432" /* of the socket's name; nothing listens on the network */
#define CLUSTER_SUPERUSER "postgres"

struct cluster {
        char *directory, *data, *run, *conf, *log;
        char *bin;  /* directory of the binaries */
        char *user; /* name of the system user that runs it */
        uid_t uid;
        gid_t gid;
        bool as_root; /* we are root and become that user */
        char *conninfo;
        struct process_identity postmaster;
        bool adopted;
};

/* --- cluster_binaries.c: which PostgreSQL of this machine --- */

/* `major` > 0: only that one will do, else the newest. -ENOENT or -EPROTO with a sentence that says what to install. */
int cluster_find_binaries(struct cluster *cluster, int major, struct error *error);
/* The directory with a pg_dump and pg_restore for a server of version `major`: of the same version, else the newest if
 * that is newer; 0: the newest. Owned by the caller. */
int cluster_find_tools(int major, char **ret, struct error *error);

/* --- cluster_files.c: user, directories, configuration, initdb --- */

int cluster_find_user(struct cluster *cluster, const char *wanted, struct error *error);
/* Runs `call` as that user, in a process of its own when we are root: what it gives (0 to 254), or -1. */
int cluster_as_user(const struct cluster *cluster, int (*call)(const struct cluster *cluster, const void *argument),
                    const void *argument);
/* Makes a directory that belongs to that user, or checks that it does. */
int cluster_give(const struct cluster *cluster, const char *path, mode_t mode, struct error *error);
int cluster_make_directories(struct cluster *cluster, struct error *error);
int cluster_write_conf(struct cluster *cluster, const struct cluster_options *options, struct error *error);
int cluster_initdb(struct cluster *cluster, struct error *error);

/* --- cluster_postmaster.c: the process --- */

/* Is a postmaster of this data directory alive? Fills cluster->postmaster. */
bool cluster_find_postmaster(struct cluster *cluster);
/* Starts one, and again while an old one's last processes are ending. Waits until it takes connections. */
int cluster_launch(struct cluster *cluster, struct error *error);
int cluster_wait_ready(struct cluster *cluster, struct error *error);
char *cluster_admin_conninfo(const struct cluster *cluster); /* as superuser; owned by the caller */
