/*
 * Rendering of mustache templates in one pass over the text. A section's text is found first (its end must match), then
 * rendered once an entry with the entry on top of the stack in which names are looked up. The work of one page is
 * limited, so that partials that contain themselves end with an error.
 */
#include "http/template.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "http/http.h"

#define DEPTH_MAX 32
#define TAGS_MAX 2000000
#define NAME_MAX_BYTES 64

struct render {
        const struct http_template *templates, *current;
        json_t *stack[2 * DEPTH_MAX + 2];
        unsigned top, depth;
        long tags;
        struct buf *out;
        struct error *error;
};

/* One tag: its kind ('#', '^', '/', '>', '!', '&' for raw, '=' never, 0 for escaped), its name, and what it covers. */
struct tag {
        char kind;
        char name[NAME_MAX_BYTES];
        const char *begin, *after;
};

void html_escape(const char *text, size_t len, struct buf *out)
{
        size_t from = 0;
        for (size_t i = 0; i < len; i++) {
                const char *entity = text[i] == '&'    ? "&amp;"
                                     : text[i] == '<'  ? "&lt;"
                                     : text[i] == '>'  ? "&gt;"
                                     : text[i] == '"'  ? "&quot;"
                                     : text[i] == '\'' ? "&#39;"
                                                       : NULL;
                if (!entity)
                        continue;
                buf_add(out, text + from, i - from);
                buf_adds(out, entity);
                from = i + 1;
        }
        buf_add(out, text + from, len - from);
}

static int trouble(struct render *r, const char *at, const char *what)
{
        int line = 1;
        for (const char *c = r->current->text; c < at; c++)
                line += *c == '\n';
        return error_set(r->error, -EINVAL, "template %s, line %d: %s", r->current->name, line, what);
}

/* --- tags --------------------------------------------------------------------------------------------------------- */

static const char *find(const char *from, const char *end, const char *what)
{
        return memmem(from, (size_t)(end - from), what, strlen(what));
}

static int read_name(struct render *r, struct tag *tag, const char *from, const char *to)
{
        while (from < to && isspace((unsigned char)*from))
                from++;
        while (to > from && isspace((unsigned char)to[-1]))
                to--;
        size_t len = (size_t)(to - from);
        if (len == 0 || len >= sizeof tag->name)
                return trouble(r, tag->begin, "a tag needs a name of at most 63 bytes");
        memcpy(tag->name, from, len);
        tag->name[len] = '\0';
        return 0;
}

/* 1: a tag; 0: none is left. */
static int next_tag(struct render *r, const char *from, const char *end, struct tag *tag)
{
        tag->begin = from && from < end ? find(from, end, "{{") : NULL;
        if (!tag->begin)
                return 0;
        if (++r->tags > TAGS_MAX)
                return trouble(r, tag->begin, "the page is too much work");
        const char *at = tag->begin + 2;
        bool triple = at < end && *at == '{';
        const char *close = find(at, end, triple ? "}}}" : "}}");
        if (!close)
                return trouble(r, tag->begin, "a tag is not closed");
        tag->after = close + (triple ? 3 : 2);
        tag->kind = triple ? '&' : '\0';
        if (triple || (at < close && strchr("#^/>!&", *at)))
                tag->kind = triple ? '&' : *at++;
        else if (at < close && *at == '=')
                return trouble(r, tag->begin, "other delimiters are not supported");
        if (triple)
                at++;
        if (tag->kind == '!')
                return 1;
        int code = read_name(r, tag, at, close);
        return code < 0 ? code : 1;
}

/* A line that holds nothing but a section, a comment or a partial leaves no blank line behind. */
static void widen(const struct render *r, struct tag *tag)
{
        const char *begin = tag->begin, *after = tag->after;
        if (tag->kind == '\0' || tag->kind == '&')
                return;
        while (begin > r->current->text && (begin[-1] == ' ' || begin[-1] == '\t'))
                begin--;
        after += strspn(after, " \t");
        if ((begin > r->current->text && begin[-1] != '\n') || (*after != '\n' && *after != '\r' && *after != '\0'))
                return;
        after += *after == '\r';
        tag->begin = begin;
        tag->after = after + (*after == '\n');
}

/* The closing tag that belongs to `open`. */
static int find_close(struct render *r, const struct tag *open, const char *end, struct tag *close)
{
        int depth = 0;
        const char *from = open->after;
        for (int code; (code = next_tag(r, from, end, close)) != 0; from = close->after) {
                if (code < 0)
                        return code;
                if (close->kind == '#' || close->kind == '^')
                        depth++;
                if (close->kind != '/' || depth-- > 0)
                        continue;
                if (!str_eq(close->name, open->name))
                        return trouble(r, close->begin, "this tag closes another section than the one that is open");
                widen(r, close);
                return 0;
        }
        return trouble(r, open->begin, "a section is not closed");
}

/* --- the model ---------------------------------------------------------------------------------------------------- */

static json_t *look_up(const struct render *r, const char *name)
{
        if (str_eq(name, "."))
                return r->stack[r->top];
        size_t len = strcspn(name, ".");
        json_t *found = NULL;
        for (unsigned i = r->top + 1; i-- > 0 && !found;)
                found = json_object_getn(r->stack[i], name, len);
        for (name += len; found && *name == '.'; name += len) {
                name++;
                len = strcspn(name, ".");
                found = json_object_getn(found, name, len);
        }
        return found;
}

static bool is_true(const json_t *value)
{
        switch (value ? json_typeof(value) : JSON_NULL) {
        case JSON_NULL:
        case JSON_FALSE:
                return false;
        case JSON_STRING:
                return json_string_length(value) > 0;
        case JSON_ARRAY:
                return json_array_size(value) > 0;
        case JSON_INTEGER:
        case JSON_REAL:
                return json_number_value(value) != 0;
        default:
                return true;
        }
}

static void put_value(struct render *r, const json_t *value, bool raw)
{
        _cleanup_free_ char *printed = NULL;
        const char *text = json_string_value(value);
        size_t len = json_string_length(value);
        if (!value || json_is_null(value))
                return;
        if (!text) {
                printed = json_text(value);
                text = printed;
                len = strlen(printed);
        }
        if (raw)
                buf_add(r->out, text, len);
        else
                html_escape(text, len, r->out);
}

/* --- rendering ---------------------------------------------------------------------------------------------------- */

static int render_text(struct render *r, const char *from, const char *end);

static int render_with(struct render *r, json_t *context, const char *from, const char *end)
{
        r->stack[++r->top] = context;
        int code = render_text(r, from, end);
        r->top--;
        return code;
}

static int render_section(struct render *r, const struct tag *open, const char *end, const char **ret_after)
{
        struct tag close;
        json_t *value = look_up(r, open->name), *entry;
        size_t index;
        int code = find_close(r, open, end, &close);
        if (code < 0)
                return code;
        *ret_after = close.after;
        if (open->kind == '^')
                return is_true(value) ? 0 : render_text(r, open->after, close.begin);
        if (!is_true(value))
                return 0;
        if (!json_is_array(value))
                return render_with(r, value, open->after, close.begin);
        json_array_foreach (value, index, entry)
                if ((code = render_with(r, entry, open->after, close.begin)) < 0)
                        return code;
        return 0;
}

static const struct http_template *template_find(const struct http_template *templates, const char *name)
{
        for (; templates && templates->name; templates++)
                if (str_eq(templates->name, name))
                        return templates;
        return NULL;
}

static int render_partial(struct render *r, const struct tag *tag)
{
        const struct http_template *caller = r->current, *partial = template_find(r->templates, tag->name);
        if (!partial) {
                trouble(r, tag->begin, "there is no template of the name that is included here");
                if (r->error)
                        r->error->code = -ENOENT;
                return -ENOENT;
        }
        r->current = partial;
        int code = render_text(r, partial->text, partial->text + strlen(partial->text));
        r->current = caller;
        return code;
}

static int render_tag(struct render *r, struct tag *tag, const char *end, const char **ret_after)
{
        *ret_after = tag->after;
        switch (tag->kind) {
        case '!':
                return 0;
        case '/':
                return trouble(r, tag->begin, "this tag closes a section that is not open");
        case '#':
        case '^':
                return render_section(r, tag, end, ret_after);
        case '>':
                return render_partial(r, tag);
        default:
                put_value(r, look_up(r, tag->name), tag->kind == '&');
                return 0;
        }
}

static int render_text(struct render *r, const char *from, const char *end)
{
        struct tag tag = {0};
        int code = 0;
        if (r->depth >= DEPTH_MAX)
                return trouble(r, from, "sections and partials are nested too deep");
        r->depth++;
        while ((code = next_tag(r, from, end, &tag)) > 0) {
                widen(r, &tag);
                if (tag.begin > from)
                        buf_add(r->out, from, (size_t)(tag.begin - from));
                code = render_tag(r, &tag, end, &from);
                if (code < 0)
                        break;
        }
        r->depth--;
        if (code == 0 && from < end)
                buf_add(r->out, from, (size_t)(end - from));
        return code;
}

int template_render(const struct http_template *templates, const char *name, json_t *model, struct buf *out,
                    struct error *error)
{
        struct render r = {
                .templates = templates, .current = template_find(templates, name), .out = out, .error = error};
        if (!r.current)
                return error_set(error, -ENOENT, "there is no template %s", name);
        r.stack[0] = model;
        return render_text(&r, r.current->text, r.current->text + strlen(r.current->text));
}
