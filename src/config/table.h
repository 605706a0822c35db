/*
 * The table of keys as the rest of this floor sees it: what keys.def says of each key, and how to find one by name or
 * to name the nearest. Private to src/config/.
 */
#pragma once

#include "config/config.h"

enum config_type { CONFIG_TEXT, CONFIG_INT, CONFIG_BOOL, CONFIG_DURATION, CONFIG_SIZE, CONFIG_LIST };

#define CONFIG_SECRET 1u
#define CONFIG_DEPLOYED 2u

struct config_key {
        const char *section; /* "top" for the keys without a section */
        const char *name;
        const char *path; /* "db.host", "top.state_dir"; people see config_path() */
        enum config_type type;
        unsigned flags;
        const char *fallback; /* the default, as one would write it */
        const char *sentence;
        size_t offset;       /* of the value in struct config */
        const char *choices; /* "a|b|c" or NULL */
        bool ranged;
        int64_t min, max;
};

struct config_section {
        const char *name;
        const char *sentence;
};

extern const struct config_section config_sections[];
extern const size_t config_n_sections;

const struct config_key *config_key(enum config_key_id id);
/* CONFIG_KEY_COUNT when there is none. `section` is "top" for the keys without a section. */
enum config_key_id config_find(const char *section, const char *name);
enum config_key_id config_find_path(const char *path);
bool config_is_section(const char *name); /* false for "top" */

/* "db.host"; "state_dir" for a key without a section. */
const char *config_path(const struct config_key *key);
/* LABLINK_DB_HOST. Owned by the caller. */
char *config_variable(const struct config_key *key);

/* "; did you mean db.host?" and what the section takes, for a key that nobody knows. */
void config_suggest(const char *section, const char *name, struct buf *out);

static inline bool config_is_secret(const struct config_key *key)
{
        return key->flags & CONFIG_SECRET;
}

/* The value's place in memory. */
static inline void *config_slot(const struct config *config, const struct config_key *key)
{
        return (char *)config + key->offset;
}
