/*
 * jansson under limits. jansson itself accepts a depth of 2,048, so the depth is counted before it sees a byte.
 */
#include "base/json.h"

#include <errno.h>
#include <string.h>

static bool too_deep(const char *data, size_t len)
{
        int depth = 0;
        bool in_string = false;
        for (size_t i = 0; i < len; i++) {
                char c = data[i];
                if (in_string) {
                        i += c == '\\';
                        in_string = c != '"';
                } else if (c == '"') {
                        in_string = true;
                } else if (c == '{' || c == '[') {
                        if (++depth > JSON_DEPTH_MAX)
                                return true;
                } else if (c == '}' || c == ']') {
                        depth--;
                }
        }
        return false;
}

json_t *json_read(const char *data, size_t len, struct error *error)
{
        if (too_deep(data, len)) {
                error_set(error, -EINVAL, "JSON is nested deeper than %d levels", JSON_DEPTH_MAX);
                return NULL;
        }
        json_error_t where;
        json_t *value = json_loadb(data, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &where);
        if (!value)
                error_set(error, -EINVAL, "not valid JSON: %s (line %d, column %d)", where.text, where.line,
                          where.column);
        return value;
}

static int add_chunk(const char *data, size_t len, void *out)
{
        buf_add(out, data, len);
        return 0;
}

void json_write(const json_t *value, struct buf *out)
{
        json_dump_callback(value, add_chunk, out, JSON_COMPACT | JSON_ENCODE_ANY);
}

char *json_text(const json_t *value)
{
        struct buf out = BUF_NULL;
        json_write(value, &out);
        return buf_steal(&out);
}

const char *json_get_string(const json_t *object, const char *key)
{
        return json_string_value(json_object_get(object, key));
}
