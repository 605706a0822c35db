/*
 * What the files of the provider `terraform` tell each other.
 *
 * STATE/terraform holds all of it, for root only:
 *   module/         a copy of the module, with an override that says where the state is and the file of variables
 *   data/           what `init` fetched
 *   ENV.tfstate     the engine's state, unless that is elsewhere; .kept: the last whole copy of it
 *   tokens.json     the VMs' own secrets, so that a later plan changes nothing about older VMs
 *   pending.json    an apply that has begun; it goes when that has ended orderly. Found without a living engine: cut off
 *   key.pem         the private key of the VMs; known_hosts/NAME: a VM's host key
 *
 * The engine is a child with a session of its own. It inherits the runner's lock, and writes into memory that outlives the
 * runner: whoever dies, an apply goes on to its end, and nobody else changes anything until then.
 */
#pragma once

#include "aws/aws.h"
#include "base/error.h"
#include "base/json.h"
#include "config/config.h"
#include "provider/provider.h"

#define TFVARS_NAME "terraform.runtime.tfvars"
#define VM_RESOURCE "lablink_vm" /* the resource of a module whose instances are the VMs */

struct provider {
        const struct config *config; /* borrowed; outlives the provider */
        char *dir;                   /* STATE/terraform */
        char *work;                  /* STATE/terraform/module */
        char *environment;           /* dev, test, ... */
        char *source;                /* the module's own directory */
        char *engine;                /* path of tofu or terraform; NULL: none was found */
        int lock_fd;                 /* of the runner; -1: none */
        struct aws_credentials aws;  /* set by an administrator; empty: none were */
        bool ready;                  /* init was done by this process */
        const json_t *coming;        /* names of the VMs that a change makes, while it is at work; borrowed */
        struct timespec looked_at;   /* what copy_look has seen */
        struct buf pulled;           /* a state that was asked for, for who looks at one VM after the other */
        int64_t pulled_ms;
};

char *tf_path(const struct provider *p, const char *name); /* STATE/terraform/NAME; owned by the caller */

/* hcl.c: `text` as a quoted string of HCL */
void hcl_quote(const char *text, struct buf *out);

/* module.c */
enum tf_backend { TF_LOCAL, TF_S3, TF_MODULE };
enum tf_backend module_backend(const struct provider *p);
char *module_find(const struct config *config); /* the module's directory, whether it is there or not */
int module_declares(const char *directory, const char *variable, bool *ret, struct error *error);
/* Copies the module and says where its state is. *ret_stamp changes when anything that `init` depends on does. */
int module_prepare(struct provider *p, char **ret_stamp, struct error *error);

/* engine.c */
struct engine_call {
        const char *const *argv; /* what follows the engine's name; NULL-terminated */
        void (*line)(void *userdata, const char *line, size_t len, bool is_stderr);
        void *userdata;
        void (*tick)(struct provider *p); /* called while it works, each second or so; NULL: nothing is */
        struct buf *out; /* gets standard output as it is instead of lines; at most ENGINE_OUTPUT_MAX */
        const struct provider_sink *sink; /* asked whether to stop; NULL: never */
};
#define ENGINE_OUTPUT_MAX ((size_t)64 << 20)
#define ENGINE_LINE_MAX ((size_t)4 << 20)
char *engine_find(const struct config *config); /* NULL: there is none */
/* 0, *ret_status as waitpid gives it. -ECANCELED: it was asked to stop and has ended. */
int engine_run(struct provider *p, const struct engine_call *call, int *ret_status, struct error *error);
char **engine_environment(const struct provider *p); /* owned by the caller */

/* stream.c: the engine's own words on their way into the operation */
struct tf_stream {
        const struct provider_sink *sink;
        const json_t *tokens; /* their values never become output; may be NULL */
        const char *environment;
        bool planning;   /* show what is planned */
        bool destroying; /* count what goes instead of what comes */
        int done, total;
        size_t lines, dropped;
        struct buf trouble; /* the first errors, in one sentence */
        size_t troubles;
        bool locked;     /* a lock kept it from working */
        char *lock_id;   /* which one; NULL: it did not say */
        json_t *started; /* name -> when its making began */
};
void tf_stream_line(void *stream, const char *line, size_t len, bool is_stderr);
void tf_stream_end(struct tf_stream *stream);
void tf_stream_deinit(struct tf_stream *stream);
#define _cleanup_stream_ _cleanup_(tf_stream_deinit)
/* "lablink-vm-ENV-3" of {"resource_name", "resource_key"}, or NULL when it is no VM. Owned by the caller. */
char *tf_vm_name(const char *environment, const char *resource, const json_t *key);

/* state.c: what the engine knows to exist */
void state_forget(struct provider *p); /* what was asked for */
struct tf_vm {
        char *hostname;
        char *target; /* its address in the engine's words */
        int64_t index;
        bool tainted; /* its making failed in the middle */
};
struct tf_state {
        struct tf_vm *vm;
        size_t n;
        int64_t last; /* highest index; -1: none */
        json_t *outputs;
        json_t *instances; /* all that carry a key: {"target", "key"} */
        bool lost;         /* the engine was killed while it wrote: this is the last whole copy */
};
void tf_state_clear(struct tf_state *state);
#define _cleanup_state_ _cleanup_(tf_state_clear)
int state_parse(const char *text, size_t len, const char *environment, struct tf_state *ret, struct error *error);
int state_read(struct provider *p, struct tf_state *ret, struct error *error);
const struct tf_vm *state_find(const struct tf_state *state, const char *hostname);
/* Addresses of the VM and of what carries the same key, as a list of strings owned by the caller. */
json_t *state_beside(const struct tf_state *state, const struct tf_vm *vm);
/* Element of the list output `name` at the place that `hostname` has in vm_instance_names; borrowed, may be NULL. */
const char *state_output_of(const struct tf_state *state, const char *name, const char *hostname);
/* When its making began and ended, by the module's own word. */
bool state_times(const struct tf_state *state, const char *hostname, double *ret_started, double *ret_ended);

/* copy.c: a local state */
int copy_read(struct provider *p, struct tf_state *ret, struct error *error);
void copy_look(struct provider *p); /* the engine is at work: keeps its state when that has changed */
/* Puts the last whole copy in the place of a state that was lost; does nothing when none was. */
int copy_restore(struct provider *p, const struct provider_sink *sink, struct error *error);

/* work.c: init, plan, apply */
int tf_init(struct provider *p, const struct provider_sink *sink, struct error *error);
struct tf_change {
        int64_t count;       /* instance_count */
        const char *replace; /* address of the one that is made anew; NULL: none */
        json_t *targets;     /* addresses that the change is confined to; NULL: it is not */
        bool destroy;        /* everything goes */
        const json_t *names; /* of the VMs that come */
        const char *kind;    /* launch, reset, destroy, repair */
        int total;           /* for the progress */
};
/* Plans, refuses a plan that takes anything away (but what `change` names), applies it. */
int tf_change(struct provider *p, const struct tf_change *change, const struct provider_sink *sink,
              struct error *error);
/* Removes those whose making failed in the middle. */
int tf_discard_half(struct provider *p, const struct tf_state *state, const struct provider_sink *sink,
                    struct error *error);
int tf_refresh(struct provider *p, int64_t count, const struct provider_sink *sink, struct error *error);
/* Is the state locked? *ret_id: by which lock; NULL: it is free. */
int tf_lock_id(struct provider *p, char **ret_id, struct error *error);
int tf_unlock(struct provider *p, const char *id, const struct provider_sink *sink, struct error *error);

/* memory.c: pending.json and tokens.json */
json_t *pending_load(const struct provider *p); /* NULL: nothing is pending */
int pending_write(const struct provider *p, const struct tf_change *change, struct error *error);
void pending_clear(const struct provider *p);
json_t *tokens_load(const struct provider *p); /* never NULL */
int tokens_save(const struct provider *p, const json_t *tokens, struct error *error);
/* As the engine gets them: all of them, or, where the system takes no variable that long, those of the VMs that come. */
#define TOKENS_VARIABLE "TF_VAR_vm_tokens"
char *tokens_text(const struct provider *p); /* owned by the caller */
/* How many of these (a NULL-terminated list) can get their tokens at once. */
size_t tokens_room(char *const *names);

/* tfvars.c */
int tfvars_write(struct provider *p, struct error *error);
/* Asks AWS whether the instance type has a GPU, where there is an AWS to ask; the answer is kept. */
void tfvars_ask_gpu(struct provider *p, const struct provider_sink *sink);
void tfvars_publish(struct provider *p, const struct provider_sink *sink);

/* plan.c */
/* 0 when the plan (as `show -json` tells it) takes away or replaces nothing but `replace`. */
int plan_check(const json_t *plan, const char *environment, const char *replace, struct error *error);
/* Appends the VMs that it makes besides `names`: they were there and have ended by themselves. */
void plan_returns(const json_t *plan, const char *environment, const json_t *names, json_t *ret);

/* ssh.c */
int ssh_save_key(struct provider *p, const struct tf_state *state, struct error *error);
void ssh_forget(struct provider *p);
void ssh_forget_host(struct provider *p, const char *hostname); /* it is made anew */
int ssh_reach(struct provider *p, const char *hostname, struct provider_reach *ret, struct error *error);
int ssh_exec(struct provider *p, const char *hostname, bool as_root, const char *const *argv, int *ret_status,
             struct error *error);

/* launch.c */
int tf_names(struct provider *p, size_t n, char ***ret, bool *ret_tokens, struct error *error);
int tf_launch(struct provider *p, const struct provider_order *orders, size_t n, const struct provider_sink *sink,
              struct error *error);
int tf_reset(struct provider *p, const char *hostname, const char *token, const struct provider_sink *sink,
             struct error *error);
int tf_destroy(struct provider *p, const struct provider_sink *sink, struct error *error);
/* Tells which of `names` exist, with their times; NULL: all. */
int tf_record(struct provider *p, const json_t *names, const struct provider_sink *sink, struct error *error);

/* repair.c */
/* Is an apply in doubt? One whose every VM is there is not, and is forgotten. */
bool tf_in_doubt(struct provider *p, const struct tf_state *state);
/* Tells which VMs of a change that was cut off the state does not name, and `words` on what becomes of them. */
void tf_tell_missing(const json_t *pending, const struct tf_state *state, const char *words,
                     const struct provider_sink *sink);
int tf_repair(struct provider *p, const char *action, const struct provider_sink *sink, struct error *error);
