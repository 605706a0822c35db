/*
 * jansson under limits. jansson itself accepts a depth of 2,048 and any number of values, each of which costs up to a
 * hundred times its text, so both are counted before it sees a byte.
 */
#include "base/json.h"

#include <errno.h>
#include <string.h>

/* 0, or -E2BIG: nested too deep (*deep) or too many values. */
static int measure(const char *data, size_t len, size_t values_max, bool *deep)
{
        int depth = 0;
        size_t values = 1;
        bool in_string = false;
        *deep = false;
        for (size_t i = 0; i < len; i++) {
                char c = data[i];
                if (in_string) {
                        i += c == '\\';
                        in_string = c != '"';
                } else if (c == '"') {
                        in_string = true;
                } else if (c == '{' || c == '[') {
                        values++;
                        *deep = ++depth > JSON_DEPTH_MAX;
                } else if (c == '}' || c == ']') {
                        depth--;
                } else {
                        values += c == ',';
                }
                if (*deep || values > values_max)
                        return -E2BIG;
        }
        return 0;
}

json_t *json_read_max(const char *data, size_t len, size_t values_max, struct error *error)
{
        bool deep;
        if (measure(data, len, values_max, &deep) < 0) {
                if (deep)
                        error_set(error, -EINVAL, "JSON is nested deeper than %d levels", JSON_DEPTH_MAX);
                else
                        error_set(error, -EINVAL, "JSON of more than %zu values", values_max);
                return NULL;
        }
        json_error_t where;
        json_t *value = json_loadb(data, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &where);
        if (!value)
                error_set(error, -EINVAL, "not valid JSON: %s (line %d, column %d)", where.text, where.line,
                          where.column);
        return value;
}

json_t *json_read(const char *data, size_t len, struct error *error)
{
        return json_read_max(data, len, SIZE_MAX, error);
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
