/*
 * The little that is wanted of AWS's XML, read by expat: each element's path and text. No document type is let in, so
 * there are no entities of one's own and nothing to fetch.
 */
#include <errno.h>
#include <expat.h>
#include <string.h>

#include "aws/internal.h"
#include "base/text.h"

#define DEPTH_MAX 24

struct walk {
        XML_Parser parser;
        struct buf path, value;
        size_t starts[DEPTH_MAX + 1]; /* where the last name of each path begins */
        int depth;
        void (*text)(void *userdata, const char *path, const char *value);
        void *userdata;
        bool refused;
};

static void refuse(struct walk *walk)
{
        walk->refused = true;
        XML_StopParser(walk->parser, XML_FALSE);
}

static void on_start(void *userdata, const char *name, const char **attributes _unused_)
{
        struct walk *walk = userdata;
        if (walk->depth == DEPTH_MAX) {
                refuse(walk);
                return;
        }
        walk->starts[walk->depth++] = walk->path.len;
        buf_addf(&walk->path, "%s%s", walk->path.len ? "/" : "", name);
        buf_truncate(&walk->value, 0);
}

static void on_text(void *userdata, const char *data, int len)
{
        struct walk *walk = userdata;
        buf_add(&walk->value, data, (size_t)len);
}

static void on_end(void *userdata, const char *name _unused_)
{
        struct walk *walk = userdata;
        if (walk->refused)
                return;
        walk->text(walk->userdata, buf_str(&walk->path), buf_str(&walk->value));
        buf_truncate(&walk->path, walk->starts[--walk->depth]);
        buf_truncate(&walk->value, 0);
}

static void on_doctype(void *userdata, const char *name _unused_, const char *system _unused_,
                       const char *public _unused_, int internal _unused_)
{
        refuse(userdata);
}

int aws_xml_walk(const char *data, size_t len, void (*text)(void *userdata, const char *path, const char *value),
                 void *userdata)
{
        struct walk walk = {.text = text, .userdata = userdata, .parser = XML_ParserCreate(NULL)};
        if (!walk.parser)
                abort();
        XML_SetUserData(walk.parser, &walk);
        XML_SetElementHandler(walk.parser, on_start, on_end);
        XML_SetCharacterDataHandler(walk.parser, on_text);
        XML_SetStartDoctypeDeclHandler(walk.parser, on_doctype);
        bool fine = len <= AWS_ANSWER_MAX &&
                    XML_Parse(walk.parser, data ? data : "", (int)len, XML_TRUE) == XML_STATUS_OK && !walk.refused;
        XML_ParserFree(walk.parser);
        buf_deinit(&walk.path);
        buf_deinit(&walk.value);
        return fine ? 0 : -EINVAL;
}

struct search {
        const char *name;
        char *found;
};

static void look(void *userdata, const char *path, const char *value)
{
        struct search *search = userdata;
        const char *slash = strrchr(path, '/');
        if (!search->found && str_eq(slash ? slash + 1 : path, search->name))
                search->found = xstrdup(value);
}

char *aws_xml_find(const char *data, size_t len, const char *name)
{
        struct search search = {.name = name};
        if (aws_xml_walk(data, len, look, &search) < 0)
                free(STEAL(search.found));
        return search.found;
}
