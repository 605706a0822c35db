/*
 * One line an event on standard error, in one write(2), so that lines of several processes do not mix. What a stranger
 * sent cannot forge a second line: control characters are shown as \xNN.
 */
#include "base/log.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/text.h"

#define LINE_MAX_BYTES 2048
#define LINE_USUAL 255

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
        size_t len = strlen(text);
        if (out->len + len + 8 <= LINE_MAX_BYTES && str_plain(text, len)) {
                buf_add(out, text, len);
                return;
        }
        utf8_scrub(text, len, &clean);
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

/* The text of a second is made once: a busy server writes thousands of lines in it. */
static void add_time(struct buf *line)
{
        static char text[CLOCK_ISO_SIZE];
        static int64_t second = -1;
        int64_t ms = (int64_t)(MAX(clock_now(), 0.0) * 1000);
        if (ms / 1000 != second) {
                second = ms / 1000;
                clock_iso((double)second, text);
        }
        char *fraction = text + strlen("2026-01-01T00:00:00.");
        for (int i = 2, rest = (int)(ms % 1000); i >= 0; i--, rest /= 10)
                fraction[i] = (char)('0' + rest % 10);
        buf_adds(line, text);
}

static void add_head(struct buf *line, enum log_level level)
{
        static const char *const names[] = {"debug", "info", "warning", "error"};
        static const char journal[] = {'7', '6', '4', '3'};
        if (setup.journal) {
                buf_addf(line, "<%c>%s: ", journal[level], setup.program);
        } else {
                add_time(line);
                buf_addc(line, ' ');
                buf_adds(line, names[level]);
                buf_addc(line, ' ');
                buf_adds(line, setup.program);
                buf_adds(line, ": ");
        }
}

static void make_line(struct buf *line, enum log_level level, const char *text)
{
        buf_reserve(line, LINE_USUAL);
        add_head(line, level);
        add_escaped(line, text);
        buf_addc(line, '\n');
}

static void format_line(struct buf *line, enum log_level level, const char *format, va_list args)
{
        char text[LINE_MAX_BYTES]; /* what does not fit would be cut anyway */
        vsnprintf(text, sizeof text, format, args);
        make_line(line, level, text);
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

void log_hold(enum log_level level, const char *text)
{
        _cleanup_buf_ struct buf line = BUF_NULL;
        if (level < setup.least)
                return;
        make_line(&line, level, text);
        if (line.len > sizeof held.data - held.len)
                log_flush();
        memcpy(held.data + held.len, line.data, line.len); /* a line is never longer than LINE_MAX_BYTES and a little */
        held.len += line.len;
}
