/*
 * One value, from whichever layer: read as its key's type, checked, and stored together with where it came from. A
 * value that is refused leaves the older one and a sentence. Private to src/config/.
 */
#pragma once

#include "config/table.h"

struct config_from {
        enum config_source source;
        const char *place;
};

/* "place: sentence\n". Control characters are escaped: parts of it may come from strangers. */
void config_problem(struct buf *problems, const char *place, const char *format, ...) _printf_(3, 4);
/* Appends `text` in quotes, control characters escaped and cut at 60 bytes. */
void config_quote(struct buf *out, const char *text);

/* All keys get their defaults. */
void config_set_defaults(struct config *config);
/* Empty text is the default. */
void config_set(struct config *config, enum config_key_id id, const char *text, const struct config_from *from,
                struct buf *problems);
/* Of a LIST. */
void config_set_list(struct config *config, enum config_key_id id, char *const *items, const struct config_from *from,
                     struct buf *problems);

/* The value as one would write it: "true", "30d", "a, b". */
void config_print(const struct config *config, const struct config_key *key, struct buf *out);
bool config_is_set(const struct config *config, enum config_key_id id); /* not empty, false or 0 */

/* What a key takes, in words, for messages and the reference: "a whole number, 1 to 65535". */
void config_allowed(enum config_key_id id, struct buf *out);

/* rules.c: a TEXT (or each item of a LIST) that only takes a certain form. */
bool config_form_ok(enum config_key_id id, const char *text);
const char *config_form(enum config_key_id id); /* in words; NULL: any text */
