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

/* The one that is made anew, and what belongs to it alone (the same key, and no VM). */
static bool is_asked_for(const json_t *plan, const json_t *change, const char *replace)
{
        const char *address = str_or(json_get_string(change, "address"), "");
        size_t i;
        const json_t *other;
        if (!replace)
                return false;
        if (str_eq(address, replace))
                return true;
        if (str_eq(json_get_string(change, "name"), VM_RESOURCE))
                return false;
        json_array_foreach (json_object_get(plan, "resource_changes"), i, other)
                if (str_eq(json_get_string(other, "address"), replace))
                        return json_object_get(other, "index") &&
                               json_equal(json_object_get(other, "index"), json_object_get(change, "index"));
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
