/*
 * What the driver must remember besides the engine's state: an apply that has begun, and the secrets of the VMs that exist.
 * Both are files of mode 0600 below STATE/terraform, written aside and renamed.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/token.h"
#include "provider/terraform/internal.h"

#define FILE_MAX ((size_t)8 << 20)
#define VARIABLE_MAX ((size_t)131072 - sizeof TOKENS_VARIABLE "=") /* Linux: MAX_ARG_STRLEN, with name and end */

static json_t *load(const struct provider *p, const char *name)
{
        _cleanup_free_ char *path = tf_path(p, name);
        _cleanup_buf_wiped_ struct buf text = BUF_NULL;
        json_t *value = NULL;
        if (file_read(path, FILE_MAX, &text, NULL) == 0)
                value = json_loadb(buf_str(&text), text.len, 0, NULL);
        return value;
}

static int save(const struct provider *p, const char *name, const json_t *value, struct error *error)
{
        _cleanup_free_ char *path = tf_path(p, name);
        _cleanup_free_ char *text = json_text(value);
        int r = dir_make(p->dir, 0700, error);
        if (r == 0)
                r = file_write(path, text, strlen(text), 0600, error);
        explicit_bzero(text, strlen(text));
        return r;
}

/* One that cannot be read is one all the same. */
json_t *pending_load(const struct provider *p)
{
        _cleanup_free_ char *path = tf_path(p, "pending.json");
        if (access(path, F_OK) < 0)
                return NULL;
        json_t *pending = load(p, "pending.json");
        return json_is_object(pending) ? pending : json_pack("{s:s}", "kind", "launch");
}

int pending_write(const struct provider *p, const struct tf_change *change, struct error *error)
{
        char at[CLOCK_ISO_SIZE];
        clock_iso(clock_now(), at);
        _cleanup_json_ json_t *names = change->names ? json_deep_copy(change->names) : json_array();
        _cleanup_json_ json_t *pending = json_pack("{s:s, s:I, s:O, s:s, s:s?, s:O?}", "kind", change->kind, "count",
                                                   (json_int_t)change->count, "names", names, "at", at, "replace",
                                                   change->replace, "targets", change->targets);
        return save(p, "pending.json", pending, error);
}

void pending_clear(const struct provider *p)
{
        _cleanup_free_ char *path = tf_path(p, "pending.json");
        unlink(path);
}

json_t *tokens_load(const struct provider *p)
{
        json_t *tokens = load(p, "tokens.json");
        if (json_is_object(tokens))
                return tokens;
        json_decref(tokens);
        return json_object();
}

int tokens_save(const struct provider *p, const json_t *tokens, struct error *error)
{
        return save(p, "tokens.json", tokens, error);
}

char *tokens_text(const struct provider *p)
{
        _cleanup_json_ json_t *tokens = tokens_load(p);
        char *text = json_text(tokens);
        if (strlen(text) <= VARIABLE_MAX)
                return text;
        _cleanup_json_ json_t *few = json_object();
        size_t i;
        const json_t *name;
        json_array_foreach (p->coming, i, name)
                json_object_set(few, json_string_value(name), json_object_get(tokens, json_string_value(name)));
        explicit_bzero(text, strlen(text));
        free(text);
        return json_text(few);
}

size_t tokens_room(char *const *names)
{
        size_t n = 0, used = strlen("{}");
        for (; names[n]; n++) {
                used += strlen("\"\":\"\",") + strlen(names[n]) + TOKEN_LENGTH;
                if (used > VARIABLE_MAX)
                        break;
        }
        return n;
}
