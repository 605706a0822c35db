/*
 * The terminal. Much of what is shown comes from VMs and participants, so nothing reaches it raw: control characters,
 * invalid UTF-8 and characters that turn the direction of writing are shown as escapes.
 */
#pragma once

#include <stdio.h>

#include "base/buf.h"

/* Appends `text` made harmless; a tab and, when `lines`, a newline stay as they are. */
void term_escape(const char *text, size_t len, bool lines, struct buf *out);
void term_put(FILE *out, const char *text); /* made harmless, newlines kept, no newline added */
/* Are colours welcome there? On a terminal, unless NO_COLOR or TERM=dumb say otherwise. */
bool term_has_colours(FILE *out);
void term_put_coloured(FILE *out, const char *text); /* one line; its colours (base/ansi.h) stay */
size_t term_columns(const char *text);               /* of an escaped text: its characters */

/* Asks on the terminal until a line is typed; true only for the word yes. */
bool term_ask_yes(const char *question);
/* Reads a line without showing it. NULL when there is no terminal. Owned by the caller. */
char *term_ask_secret(const char *question);

/* "12 s", "3 min 20 s", "2 h 5 min", "3 d 4 h". */
void term_duration(double seconds, struct buf *out);
/* "12 s ago" for an ISO 8601 text; "-" for NULL. */
void term_ago(const char *iso, struct buf *out);

/*
 * One line at the end of the terminal that says what is waited for and since when. Without a terminal on standard error
 * it is never drawn. What else is printed must be printed between progress_clear() and the next progress_tick().
 */
struct progress {
        bool live; /* standard error is a terminal, and not -q */
        bool drawn;
        int64_t started; /* clock_ms */
        char *text;
};
void progress_init(struct progress *progress, bool quiet);
void progress_set(struct progress *progress, const char *format, ...) _printf_(2, 3);
void progress_tick(struct progress *progress); /* draws it once a second has passed */
void progress_clear(struct progress *progress);
void progress_deinit(struct progress *progress);
#define _cleanup_progress_ _cleanup_(progress_deinit)
