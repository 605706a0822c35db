/*
 * keys.def read twice more: for the rows and for the sections. A key that a file or a person spelt wrongly is looked
 * for in three places: the same name elsewhere, a near name in its section, a near name anywhere.
 */
#include "config/table.h"

#include <ctype.h>
#include <string.h>

#include "base/text.h"

#define SECRET CONFIG_SECRET
#define DEPLOYED CONFIG_DEPLOYED
#define ROW(section, name) [CONFIG_KEY_##section##_##name]

static const struct config_key rows[CONFIG_KEY_COUNT] = {
#define SECTION(section_name, words)
#define KEY(section_, name_, type_, fallback_, flags_, words) \
        ROW(section_, name_).section = #section_, ROW(section_, name_).name = #name_, \
                      ROW(section_, name_).path = #section_ "." #name_, ROW(section_, name_).type = CONFIG_##type_, \
                      ROW(section_, name_).flags = flags_, ROW(section_, name_).fallback = fallback_, \
                      ROW(section_, name_).sentence = words, \
                      ROW(section_, name_).offset = offsetof(struct config, section_.name_),
#define CHOICE(section_, name_, values) ROW(section_, name_).choices = values,
#define RANGE(section_, name_, min_, max_) \
        ROW(section_, name_).ranged = true, ROW(section_, name_).min = min_, ROW(section_, name_).max = max_,
#include "config/keys.def"
#undef SECTION
#undef KEY
#undef CHOICE
#undef RANGE
};

const struct config_section config_sections[] = {
#define SECTION(section_name, words) {#section_name, words},
#define KEY(section, name, type, fallback, flags, words)
#define CHOICE(section, name, values)
#define RANGE(section, name, min, max)
#include "config/keys.def"
};
const size_t config_n_sections = ARRAY_SIZE(config_sections);

const struct config_key *config_key(enum config_key_id id)
{
        return &rows[id];
}

static bool is_top(const char *section)
{
        return strcmp(section, "top") == 0;
}

const char *config_path(const struct config_key *key)
{
        return is_top(key->section) ? key->name : key->path;
}

enum config_key_id config_find(const char *section, const char *name)
{
        for (enum config_key_id id = 0; id < CONFIG_KEY_COUNT; id++)
                if (strcmp(rows[id].section, section) == 0 && strcmp(rows[id].name, name) == 0)
                        return id;
        return CONFIG_KEY_COUNT;
}

enum config_key_id config_find_path(const char *path)
{
        for (enum config_key_id id = 0; id < CONFIG_KEY_COUNT; id++)
                if (strcmp(config_path(&rows[id]), path) == 0)
                        return id;
        return CONFIG_KEY_COUNT;
}

bool config_is_section(const char *name)
{
        for (size_t i = 0; i < config_n_sections; i++)
                if (strcmp(config_sections[i].name, name) == 0)
                        return !is_top(name);
        return false;
}

char *config_variable(const struct config_key *key)
{
        char *name = xasprintf("LABLINK_%s", config_path(key));
        for (char *c = name; *c; c++)
                *c = *c == '.' ? '_' : (char)toupper((unsigned char)*c);
        return name;
}

/* A key of the very same name in another section. */
static const struct config_key *elsewhere(const char *name)
{
        for (enum config_key_id id = 0; id < CONFIG_KEY_COUNT; id++)
                if (strcmp(rows[id].name, name) == 0)
                        return &rows[id];
        return NULL;
}

/* "hostname" for "host", "pass" for "password". */
static bool begins_alike(const char *a, const char *b)
{
        size_t n = MIN(strlen(a), strlen(b));
        return n >= 3 && strncmp(a, b, n) == 0;
}

/* The nearest name in a section, or among all paths when `section` is NULL. */
static const struct config_key *nearest(const char *section, const char *word)
{
        const char *words[CONFIG_KEY_COUNT + 1] = {NULL};
        const struct config_key *keys[CONFIG_KEY_COUNT];
        size_t n = 0;
        for (enum config_key_id id = 0; id < CONFIG_KEY_COUNT; id++) {
                if (section && strcmp(rows[id].section, section) != 0)
                        continue;
                keys[n] = &rows[id];
                words[n++] = section ? rows[id].name : config_path(&rows[id]);
        }
        const char *found = text_nearest(word, words);
        for (size_t i = 0; i < n; i++)
                if (found ? words[i] == found : begins_alike(words[i], word))
                        return keys[i];
        return NULL;
}

static const char *nearest_section(const char *word)
{
        const char *words[ARRAY_SIZE(config_sections) + 1] = {NULL};
        size_t n = 0;
        for (size_t i = 0; i < config_n_sections; i++)
                if (!is_top(config_sections[i].name))
                        words[n++] = config_sections[i].name;
        return text_nearest(word, words);
}

static void list_keys(const char *section, struct buf *out)
{
        const char *comma = "";
        for (enum config_key_id id = 0; id < CONFIG_KEY_COUNT; id++) {
                if (strcmp(rows[id].section, section) != 0)
                        continue;
                buf_addf(out, "%s%s", comma, rows[id].name);
                comma = ", ";
        }
}

static void list_sections(struct buf *out)
{
        const char *comma = "";
        for (size_t i = 0; i < config_n_sections; i++) {
                if (is_top(config_sections[i].name))
                        continue;
                buf_addf(out, "%s%s", comma, config_sections[i].name);
                comma = ", ";
        }
}

static void suggest_top(const char *name, struct buf *out)
{
        const struct config_key *key = nearest("top", name);
        const char *section = nearest_section(name);
        const struct config_key *inside = elsewhere(name);
        if (inside)
                buf_addf(out, "; %s is written below \"%s:\"", config_path(inside), inside->section);
        else if (section)
                buf_addf(out, "; did you mean the section %s?", section);
        else if (key || (key = nearest(NULL, name)))
                buf_addf(out, "; did you mean %s?", config_path(key));
        if (inside || section || key)
                return;
        buf_adds(out, " (known here: ");
        list_keys("top", out);
        buf_adds(out, "; sections: ");
        list_sections(out);
        buf_addc(out, ')');
}

void config_suggest(const char *section, const char *name, struct buf *out)
{
        if (is_top(section)) {
                suggest_top(name, out);
                return;
        }
        const struct config_key *key = nearest(section, name);
        const struct config_key *other = elsewhere(name);
        if (!other && !key)
                other = nearest(NULL, name);
        if (key && other)
                buf_addf(out, "; did you mean %s or %s?", config_path(key), config_path(other));
        else if (key)
                buf_addf(out, "; did you mean %s?", config_path(key));
        else if (other)
                buf_addf(out, "; did you mean %s%s?", config_path(other),
                         is_top(other->section) ? ", which stands in no section" : "");
        buf_addf(out, " (%s takes: ", section);
        list_keys(section, out);
        buf_addc(out, ')');
}
