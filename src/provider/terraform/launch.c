/*
 * N more, one anew, none: what the runner asks for, as numbers of instances. The count comes from the engine's own state,
 * never from rows: a smaller one would end machines.
 */
#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "provider/terraform/internal.h"

/* --- counting ------------------------------------------------------------------------------------------------------ */

/* Instances are numbered from 0. A failed launch may have left gaps, which the next one fills; it cannot stop before the
 * highest that exists. */
static int count_for(const struct tf_state *state, size_t n, int64_t *ret, struct error *error)
{
        int64_t count = (int64_t)(state->n + n), least = state->last + 1 - (int64_t)state->n;
        if (count <= state->last)
                return error_set(
                        error, -EINVAL,
                        "%zu VMs exist, with numbers up to %lld: the module can only fill the gaps. Launch %lld or more",
                        state->n, (long long)state->last + 1, (long long)least);
        *ret = count;
        return 0;
}

static bool has_index(const struct tf_state *state, int64_t index)
{
        for (size_t i = 0; i < state->n; i++)
                if (state->vm[i].index == index)
                        return true;
        return false;
}

int tf_names(struct provider *p, size_t n, char ***ret, bool *ret_tokens, struct error *error)
{
        _cleanup_state_ struct tf_state state = {.last = -1};
        int64_t count = 0;
        int r = module_declares(p->source, "vm_tokens", ret_tokens, error);
        if (r == 0)
                r = state_read(p, &state, error);
        if (r == 0)
                r = count_for(&state, n, &count, error);
        if (r < 0)
                return r;
        _cleanup_strv_ char **names = xcalloc(n + 1, sizeof *names);
        for (int64_t index = 0, i = 0; index < count && i < (int64_t)n; index++)
                if (!has_index(&state, index))
                        names[i++] = xasprintf("lablink-vm-%s-%lld", p->environment, (long long)index + 1);
        size_t room = tokens_room(names);
        if (*ret_tokens && room < n)
                return error_set(error, -E2BIG,
                                 "%zu VMs cannot be launched at once: the system hands the secrets of at most %zu to "
                                 "the engine. Launch %zu, then the rest",
                                 n, room, room);
        *ret = STEAL(names);
        return 0;
}

/* --- looking before and after -------------------------------------------------------------------------------------- */

static int still_in_doubt(struct error *error)
{
        return error_set(error, -EBUSY,
                         "an earlier apply was cut off, and machines may exist that its state does not name: `lablink "
                         "repair` first (refresh, retry or unlock), or destroy");
}

static int may_begin(struct provider *p, const struct tf_state *state, struct error *error)
{
        bool declared = false;
        int r = module_declares(p->source, "vm_tokens", &declared, error);
        if (r < 0)
                return r;
        if (!declared && str_eq(config_client_auth(p->config), "token"))
                return error_set(
                        error, -EINVAL,
                        "security.client_auth is token, but the module %s has no variable vm_tokens, so its VMs "
                        "could not prove themselves",
                        p->source);
        if (tf_in_doubt(p, state))
                return still_in_doubt(error);
        for (size_t i = 0; i < state->n; i++)
                if (state->vm[i].tainted)
                        return error_set(error, -EBUSY, "%s is only half made: `lablink repair refresh` removes it",
                                         state->vm[i].hostname);
        return 0;
}

int tf_record(struct provider *p, const json_t *names, const struct provider_sink *sink, struct error *error)
{
        _cleanup_state_ struct tf_state state = {.last = -1};
        int r = state_read(p, &state, error);
        for (size_t i = 0; r == 0 && i < state.n; i++) {
                double started, ended;
                const struct tf_vm *vm = &state.vm[i];
                if (vm->tainted || (names && !json_array_has(names, vm->hostname)) || !sink || !sink->created)
                        continue;
                if (state_times(&state, vm->hostname, &started, &ended))
                        sink->created(sink->userdata, vm->hostname, started, ended);
        }
        return r < 0 ? r : ssh_save_key(p, &state, error);
}

/* --- launch -------------------------------------------------------------------------------------------------------- */

static int add_tokens(struct provider *p, const struct provider_order *orders, size_t n, json_t *names,
                      struct error *error)
{
        _cleanup_json_ json_t *tokens = tokens_load(p);
        for (size_t i = 0; i < n; i++) {
                json_object_set_new(tokens, orders[i].hostname, json_string(orders[i].token));
                json_array_append_new(names, json_string(orders[i].hostname));
                ssh_forget_host(p, orders[i].hostname); /* an earlier machine of this name has another key */
        }
        return tokens_save(p, tokens, error);
}

/* What a failed or cancelled apply has left: those that are half made go, secrets of those that were not made too. Nothing
 * of it, and true, when nobody knows what that is. */
static bool clear_up(struct provider *p, const json_t *names, size_t *ret_made, const struct provider_sink *sink)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_state_ struct tf_state state = {.last = -1};
        _cleanup_json_ json_t *tokens = tokens_load(p);
        size_t i;
        const json_t *name;
        *ret_made = 0;
        int r = state_read(p, &state, &error);
        bool doubt = r < 0 || tf_in_doubt(p, &state);
        if (!doubt)
                r = tf_discard_half(p, &state, sink, &error);
        json_array_foreach (names, i, name) {
                const struct tf_vm *vm = state_find(&state, json_string_value(name));
                *ret_made += vm && !vm->tainted;
                if (!doubt && r == 0 && (!vm || vm->tainted))
                        json_object_del(tokens, json_string_value(name));
        }
        if (r == 0)
                r = tokens_save(p, tokens, &error);
        if (r < 0)
                sink_line(sink, "%s", error_text(&error));
        return doubt;
}

int tf_launch(struct provider *p, const struct provider_order *orders, size_t n, const struct provider_sink *sink,
              struct error *error)
{
        _cleanup_state_ struct tf_state state = {.last = -1};
        _cleanup_json_ json_t *names = json_array();
        struct tf_change change = {.kind = "launch", .names = names, .total = (int)n};
        size_t made = 0;
        int r = state_read(p, &state, error);
        if (r == 0)
                r = may_begin(p, &state, error);
        if (r == 0)
                r = count_for(&state, n, &change.count, error);
        if (r == 0)
                r = add_tokens(p, orders, n, names, error);
        if (r < 0)
                return r;
        tfvars_ask_gpu(p, sink);
        r = tf_change(p, &change, sink, error);
        if (r == 0) {
                r = tf_record(p, names, sink, error);
                tfvars_publish(p, sink);
                return r;
        }
        bool doubt = clear_up(p, names, &made, sink);
        tf_record(p, names, sink, NULL);
        if (doubt)
                return error_wrap(error, "stopped in the middle of making %zu VM%s, and what exists is not known", n,
                                  n == 1 ? "" : "s");
        return error_wrap(error, "launched %zu of %zu VMs", made, n);
}

/* --- one anew, none ------------------------------------------------------------------------------------------------ */

int tf_reset(struct provider *p, const char *hostname, const char *token, const struct provider_sink *sink,
             struct error *error)
{
        _cleanup_state_ struct tf_state state = {.last = -1};
        _cleanup_json_ json_t *tokens = tokens_load(p);
        _cleanup_json_ json_t *names = json_pack("[s]", hostname);
        int r = state_read(p, &state, error);
        if (r < 0)
                return r;
        const struct tf_vm *vm = state_find(&state, hostname);
        if (!vm)
                return error_set(error, -ENOENT, "the state names no VM called %s", hostname);
        if (tf_in_doubt(p, &state))
                return still_in_doubt(error);
        json_object_set_new(tokens, hostname, json_string(token));
        /* Another one that is half made, or missing, is no matter of this reset. */
        _cleanup_json_ json_t *targets = state_beside(&state, vm);
        struct tf_change change = {.kind = "reset",
                                   .names = names,
                                   .count = state.last + 1,
                                   .replace = vm->target,
                                   .targets = targets,
                                   .total = 1};
        r = tokens_save(p, tokens, error);
        if (r == 0)
                r = tf_change(p, &change, sink, error);
        ssh_forget_host(p, hostname);
        return r < 0 ? r : tf_record(p, names, sink, error);
}

static void forget_all(struct provider *p)
{
        _cleanup_free_ char *tokens = tf_path(p, "tokens.json");
        unlink(tokens);
        pending_clear(p);
        ssh_forget(p);
}

int tf_destroy(struct provider *p, const struct provider_sink *sink, struct error *error)
{
        _cleanup_state_ struct tf_state state = {.last = -1};
        _cleanup_json_ json_t *pending = pending_load(p);
        int r = copy_restore(p, sink, error);
        if (r == 0)
                r = state_read(p, &state, error);
        if (r < 0)
                return r;
        struct tf_change change = {.kind = "destroy", .destroy = true, .count = state.last + 1, .total = (int)state.n};
        if (state.outputs) /* the engine has made something at some time */
                r = tf_change(p, &change, sink, error);
        if (r < 0)
                return r;
        tf_tell_missing(pending, &state, ", so it was not destroyed.", sink);
        forget_all(p);
        return 0;
}
