/*
 * The supervisor: small, no network, parses nothing from outside but its configuration. It opens what needs rights,
 * starts and watches the embedded PostgreSQL, the web process and, on the web process's word, runners.
 */
#pragma once

#include "allocator/archives.h"
#include "allocator/keys.h"
#include "config/config.h"
#include "db/cluster.h"
#include "lab/site.h"

#define RUNNERS_MAX 16

struct runner_child {
        pid_t pid;
        int64_t operation; /* 0: reconcile; RUNNER_AWS */
};

struct supervisor {
        struct config *config;
        json_t *config_json; /* as runners get it */
        char *state_dir, *conninfo, *public_url, *admin_password, *admin_hash;
        bool password_made; /* by us; else it is the configuration's */
        bool password_new;  /* made by this very start */
        char site[SITE_SIZE];
        char *runner_path;
        int lock_fd;
        int listen_tcp, listen_admin, listen_vm;
        int signals;
        struct cluster *cluster;
        int postmaster; /* pidfd; -1: external database */
        pid_t web;
        int web_socket;
        bool web_ready, announced, stopping, hurried;
        int64_t web_started_ms, web_backoff_ms, web_due_ms;
        int64_t postmaster_due_ms;
        bool reconcile_again;
        int64_t reconcile_pause_ms; /* after one that failed; grows */
        int64_t reconcile_due_ms;   /* 0: housekeeping's word is enough */
        struct runner_child runners[RUNNERS_MAX];
        struct archives archives;
        struct keys keys;
};

/* Everything up to the first child; prints nothing but problems. */
int supervisor_prepare(struct supervisor *s, struct error *error);
/* Until a signal ends it. Exit status. */
int supervisor_run(struct supervisor *s);
void supervisor_deinit(struct supervisor *s);

/* --- prepare.c --- */
int prepare_state_dir(struct supervisor *s, struct error *error);
int prepare_sockets(struct supervisor *s, struct error *error);
int prepare_database(struct supervisor *s, struct error *error);
/* The user that the web process becomes: 0 when we are not root (it stays who we are). */
int web_user_ids(uid_t *ret_uid, gid_t *ret_gid, const char **ret_name);

/* --- password.c --- */
int prepare_password(struct supervisor *s, struct error *error);

/* --- children.c --- */
int spawn_web(struct supervisor *s, struct error *error);
void spawn_runner(struct supervisor *s, int64_t operation);
/* A pipe that holds `value` as text; its read end. */
int pipe_with(const json_t *value, int *ret, struct error *error);
/* Our environment without the configuration's part. The list is the caller's, its texts are not. */
const char **plain_environment(void);
/* True when some runner works, also one that an earlier supervisor started. */
bool runners_at_work(struct supervisor *s);

/* --- farewell.c --- */
void say_farewell(struct supervisor *s);
