/*
 * `struct config`, made from keys.def: one inner struct a section, one member a key, and beside them where each value
 * came from. Included by config.h only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define CONFIG_C_TEXT char *
#define CONFIG_C_INT int64_t
#define CONFIG_C_BOOL bool
#define CONFIG_C_DURATION int64_t
#define CONFIG_C_SIZE int64_t
#define CONFIG_C_LIST char **

/* CONFIG_KEY_db_host and so on: the place of a key in the table, and of its origin in struct config. */
enum config_key_id {
#define SECTION(name, sentence)
#define KEY(section, name, type, fallback, flags, sentence) CONFIG_KEY_##section##_##name,
#define CHOICE(section, name, values)
#define RANGE(section, name, min, max)
#include "config/keys.def"
#undef SECTION
#undef KEY
        CONFIG_KEY_COUNT
};

/* Each SECTION ends the struct before it and begins its own; the first ends one that is not used. */
struct config_before_first {
        char none;
#define SECTION(name, sentence) \
        } \
        ; \
        struct config_##name {
#define KEY(section, name, type, fallback, flags, sentence) CONFIG_C_##type name;
#include "config/keys.def"
#undef SECTION
#undef KEY
};

struct config_origin {
        enum config_source source;
        char *place; /* "config.yaml:12:9", "LABLINK_DB_HOST", "--set"; NULL for a default */
};

struct config {
#define SECTION(name, sentence) struct config_##name name;
#define KEY(section, name, type, fallback, flags, sentence)
#include "config/keys.def"
#undef SECTION
#undef KEY
#undef CHOICE
#undef RANGE
        char *file;           /* absolute path of the file that was read; NULL: none */
        char *public_address; /* $ALLOCATOR_PUBLIC_IP; NULL: not given */
        struct config_origin origins[CONFIG_KEY_COUNT];
};
