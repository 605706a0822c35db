/*
 * After an apply that was cut off: the engine's state may not name everything that exists, and may still be locked by the
 * dead. Nothing is mended by itself, for only a person knows whether another one works on it. Three things can be done:
 *   refresh   the state is compared with what exists; half-made VMs are removed; the rest is as if never ordered
 *   retry     the same change again: what exists stays, what is missing is made
 *   unlock    the lock of the dead is taken away, then as refresh
 */
#include <errno.h>
#include <string.h>

#include "base/file.h"
#include "base/text.h"
#include "provider/terraform/internal.h"

static bool all_there(const json_t *pending, const struct tf_state *state)
{
        size_t i;
        const json_t *name;
        const json_t *names = json_object_get(pending, "names");
        if (json_array_size(names) == 0)
                return state->n == 0;
        json_array_foreach (names, i, name) {
                const struct tf_vm *vm = state_find(state, str_or(json_string_value(name), ""));
                if (!vm || vm->tainted)
                        return false;
        }
        return true;
}

bool tf_in_doubt(struct provider *p, const struct tf_state *state)
{
        _cleanup_json_ json_t *pending = pending_load(p);
        _cleanup_free_ char *lost = path_join(p->work, "errored.tfstate");
        if (state->lost)
                return true;
        if (!pending)
                return false;
        if (access(lost, F_OK) == 0 || !all_there(pending, state))
                return true;
        if (p->lock_fd >= 0) /* only who holds the lock knows that no engine is at work */
                pending_clear(p);
        return false;
}

/* The engine writes its state now and then: one that was killed may have made machines that it does not name. */
void tf_tell_missing(const json_t *pending, const struct tf_state *state, const char *words,
                     const struct provider_sink *sink)
{
        size_t i;
        const json_t *name;
        json_array_foreach (json_object_get(pending, "names"), i, name)
                if (!state_find(state, str_or(json_string_value(name), "")))
                        sink_line(sink,
                                  "%s is not in the engine's state%s If the cloud's own pages show a machine of that "
                                  "name all the same (the output of the operation that was cut off may tell its id), "
                                  "end it there.",
                                  str_or(json_string_value(name), "?"), words);
}

static int refresh(struct provider *p, const json_t *pending, const struct provider_sink *sink, struct error *error)
{
        _cleanup_state_ struct tf_state before = {.last = -1}, after = {.last = -1};
        sink_line(sink, "Comparing the state with what exists.");
        int r = state_read(p, &before, error);
        if (r == 0)
                r = tf_refresh(p, before.last + 1, sink, error);
        if (r == 0)
                r = tf_discard_half(p, &before, sink, error);
        if (r == 0)
                r = state_read(p, &after, error);
        if (r < 0)
                return r;
        tf_tell_missing(pending, &after, ".", sink);
        pending_clear(p);
        sink_line(sink, "%zu VM%s in the state now.", after.n, after.n == 1 ? " is" : "s are");
        return tf_record(p, NULL, sink, error);
}

static int retry(struct provider *p, const json_t *pending, const struct provider_sink *sink, struct error *error)
{
        const json_t *names = json_object_get(pending, "names");
        const char *kind = str_or(json_get_string(pending, "kind"), "");
        if (!pending)
                return error_set(error, -ENOENT, "no apply was cut off, so there is nothing to try again");
        if (str_eq(kind, "destroy"))
                return error_set(error, -EINVAL, "it was a destroy that was cut off: destroy again");
        struct tf_change change = {.kind = kind,
                                   .names = names,
                                   .count = json_integer_value(json_object_get(pending, "count")),
                                   .replace = json_get_string(pending, "replace"),
                                   .targets = json_object_get(pending, "targets"),
                                   .total = (int)json_array_size(names)};
        if (change.count < 1)
                return error_set(error, -EINVAL, "what was begun cannot be read any more: refresh instead");
        _cleanup_state_ struct tf_state state = {.last = -1};
        int r = state_read(p, &state, error);
        if (r == 0)
                tf_tell_missing(pending, &state, ", so it is made now.", sink);
        if (r == 0 && !change.replace) /* the plan would replace them, which is refused */
                r = tf_discard_half(p, &state, sink, error);
        if (r == 0)
                r = tf_change(p, &change, sink, error);
        if (r == 0)
                pending_clear(p);
        return r < 0 ? r : tf_record(p, names, sink, error);
}

static int unlock(struct provider *p, const json_t *pending, const struct provider_sink *sink, struct error *error)
{
        _cleanup_free_ char *id = NULL;
        int r = tf_lock_id(p, &id, error);
        if (r < 0)
                return r;
        if (id)
                sink_line(sink, "The state is locked by %s: taking the lock away.", id);
        else
                sink_line(sink, "The state is not locked.");
        if (id)
                r = tf_unlock(p, id, sink, error);
        return r < 0 ? r : refresh(p, pending, sink, error);
}

int tf_repair(struct provider *p, const char *action, const struct provider_sink *sink, struct error *error)
{
        _cleanup_json_ json_t *pending = pending_load(p);
        int r = copy_restore(p, sink, error);
        if (r < 0)
                return r;
        if (str_eq(action, "refresh"))
                return refresh(p, pending, sink, error);
        if (str_eq(action, "retry"))
                return retry(p, pending, sink, error);
        if (str_eq(action, "unlock"))
                return unlock(p, pending, sink, error);
        return error_set(error, -EINVAL, "%s is no repair: refresh, retry or unlock", action);
}
