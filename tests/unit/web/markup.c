/* The reader behind markup.h: one pass, a stack of open elements. */
#include "markup.h"

#include <ctype.h>
#include <string.h>

#include "base/text.h"

#define DEPTH_MAX 64
#define NAME_MAX_LEN 32

struct reader {
        struct markup *markup;
        const char *start, *p;
        char open[DEPTH_MAX][NAME_MAX_LEN];
        unsigned depth;
        unsigned in_template;
        json_t *attributes; /* of the tag that is being read */
};

static void found(struct reader *r, const char *what)
{
        if (r->markup->finding.len == 0)
                buf_addf(&r->markup->finding, "%s, at: %.*s", what, 120, r->p);
}

static bool wrong(const struct reader *r)
{
        return r->markup->finding.len > 0;
}

static void read_name(struct reader *r, char name[NAME_MAX_LEN])
{
        size_t len = strspn(r->p, "abcdefghijklmnopqrstuvwxyz0123456789-_");
        if (len == 0 || len >= NAME_MAX_LEN) {
                found(r, "no name where one is due");
                len = 0;
        }
        memcpy(name, r->p, len);
        name[len] = '\0';
        r->p += len;
}

static bool is_void(const char *name)
{
        static const char *const names[] = {"meta", "link", "input", "br", "hr", "img"};
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (strcmp(name, names[i]) == 0)
                        return true;
        return false;
}

/* "&" begins an entity, and nothing else. */
static void check_entity(struct reader *r)
{
        size_t len = strspn(r->p + 1, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789#");
        if (len == 0 || r->p[1 + len] != ';')
                found(r, "an ampersand that is not escaped");
}

static void read_value(struct reader *r, const char *name)
{
        if (*r->p != '"') {
                found(r, "a value without quotes");
                return;
        }
        const char *from = ++r->p;
        while (*r->p && *r->p != '"' && !wrong(r)) {
                if (*r->p == '<' || *r->p == '>')
                        found(r, "an angle bracket in a value");
                if (*r->p == '&')
                        check_entity(r);
                r->p++;
        }
        json_object_set_new(r->attributes, name, json_stringn(from, (size_t)(r->p - from)));
        if (*r->p != '"')
                found(r, "a value without an end");
        else
                r->p++;
}

static void read_attribute(struct reader *r)
{
        char name[NAME_MAX_LEN];
        read_name(r, name);
        if (strncmp(name, "on", 2) == 0 || strcmp(name, "style") == 0)
                found(r, "a script or style in an attribute");
        if (json_object_get(r->attributes, name))
                found(r, "an attribute twice");
        if (wrong(r))
                return;
        buf_addf(&r->markup->skeleton, " %s", name);
        json_object_set_new(r->attributes, name, json_string(""));
        if (*r->p != '=')
                return;
        r->p++;
        read_value(r, name);
}

static void note(json_t *set, const char *key)
{
        if (key)
                json_object_set_new(set, key, json_true());
}

static void check_element(struct reader *r, const char *name)
{
        static const char *const url_names[] = {"href", "src", "action"};
        const char *id = json_get_string(r->attributes, "id"), *type = json_get_string(r->attributes, "type");
        bool control = strcmp(name, "textarea") == 0 || (strcmp(name, "input") == 0 && !str_eq(type, "hidden"));
        if (strcmp(name, "style") == 0 || strcmp(name, "iframe") == 0)
                found(r, "an element that no page has");
        if (strcmp(name, "script") == 0 &&
            (!json_object_get(r->attributes, "src") || strncmp(r->p, "</script>", 9) != 0))
                found(r, "a script inside the page");
        for (size_t i = 0; i < ARRAY_SIZE(url_names); i++)
                note(r->markup->urls, json_get_string(r->attributes, url_names[i]));
        if (r->in_template)
                return;
        if (id && json_object_get(r->markup->ids, id))
                found(r, "an id twice");
        if (control && !id)
                found(r, "a control without an id");
        note(r->markup->ids, id);
        if (control)
                note(r->markup->controls, id);
        if (strcmp(name, "label") == 0)
                note(r->markup->labels, json_get_string(r->attributes, "for"));
}

static void read_opening(struct reader *r)
{
        char name[NAME_MAX_LEN];
        r->p++;
        read_name(r, name);
        buf_addf(&r->markup->skeleton, "<%s", name);
        json_object_clear(r->attributes);
        while (*r->p && *r->p != '>' && !wrong(r)) {
                if (isspace((unsigned char)*r->p))
                        r->p++;
                else
                        read_attribute(r);
        }
        if (*r->p != '>')
                found(r, "a tag without an end");
        if (wrong(r))
                return;
        r->p++;
        buf_adds(&r->markup->skeleton, ">");
        check_element(r, name);
        if (is_void(name))
                return;
        if (r->depth == DEPTH_MAX) {
                found(r, "too many elements inside each other");
                return;
        }
        if (strcmp(name, "template") == 0)
                r->in_template++;
        snprintf(r->open[r->depth++], NAME_MAX_LEN, "%s", name);
}

static void read_closing(struct reader *r)
{
        char name[NAME_MAX_LEN];
        r->p += 2;
        read_name(r, name);
        if (wrong(r))
                return;
        if (r->depth == 0 || strcmp(r->open[r->depth - 1], name) != 0)
                found(r, "an end without its beginning");
        else if (*r->p != '>')
                found(r, "a tag without an end");
        else {
                if (strcmp(name, "template") == 0)
                        r->in_template--;
                r->depth--;
                r->p++;
                buf_addf(&r->markup->skeleton, "</%s>", name);
        }
}

static void read_one(struct reader *r)
{
        if (*r->p == '&')
                check_entity(r);
        if (*r->p == '>')
                found(r, "an angle bracket that is not escaped");
        if (*r->p != '<') {
                r->p++;
                return;
        }
        if (r->p == r->start && strncmp(r->p, "<!doctype html>", 15) == 0)
                r->p += 15;
        else if (strncmp(r->p, "<!--", 4) == 0 && strstr(r->p, "-->"))
                r->p = strstr(r->p, "-->") + 3;
        else if (r->p[1] == '/')
                read_closing(r);
        else
                read_opening(r);
}

void markup_read(struct markup *markup, const char *html)
{
        struct reader r = {.markup = markup, .start = html, .p = html, .attributes = json_object()};
        *markup = (struct markup){
                .ids = json_object(), .labels = json_object(), .controls = json_object(), .urls = json_object()};
        if (strncmp(html, "<!doctype html>", 15) != 0)
                found(&r, "no document type");
        while (*r.p && !wrong(&r))
                read_one(&r);
        if (r.depth)
                found(&r, "an element without an end");
        json_decref(r.attributes);
}

void markup_deinit(struct markup *markup)
{
        buf_deinit(&markup->skeleton);
        buf_deinit(&markup->finding);
        json_decref(markup->ids);
        json_decref(markup->labels);
        json_decref(markup->controls);
        json_decref(markup->urls);
}
