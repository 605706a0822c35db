/*
 * The program's own log: one line an event on standard error, "2026-11-25T03:30:22.123Z info allocator: text". Under
 * systemd the time is left out and the level is the journal's prefix. Control characters are escaped and a line is cut
 * at 2 KB, because parts of it come from strangers. Secrets are never passed to it.
 */
#pragma once

#include "base/mem.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };

void log_setup(const char *program, enum log_level least); /* once, in main */
void log_write(enum log_level level, const char *format, ...) _printf_(2, 3);

/* For lines that come by thousands a second: kept until log_flush(), which whoever writes them calls before it waits, or
 * until 4 KB are full or another line is written. */
void log_hold(enum log_level level, const char *text);
void log_flush(void);

#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
