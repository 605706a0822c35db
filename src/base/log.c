/*
 * One line an event on standard error, in one write(2), so that lines of several processes do not mix. What a stranger
 * sent cannot forge a second line: control characters are shown as \xNN.
 */
#include "base/log.h"

#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/text.h"

#define LINE_MAX_BYTES 2048

static struct {
        const char *program;
        enum log_level least;
        bool journal;
} setup = {"lablink", LOG_LEVEL_INFO, false};

void log_setup(const char *program, enum log_level least)
{
        setup.program = program;
        setup.least = least;
        setup.journal = getenv("JOURNAL_STREAM") != NULL;
}

/* What a pipe takes as a whole: lines of several processes do not mix. */
static struct {
        char data[4096];
        size_t len;
} held;

static void add_escaped(struct buf *out, const char *text)
{
        _cleanup_buf_ struct buf clean = BUF_NULL;
        utf8_scrub(text, strlen(text), &clean);
        for (size_t i = 0; i < clean.len;) {
                const char *at = clean.data + i;
                unsigned char c = (unsigned char)*at, second = (unsigned char)at[1];
                size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
                if (out->len + 8 > LINE_MAX_BYTES) {
                        buf_adds(out, "...");
                        return;
                }
                if (c < 0x20 || c == 0x7f)
                        buf_addf(out, "\\x%02x", c);
                else if (c == 0xc2 && second < 0xa0) /* C1: terminals obey them as they do an escape */
                        buf_addf(out, "\\x%02x", second);
                else
                        buf_add(out, at, n);
                i += n;
        }
}

static void add_head(struct buf *line, enum log_level level)
{
        static const char *const names[] = {"debug", "info", "warning", "error"};
        static const char journal[] = {'7', '6', '4', '3'};
        if (setup.journal) {
                buf_addf(line, "<%c>%s: ", journal[level], setup.program);
        } else {
                char now[CLOCK_ISO_SIZE];
                clock_iso(clock_now(), now);
                buf_addf(line, "%s %s %s: ", now, names[level], setup.program);
        }
}

static void format_line(struct buf *line, enum log_level level, const char *format, va_list args)
{
        _cleanup_free_ char *text = xvasprintf(format, args);
        add_head(line, level);
        add_escaped(line, text);
        buf_addc(line, '\n');
}

void log_flush(void)
{
        size_t len = held.len;
        held.len = 0;
        if (len > 0) {
                ssize_t ignored _unused_ = write(STDERR_FILENO, held.data, len);
        }
}

void log_write(enum log_level level, const char *format, ...)
{
        _cleanup_buf_ struct buf line = BUF_NULL;
        va_list args;
        if (level < setup.least)
                return;
        va_start(args, format);
        format_line(&line, level, format, args);
        va_end(args);
        log_flush();
        ssize_t ignored _unused_ = write(STDERR_FILENO, line.data, line.len);
}

void log_hold(enum log_level level, const char *format, ...)
{
        _cleanup_buf_ struct buf line = BUF_NULL;
        va_list args;
        if (level < setup.least)
                return;
        va_start(args, format);
        format_line(&line, level, format, args);
        va_end(args);
        if (line.len > sizeof held.data - held.len)
                log_flush();
        memcpy(held.data + held.len, line.data, line.len); /* a line is never longer than LINE_MAX_BYTES and a little */
        held.len += line.len;
}
