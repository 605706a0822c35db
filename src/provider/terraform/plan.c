/*
 * The guard before every apply: a plan may add and change, and it may take away only what it was told to make anew.
 * Machines hold participants' work; a wrong count, a changed image or a renamed resource must not end them.
 */
#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "provider/terraform/internal.h"

#define NAMED_MAX 5

static bool takes_away(const json_t *change)
{
        size_t i;
        const json_t *action;
        json_array_foreach (json_object_get(json_object_get(change, "change"), "actions"), i, action) {
                const char *word = str_or(json_string_value(action), "");
                if (str_eq(word, "delete") || str_eq(word, "forget"))
                        return true;
        }
        return false;
}

static bool is_vm(const json_t *change)
{
        return str_eq(json_get_string(change, "name"), VM_RESOURCE);
}

/* It comes, and was not there: never made, or ended by itself. */
static bool comes(const json_t *change)
{
        const json_t *actions = json_object_get(json_object_get(change, "change"), "actions");
        return json_array_size(actions) == 1 && str_eq(json_string_value(json_array_get(actions, 0)), "create");
}

static bool is_the_one(const json_t *change, const char *replace)
{
        return replace && str_eq(json_get_string(change, "address"), replace);
}

/* The one that is made anew, and what belongs alone to it (the same key, and no VM) or to a VM that is not there any
 * more: nobody works with what that has left, and were it refused, a lab that has lost a machine could never grow. */
static bool is_asked_for(const json_t *plan, const json_t *change, const char *replace)
{
        const json_t *index = json_object_get(change, "index");
        size_t i;
        const json_t *other;
        if (is_the_one(change, replace))
                return true;
        if (!index || is_vm(change))
                return false;
        json_array_foreach (json_object_get(plan, "resource_changes"), i, other)
                if ((is_the_one(other, replace) || (is_vm(other) && comes(other))) &&
                    json_equal(json_object_get(other, "index"), index))
                        return true;
        return false;
}

static void name_it(const char *environment, const json_t *change, size_t n, struct buf *out)
{
        _cleanup_free_ char *vm = tf_vm_name(environment, json_get_string(change, "name"),
                                             json_object_get(change, "index"));
        if (n < NAMED_MAX)
                buf_addf(out, "%s%s", out->len ? ", " : "",
                         vm ? vm : str_or(json_get_string(change, "address"), "something"));
        else if (n == NAMED_MAX)
                buf_adds(out, " and more");
}

void plan_returns(const json_t *plan, const char *environment, const json_t *names, json_t *ret)
{
        size_t i;
        const json_t *change;
        json_array_foreach (json_object_get(plan, "resource_changes"), i, change) {
                _cleanup_free_ char *name = tf_vm_name(environment, json_get_string(change, "name"),
                                                       json_object_get(change, "index"));
                if (name && comes(change) && !json_array_has(names, name))
                        json_array_append_new(ret, json_string(name));
        }
}

int plan_check(const json_t *plan, const char *environment, const char *replace, struct error *error)
{
        _cleanup_buf_ struct buf names = BUF_NULL;
        const json_t *changes = json_object_get(plan, "resource_changes");
        size_t i, n = 0;
        const json_t *change;
        if (!json_is_object(plan) || !json_get_string(plan, "format_version") || (changes && !json_is_array(changes)))
                return error_set(error, -EINVAL, "the engine's plan cannot be read, so nothing is done");
        json_array_foreach (changes, i, change)
                if (takes_away(change) && !is_asked_for(plan, change, replace))
                        name_it(environment, change, n++, &names);
        if (n == 0)
                return 0;
        return error_set(
                error, -EPERM,
                "refused: the plan would take away or replace %zu thing%s that exist%s (%s). Nothing was changed. "
                "Did the module, its image or its settings change? Destroy all VMs before launching by the new ones",
                n, n == 1 ? "" : "s", n == 1 ? "s" : "", buf_str(&names));
}
