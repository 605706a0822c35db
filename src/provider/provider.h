/*
 * Where machines come from. A provider makes N client VMs, lists them, starts, resets and destroys them and reaches one.
 * It knows nothing of seats or of the database: the runner writes rows, the provider makes machines. It is linked into
 * the runner only and is plain blocking code. Nothing outside src/provider/NAME/ knows a provider's name: the runner's
 * main has the one list.
 */
#pragma once

#include "base/error.h"

struct config;

/* Where a provider's words go. Every call may be made from the runner's one thread only. */
struct provider_sink {
        void (*line)(void *userdata, const char *text); /* one line of output for the operation */
        void (*progress)(void *userdata, int done, int total);
        /* A machine exists now: `seconds` it took, real times of start and end. */
        void (*created)(void *userdata, const char *hostname, double started, double ended);
        bool (*cancelled)(void *userdata); /* asked between steps */
        void *userdata;
};

/* One line of output; nothing when there is no sink. */
void sink_line(const struct provider_sink *sink, const char *format, ...) _printf_(2, 3);

struct provider_order { /* a machine to make */
        const char *hostname;
        const char *token; /* its own secret; the provider keeps it where only root and that VM can read it */
};

enum provider_state { PROVIDER_RUNNING, PROVIDER_STOPPED, PROVIDER_BROKEN };

struct provider_vm {
        char *hostname;
        enum provider_state state;
        char *address;         /* may be NULL */
        double started, ended; /* of its making, real seconds since 1970; 0: not known */
};

struct provider_vms {
        struct provider_vm *vm;
        size_t n;
        bool in_doubt; /* a change was cut off: a machine that is not named here may exist all the same */
};
void provider_vms_clear(struct provider_vms *vms);

/* How a VM's files are reached. What lies there was written by a participant who is root in the VM. */
enum provider_reach_kind { REACH_DIRECTORY, REACH_SSH };

struct provider_reach {
        enum provider_reach_kind kind;
        char *directory;                   /* REACH_DIRECTORY: the participant's home as this machine sees it */
        char *user, *address;              /* REACH_SSH */
        int port;                          /* 0: ssh's own */
        char *key_file, *known_hosts_file; /* private key, and where the VM's host key is recorded */
        bool container;                    /* the files are in the VM's first container */
        char *home;                        /* the participant's home, as the VM (or its container) names it */
};
void provider_reach_clear(struct provider_reach *reach);
#define _cleanup_reach_ _cleanup_(provider_reach_clear)

struct aws_credentials;

struct provider_means { /* what the runner has and its children need */
        int lock_fd;    /* the runner's lock: held until the last child that inherits it has ended; -1: none */
        const struct aws_credentials *aws; /* set by an administrator; empty: none were. Borrowed for the call */
};

struct provider; /* a provider's own */

struct provider_ops {
        const char *name;
        /* Required, all of them but where it says so. Each returns 0 or a negative errno with a sentence. */
        int (*open)(const struct config *config, struct provider **ret, struct error *error);
        struct provider *(*close)(struct provider *provider);
        /* Optional. Called after open, when there is something to give. */
        void (*equip)(struct provider *provider, const struct provider_means *means);
        /* Can it work on this machine? 0 with *ret_code "ready"; else the slug of what is missing and what to do about it.
         * `detail` (may be NULL) gets one line a limit or isolation in force ("memory limit: cgroup v1"). */
        int (*check)(struct provider *provider, char **ret_code, char **ret_hint, char ***ret_detail);
        /* Optional, for a provider that names its machines itself: the names that the next `n` will have (a NULL-terminated
         * list, owned by the caller), and whether they get tokens. */
        int (*names)(struct provider *provider, size_t n, char ***ret, bool *ret_tokens, struct error *error);
        /* Makes the machines; those that exist stay when another fails: the sentence counts them. */
        int (*launch)(struct provider *provider, const struct provider_order *orders, size_t n,
                      const struct provider_sink *sink, struct error *error);
        int (*list)(struct provider *provider, struct provider_vms *ret, struct error *error);
        int (*destroy_all)(struct provider *provider, const struct provider_sink *sink, struct error *error);
        /* Optional. That one alone; one that is not there is no error. */
        int (*destroy)(struct provider *provider, const char *hostname, const struct provider_sink *sink,
                       struct error *error);
        /* Starts one that is stopped again, from its files. */
        int (*start)(struct provider *provider, const char *hostname, const struct provider_sink *sink,
                     struct error *error);
        /* A fresh machine of the same name for the next seat: nothing of the old participant is left. `token` is new. */
        int (*reset)(struct provider *provider, const char *hostname, const char *token,
                     const struct provider_sink *sink, struct error *error);
        /* Runs a command inside, attached to our standard streams, as the participant (or as the VM's root). Gives the exit
         * status. argv NULL: a login shell. */
        int (*exec)(struct provider *provider, const char *hostname, bool as_root, const char *const *argv,
                    int *ret_status, struct error *error);
        /* Where its participant's files are, for collecting them. -ENOENT: there is no such machine, or it never became
         * one. Asks nothing of the machine itself, which may be down. */
        int (*reach)(struct provider *provider, const char *hostname, struct provider_reach *ret, struct error *error);
        /* Optional. Mends what a change that was cut off has left; `action` is refresh, retry or unlock. */
        int (*repair)(struct provider *provider, const char *action, const struct provider_sink *sink,
                      struct error *error);
};
