/*
 * jansson under limits. jansson itself accepts a depth of 2,048 and any number of values, each of which costs up to a
 * hundred times its text, so both are counted before it sees a byte.
 */
#include "base/json.h"

#include <ctype.h>
#include <errno.h>
#include <malloc.h>
#include <string.h>

#include "base/text.h"

static void free_wiped(void *block)
{
        if (block)
                explicit_bzero(block, malloc_usable_size(block));
        free(block);
}

void json_wipe_freed(void)
{
        json_set_alloc_funcs(malloc, free_wiped);
}

/* Where the string ends that begins at `from`: its quotation mark, or the end of the data. */
static size_t string_end(const char *data, size_t len, size_t from)
{
        for (size_t at = from; at < len; at++) {
                const char *mark = memchr(data + at, '"', len - at);
                if (!mark)
                        break;
                const char *c = mark;
                while (c > data + from && c[-1] == '\\')
                        c--;
                at = (size_t)(mark - data);
                if ((mark - c) % 2 == 0) /* an even number of backslashes escapes itself, not the mark */
                        return at;
        }
        return len;
}

/* 0, or -E2BIG: nested too deep (*deep) or too many values. */
static int measure(const char *data, size_t len, size_t values_max, bool *deep)
{
        int depth = 0;
        size_t values = 1;
        *deep = false;
        for (size_t i = 0; i < len; i++) {
                char c = data[i];
                if (c == '"') {
                        i = string_end(data, len, i + 1);
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

/* The value of "uXXXX" at `p`, or -1. */
static int unicode_escape(const char *p, size_t left)
{
        int value = 0;
        if (left < 5 || *p != 'u')
                return -1;
        for (int i = 1; i < 5; i++) {
                if (!isxdigit((unsigned char)p[i]))
                        return -1;
                value = value * 16 + (isdigit((unsigned char)p[i]) ? p[i] - '0' : (p[i] | 0x20) - 'a' + 10);
        }
        return value;
}

/* Puts the escape whose backslash is at `p`; a half of a surrogate pair without its other half becomes U+FFFD. Returns
 * the bytes taken. */
static size_t mend_escape(const char *p, size_t left, struct buf *out)
{
        int first = unicode_escape(p + 1, left - 1);
        int second = left > 7 && p[6] == '\\' ? unicode_escape(p + 7, left - 7) : -1;
        size_t n = first < 0 ? MIN(left, (size_t)2) : 6;
        if (first >= 0xd800 && first < 0xdc00 && second >= 0xdc00 && second < 0xe000)
                n = 12;
        else if (first >= 0xd800 && first < 0xe000) {
                buf_adds(out, "\\ufffd");
                return n;
        }
        buf_add(out, p, n);
        return n;
}

/* A control character as a string may hold it. */
static void add_control(char c, struct buf *out)
{
        static const char digits[] = "0123456789abcdef";
        const char escape[6] = {'\\', 'u', '0', '0', digits[(c >> 4) & 1], digits[c & 15]};
        buf_add(out, escape, sizeof escape);
}

int json_mend(const char *data, size_t len, size_t max, struct buf *out)
{
        _cleanup_buf_ struct buf text = BUF_NULL;
        bool in_string = false;
        size_t from = 0;
        utf8_scrub(data, len, &text);
        for (size_t i = 0; i < text.len;) {
                char c = text.data[i];
                bool escape = in_string && c == '\\', control = in_string && (unsigned char)c < 0x20;
                in_string ^= c == '"';
                if (!escape && !control) {
                        i++;
                        continue;
                }
                buf_add(out, text.data + from, i - from);
                if (escape)
                        i += mend_escape(text.data + i, text.len - i, out);
                else
                        add_control(text.data[i++], out);
                from = i;
                if (out->len > max)
                        return -E2BIG;
        }
        buf_add(out, buf_str(&text) + from, text.len - from);
        return out->len > max ? -E2BIG : 0;
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

bool json_array_has(const json_t *array, const char *text)
{
        size_t index;
        const json_t *one;
        json_array_foreach (array, index, one)
                if (str_eq(json_string_value(one), text))
                        return true;
        return false;
}
