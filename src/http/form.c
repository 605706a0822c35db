/*
 * Form bodies into fields. Both encodings end in one list of names and values, checked in one place; what a browser
 * would never send (a NUL, bytes that are no UTF-8, a file where none is taken) is refused, not repaired.
 */
#include "http/form.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

#define FIELDS_MAX 100
#define FIELD_BYTES_MAX 65536
#define BOUNDARY_MAX 70 /* RFC 2046, 5.1.1 */

struct field {
        char *name, *value;
};

struct form {
        struct field fields[FIELDS_MAX];
        size_t n;
};

struct form *form_free(struct form *form)
{
        for (size_t i = 0; form && i < form->n; i++) {
                free(form->fields[i].name);
                free(form->fields[i].value);
        }
        free(form);
        return NULL;
}

void form_wipe(struct form *form)
{
        for (size_t i = 0; form && i < form->n; i++)
                explicit_bzero(form->fields[i].value, strlen(form->fields[i].value));
}

const char *form_get(const struct form *form, const char *name)
{
        for (size_t i = 0; form && i < form->n; i++)
                if (str_eq(form->fields[i].name, name))
                        return form->fields[i].value;
        return NULL;
}

static bool is_text(const char *data, size_t len)
{
        return !memchr(data, '\0', len) && utf8_valid(data, len);
}

static int add_field(struct form *form, const struct buf *name, const struct buf *value, struct error *error)
{
        if (form->n == FIELDS_MAX)
                return error_set(error, -EINVAL, "The form has more than %d fields.", FIELDS_MAX);
        if (name->len > FIELD_BYTES_MAX || value->len > FIELD_BYTES_MAX)
                return error_set(error, -EINVAL, "A field of the form is larger than %d bytes.", FIELD_BYTES_MAX);
        if (!is_text(buf_str(name), name->len) || !is_text(buf_str(value), value->len))
                return error_set(error, -EINVAL, "A field of the form is not UTF-8 text.");
        struct field *field = &form->fields[form->n++];
        field->name = xstrdup(buf_str(name));
        field->value = xstrdup(buf_str(value));
        return 0;
}

/* --- application/x-www-form-urlencoded ---------------------------------------------------------------------------- */

static int add_pair(struct form *form, const char *pair, size_t len, struct error *error)
{
        _cleanup_buf_ struct buf name = BUF_NULL;
        _cleanup_buf_wiped_ struct buf value = BUF_NULL; /* it may be a password or a key */
        const char *equals = memchr(pair, '=', len);
        size_t name_len = equals ? (size_t)(equals - pair) : len;
        if (len > 6 * FIELD_BYTES_MAX)
                return error_set(error, -EINVAL, "A field of the form is larger than %d bytes.", FIELD_BYTES_MAX);
        buf_reserve(&value, len - name_len); /* at once: growing would leave copies behind */
        if (uri_decode(pair, name_len, URI_QUERY, &name) < 0 ||
            (equals && uri_decode(equals + 1, len - name_len - 1, URI_QUERY, &value) < 0))
                return error_set(error, -EINVAL, "The form is not well encoded.");
        return add_field(form, &name, &value, error);
}

static int parse_urlencoded(struct form *form, const char *body, size_t len, struct error *error)
{
        const char *end = body + len;
        while (body < end) {
                const char *ampersand = memchr(body, '&', (size_t)(end - body));
                const char *stop = ampersand ? ampersand : end;
                if (stop > body) {
                        int r = add_pair(form, body, (size_t)(stop - body), error);
                        if (r < 0)
                                return r;
                }
                body = ampersand ? ampersand + 1 : end;
        }
        return 0;
}

/* --- multipart/form-data ------------------------------------------------------------------------------------------ */

static const char *skip_blanks(const char *at)
{
        return at + strspn(at, " \t");
}

/* The value of `name=value` or `name="value"` in a header's parameters. False: it is not there. */
static bool parameter(const char *header, const char *name, struct buf *out)
{
        size_t name_len = strlen(name);
        const char *at = header + strcspn(header, ";");
        while (*at == ';') {
                at = skip_blanks(at + 1);
                bool wanted = strncasecmp(at, name, name_len) == 0 && at[name_len] == '=';
                at += strcspn(at, "=;");
                if (*at != '=')
                        continue;
                bool quoted = *++at == '"';
                for (at += quoted; *at && (quoted ? *at != '"' : *at != ';'); at++) {
                        at += quoted && *at == '\\' && (at[1] == '"' || at[1] == '\\');
                        if (wanted)
                                buf_addc(out, *at);
                }
                if (wanted)
                        return true;
                at += strcspn(at, ";");
        }
        return false;
}

static bool is_boundary(const struct buf *boundary)
{
        for (size_t i = 0; i < boundary->len; i++)
                if ((unsigned char)boundary->data[i] < 0x20 || boundary->data[i] == 0x7f)
                        return false;
        return boundary->len > 0 && boundary->len <= BOUNDARY_MAX;
}

static int no_multipart(struct error *error)
{
        return error_set(error, -EINVAL, "The form is not well formed multipart data.");
}

/* The part's headers, each a line, up to the blank one. */
static int read_disposition(const char *head, size_t len, struct buf *name, struct error *error)
{
        _cleanup_free_ char *text = xstrndup(head, len);
        _cleanup_buf_ struct buf filename = BUF_NULL;
        bool found = false;
        if (strlen(text) != len)
                return no_multipart(error);
        for (char *line = text, *next; line; line = next) {
                next = strstr(line, "\r\n");
                if (next) {
                        *next = '\0';
                        next += 2;
                }
                if (strncasecmp(line, "Content-Disposition:", 20) != 0)
                        continue;
                const char *value = skip_blanks(line + 20);
                if (found || strncasecmp(value, "form-data", 9) != 0 || !parameter(value, "name", name))
                        return no_multipart(error);
                if (parameter(value, "filename", &filename) || parameter(value, "filename*", &filename))
                        return error_set(error, -EINVAL, "Files are not taken here.");
                found = true;
        }
        return found ? 0 : no_multipart(error);
}

static int read_part(struct form *form, const char *part, size_t len, struct error *error)
{
        _cleanup_buf_ struct buf name = BUF_NULL, value = BUF_NULL;
        const char *blank = memmem(part, len, "\r\n\r\n", 4);
        if (!blank)
                return no_multipart(error);
        int r = read_disposition(part, (size_t)(blank - part), &name, error);
        if (r < 0)
                return r;
        size_t value_len = len - (size_t)(blank + 4 - part);
        if (value_len > FIELD_BYTES_MAX)
                return error_set(error, -EINVAL, "A field of the form is larger than %d bytes.", FIELD_BYTES_MAX);
        buf_add(&value, blank + 4, value_len);
        return add_field(form, &name, &value, error);
}

/* Parts stand between delimiters; what is before the first and behind the last is thrown away. */
static int parse_multipart(struct form *form, const char *content_type, const char *body, size_t len,
                           struct error *error)
{
        _cleanup_buf_ struct buf boundary = BUF_NULL, delimiter = BUF_NULL;
        const char *end = body + len;
        if (!parameter(content_type, "boundary", &boundary) || !is_boundary(&boundary))
                return error_set(error, -EINVAL, "The form names no valid boundary.");
        buf_addf(&delimiter, "\r\n--%s", boundary.data);
        const char *at = body;
        if (len < delimiter.len - 2 || memcmp(at, delimiter.data + 2, delimiter.len - 2) != 0) {
                at = memmem(body, len, delimiter.data, delimiter.len);
                if (!at)
                        return no_multipart(error);
                at += 2;
        }
        for (at += delimiter.len - 2;;) {
                if (end - at >= 2 && at[0] == '-' && at[1] == '-')
                        return 0;
                while (at < end && (*at == ' ' || *at == '\t'))
                        at++;
                if (end - at < 2 || at[0] != '\r' || at[1] != '\n')
                        return no_multipart(error);
                at += 2;
                const char *stop = memmem(at, (size_t)(end - at), delimiter.data, delimiter.len);
                if (!stop)
                        return no_multipart(error);
                int r = read_part(form, at, (size_t)(stop - at), error);
                if (r < 0)
                        return r;
                at = stop + delimiter.len;
        }
}

/* --- either ------------------------------------------------------------------------------------------------------- */

int form_parse(const char *content_type, const char *body, size_t len, struct form **ret, struct error *error)
{
        size_t type_len = strcspn(content_type, "; \t");
        bool urlencoded = type_len == 33 && strncasecmp(content_type, "application/x-www-form-urlencoded", 33) == 0;
        bool multipart = type_len == 19 && strncasecmp(content_type, "multipart/form-data", 19) == 0;
        if (!urlencoded && !multipart)
                return error_set(error, -ENOTSUP, "The body is no form.");
        _cleanup_form_ struct form *form = xcalloc(1, sizeof *form);
        int r = urlencoded ? parse_urlencoded(form, body, len, error)
                           : parse_multipart(form, content_type, body, len, error);
        if (r < 0)
                return r;
        *ret = STEAL(form);
        return 0;
}
