/*
 * The provider `terraform`: what provider.h asks for, by the engine and a module. It keeps no list of its own: the engine's
 * state says which VMs there are.
 */
#include "provider/terraform/terraform.h"

#include <errno.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "provider/terraform/internal.h"

char *tf_path(const struct provider *p, const char *name)
{
        return path_join(p->dir, name);
}

static struct provider *close_provider(struct provider *p)
{
        if (!p)
                return NULL;
        free(p->dir);
        free(p->work);
        free(p->environment);
        free(p->source);
        free(p->engine);
        aws_credentials_clear(&p->aws);
        state_forget(p);
        free(p);
        return NULL;
}

static int open_provider(const struct config *config, struct provider **ret, _unused_ struct error *error)
{
        struct provider *p = xcalloc(1, sizeof *p);
        _cleanup_free_ char *state = config_state_dir(config);
        p->config = config;
        p->dir = path_join(state, "terraform");
        p->work = path_join(p->dir, "module");
        p->environment = config_environment(config);
        p->source = module_find(config);
        p->engine = engine_find(config);
        p->lock_fd = -1;
        *ret = p;
        return 0;
}

static void equip(struct provider *p, const struct provider_means *means)
{
        p->lock_fd = means->lock_fd;
        if (means->aws)
                aws_credentials_copy(means->aws, &p->aws);
}

/* --- can it work? -------------------------------------------------------------------------------------------------- */

static int answer(char **ret_code, char **ret_hint, int r, const char *code, char *hint)
{
        *ret_code = xstrdup(code);
        *ret_hint = hint;
        return r;
}

static void describe(const struct provider *p, char ***ret)
{
        static const char *const places[] = {
                [TF_LOCAL] = "in the state directory", [TF_S3] = "in S3", [TF_MODULE] = "where the module says"};
        char **lines = xcalloc(4, sizeof *lines);
        lines[0] = xasprintf("engine: %s", str_or(p->engine, "none"));
        lines[1] = xasprintf("module: %s", p->source);
        lines[2] = xasprintf("the engine's state: %s", places[module_backend(p)]);
        *ret = lines;
}

/* Only who holds the runner's lock can tell an apply that was cut off from one that is at work. NULL: none was. */
static char *what_was_cut_off(struct provider *p)
{
        _cleanup_json_ json_t *pending = p->lock_fd >= 0 ? pending_load(p) : NULL;
        _cleanup_state_ struct tf_state state = {.last = -1};
        int r = p->lock_fd >= 0 ? state_read(p, &state, NULL) : -EAGAIN;
        if (r == 0 && state.lost)
                return xstrdup(
                        "The engine was killed while it wrote down which machines exist; a copy of that is kept. "
                        "`lablink repair refresh` goes on from the copy");
        if (!pending || (r == 0 && !tf_in_doubt(p, &state)))
                return NULL;
        return xstrdup(
                "The engine was stopped in the middle of its work (an apply was cut off): VMs may exist that its "
                "list does not name. `lablink repair retry` goes on with it, `lablink repair refresh` leaves it at "
                "what exists; `lablink repair unlock` if its lock is left");
}

static int check(struct provider *p, char **ret_code, char **ret_hint, char ***ret_detail)
{
        bool declared = false;
        describe(p, ret_detail);
        if (!p->engine)
                return answer(
                        ret_code, ret_hint, -ENOENT, "no-engine",
                        *p->config->terraform.engine
                                ? xasprintf("%s cannot be executed (terraform.engine)", p->config->terraform.engine)
                                : xstrdup("Install OpenTofu (tofu) or Terraform, or name the program: terraform.engine"));
        if (access(p->source, X_OK) < 0 || module_declares(p->source, "vm_tokens", &declared, NULL) < 0)
                return answer(ret_code, ret_hint, -ENOENT, "no-module",
                              xasprintf("There is no module %s: set terraform.directory", p->source));
        if (!declared && str_eq(config_client_auth(p->config), "token"))
                return answer(ret_code, ret_hint, -EINVAL, "module-without-tokens",
                              xstrdup("security.client_auth is token, but the module has no variable vm_tokens"));
        if (module_backend(p) == TF_S3 && !*p->config->top.bucket_name)
                return answer(ret_code, ret_hint, -EINVAL, "no-bucket",
                              xstrdup("The engine's state is to be in S3: bucket_name must name the bucket"));
        char *hint = what_was_cut_off(p);
        if (hint)
                return answer(ret_code, ret_hint, -EBUSY, "interrupted-apply", hint);
        return answer(ret_code, ret_hint, 0, "ready", NULL);
}

/* --- which VMs are there? ------------------------------------------------------------------------------------------ */

static int list(struct provider *p, struct provider_vms *ret, struct error *error)
{
        _cleanup_state_ struct tf_state state = {.last = -1};
        *ret = (struct provider_vms){0};
        int r = state_read(p, &state, error);
        if (r < 0)
                return r;
        ret->vm = xcalloc(state.n + 1, sizeof *ret->vm);
        for (size_t i = 0; i < state.n; i++) {
                const struct tf_vm *vm = &state.vm[i];
                struct provider_vm *entry = &ret->vm[ret->n++];
                const char *address = state_output_of(&state, "vm_public_ips", vm->hostname);
                *entry = (struct provider_vm){.hostname = xstrdup(vm->hostname),
                                              .state = vm->tainted ? PROVIDER_BROKEN : PROVIDER_RUNNING,
                                              .address = address && *address ? xstrdup(address) : NULL};
                state_times(&state, vm->hostname, &entry->started, &entry->ended);
        }
        ret->in_doubt = tf_in_doubt(p, &state);
        return 0;
}

static int start(_unused_ struct provider *p, const char *hostname, _unused_ const struct provider_sink *sink,
                 struct error *error)
{
        return error_set(error, -ENOTSUP, "%s: stopped VMs of a cloud are started by its own means", hostname);
}

const struct provider_ops terraform_provider = {
        .name = "terraform",
        .open = open_provider,
        .close = close_provider,
        .equip = equip,
        .check = check,
        .names = tf_names,
        .launch = tf_launch,
        .list = list,
        .destroy_all = tf_destroy,
        .start = start,
        .reset = tf_reset,
        .exec = ssh_exec,
        .reach = ssh_reach,
        .repair = tf_repair,
};
