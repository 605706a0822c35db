/*
 * What the files of the provider `local` tell each other.
 *
 * A VM is three things: a record (STATE/local/NAME.json, for host root only: its range of user ids, its token, the
 * identity of its first process), a directory (STATE/vms/NAME, entered by host root only; what lies inside belongs to
 * the VM's own ids), and, while it runs, a tree of namespaces whose first process the record names. The record is
 * written before anything that it describes can run, so that a runner killed at any moment leaves nothing unknown.
 *
 * The VM's root is hostile: nothing here follows a link or believes a name made inside.
 */
#pragma once

#include <sys/types.h>

#include "base/error.h"
#include "base/process.h"
#include "config/config.h"
#include "provider/provider.h"

#define LOCAL_IDS 65536   /* user and group ids of one VM */
#define LOCAL_CLIENT 1000 /* the participant, counted inside */
#define LOCAL_NAME_MAX 63 /* what the kernel takes as a host name */

struct provider {
        const struct config *config; /* borrowed; outlives the provider */
        char *state;                 /* STATE */
        char *vms;                   /* STATE/vms */
        char *records;               /* STATE/local */
        char *socket_dir;            /* STATE/run/vm, seen as /run/lablink inside */
        char *agent;                 /* the lablink-client that VMs get a copy of */
        char *group;                 /* name of this lab's control group, made from STATE */
};

struct local_vm {
        char *name;
        char *token;
        uint32_t first_id;               /* the VM's root on the host */
        bool made;                       /* false: its creation was never finished */
        struct process_identity init;    /* pid 0: never started */
        struct process_identity network; /* slirp4netns; pid 0: none */
};
void local_vm_clear(struct local_vm *vm);
#define _cleanup_vm_ _cleanup_(local_vm_clear)

/* record.c */
bool local_name_valid(const char *name);
int local_lock(struct provider *p, int *ret_fd, struct error *error);
/* -ENOENT: there is no record. */
int local_vm_load(struct provider *p, const char *name, struct local_vm *ret, struct error *error);
int local_vm_save(struct provider *p, const struct local_vm *vm, struct error *error);
int local_vm_forget(struct provider *p, const char *name, struct error *error);
/* A range of ids that no record and no left directory holds; writes the first record, not `made`. */
int local_vm_new(struct provider *p, const char *name, const char *token, struct local_vm *ret, struct error *error);
/* Every name that has a record or a directory, sorted as people count. Owned by the caller. */
int local_vm_names(struct provider *p, char ***ret, struct error *error);
bool local_vm_has_directory(struct provider *p, const char *name);
/* The first id that a name holds by its record or, when that is lost, by the owner of its home; 0: none. */
uint32_t local_first_id(struct provider *p, const char *name);
void local_sweep(struct provider *p); /* files of writes that were cut off */

/* layout.c: directories and files of a VM on the host, while none of its processes runs */
int layout_make(struct provider *p, const struct local_vm *vm, struct error *error);
/* Opens STATE/vms/NAME, as host root; for the mounts. */
int layout_open(struct provider *p, const char *name, int *ret_fd, struct error *error);
/* Removes everything that the participant or the VM's root could have written. */
int layout_wipe(struct provider *p, const char *name, struct error *error);

/* stage.c: runs in the VM's first process while it is still host root */
struct stage {
        struct provider *provider;
        const struct local_vm *vm;
};
#define STAGE_DIR "/tmp" /* where the mounts are prepared, in a mount namespace of its own */
int stage_build(const struct stage *stage, struct error *error);

/* cgroup.c */
int cgroup_make(struct provider *p, const char *name, struct error *error);
int cgroup_join(struct provider *p, const char *name, struct error *error);
/* In two steps, for who cannot see the tree when it enters: the descriptors (or -1), then "I myself". */
enum { CGROUP_TREES = 3 };
int cgroup_open(struct provider *p, const char *name, int fds[CGROUP_TREES], struct error *error);
int cgroup_enter(const int fds[CGROUP_TREES]);
/* Kills what is left in it and removes it. A missing one is no error. */
int cgroup_remove(struct provider *p, const char *name, struct error *error);
void cgroup_remove_all(struct provider *p);
/* One line a limit, for people; tries it on a group made for that. */
void cgroup_describe(struct provider *p, struct buf *lines);
/* Limits that no control group holds become limits of the process. */
int cgroup_limit_process(struct provider *p, struct error *error);

/* spawn.c: a process in a user namespace of its own */
struct spawn_fd {
        int source, number; /* descriptor of the parent, and what it is in the child */
};
struct spawn_spec {
        const char *const *argv;
        const char *const *env;
        const struct spawn_fd *fds;
        size_t n_fds;
        uint32_t first_id;
        int userns_fd; /* an existing user namespace (its number in the child), or -1 for a new one */
        int (*prepare)(void *userdata, struct error *error); /* as host root, before; may be NULL */
        void *userdata;
};
/* Starts argv as the root of the namespace: detached, in its own session. Returns when it was executed. */
int spawn_mapped(const struct spawn_spec *spec, struct process_identity *ret, struct error *error);

/* bubble.c */
enum { BUBBLE_INFO = 3, BUBBLE_ALIVE = 4 }; /* descriptors that bubblewrap is told of */
struct args {
        const char *list[192];
        size_t n;
        char *owned[16];
        size_t n_owned;
};
void args_clear(struct args *args);
#define _cleanup_args_ _cleanup_(args_clear)
void bubble_args(struct args *args, const struct provider *p, const struct local_vm *vm);
char **bubble_environment(const struct provider *p, const struct local_vm *vm); /* owned by the caller */

/* sandbox.c */
int sandbox_start(struct provider *p, struct local_vm *vm, const struct provider_sink *sink, struct error *error);
int sandbox_stop(struct provider *p, const struct local_vm *vm, struct error *error);
/* Can one be made here at all? The error holds bubblewrap's own words. */
int sandbox_try(struct provider *p, struct error *error);
int process_kill(const struct process_identity *identity, int64_t wait_ms); /* 0, or -ETIMEDOUT */
/* Waits for `word` at the start of a line on `fd`; what else was said is kept in `said`. -EPIPE at the end of the
 * stream. */
int await_word(int fd, const char *word, int64_t wait_ms, struct buf *said);

/* remains.c: ends every process that holds this VM's home, whatever record it has or lacks */
int remains_kill(struct provider *p, const char *name, int64_t wait_ms); /* 0, or -ETIMEDOUT */

/* network.c */
int network_start(struct provider *p, struct local_vm *vm, int alive_fd, struct error *error);
bool program_exists(const char *name);

/* enter.c, relay.c */
#define PATH_INSIDE "/opt/lablink/bin:/opt/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
int enter_exec(struct provider *p, const struct local_vm *vm, bool as_root, const char *const *argv, int *ret_status,
               struct error *error);
struct relay {
        int terminal;                           /* master of the child's terminal, or -1 */
        int to_stdin, from_stdout, from_stderr; /* pipes, when there is no terminal */
        int child;                              /* pidfd */
};
/* Moves bytes between our standard streams and the child's until the child ends. Closes what it was given. */
int relay_run(struct relay *relay, struct error *error);

/* check.c */
int local_check(struct provider *p, char **ret_code, char **ret_hint, char ***ret_detail);
