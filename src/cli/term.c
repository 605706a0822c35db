/* Showing strangers' text without letting it move the cursor, and one line that says that something goes on. */
#include "cli/term.h"

#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "base/ansi.h"
#include "base/clock.h"
#include "base/text.h"

static bool plain(unsigned char c, bool lines)
{
        return (c >= 0x20 && c < 0x7f) || c == '\t' || (lines && c == '\n');
}

/* Code point of a character that utf8_valid() has accepted, and its length. */
static uint32_t decode(const unsigned char *p, size_t *len)
{
        *len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
        uint32_t c = p[0] & (0xffU >> (*len + 1));
        for (size_t i = 1; i < *len; i++)
                c = c << 6 | (p[i] & 0x3f);
        return c;
}

/* C1 controls, separators of lines, marks and overrides of direction, byte order mark, language tags. */
static bool harmful(uint32_t c)
{
        return c < 0xa0 || c == 0x61c || (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
               (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xe0000 && c <= 0xe0fff);
}

/* Bytes of the valid many-byte character at `p`; 0 when there is none. */
static size_t wide(const char *p, size_t left)
{
        for (size_t n = 2; n <= 4 && n <= left; n++)
                if (utf8_valid(p, n) && (unsigned char)p[0] >= 0xc2)
                        return n;
        return 0;
}

void term_escape(const char *text, size_t len, bool lines, struct buf *out)
{
        for (size_t i = 0; i < len;) {
                unsigned char c = (unsigned char)text[i];
                size_t n = c < 0x80 ? 1 : wide(text + i, len - i);
                if (n == 1 && plain(c, lines)) {
                        buf_addc(out, (char)c);
                } else if (n <= 1) {
                        buf_addf(out, "\\x%02x", c);
                        n = 1;
                } else {
                        uint32_t point = decode((const unsigned char *)text + i, &n);
                        if (harmful(point))
                                buf_addf(out, "\\u{%x}", point);
                        else
                                buf_add(out, text + i, n);
                }
                i += n;
        }
}

void term_put(FILE *out, const char *text)
{
        _cleanup_buf_ struct buf safe = BUF_NULL;
        term_escape(text, strlen(text), true, &safe);
        fwrite(buf_str(&safe), 1, safe.len, out);
}

bool term_has_colours(FILE *out)
{
        const char *refused = getenv("NO_COLOR"); /* https://no-color.org */
        return isatty(fileno(out)) && (!refused || !*refused) && !str_eq(getenv("TERM"), "dumb");
}

void term_put_coloured(FILE *out, const char *text)
{
        _cleanup_buf_ struct buf clean = BUF_NULL, safe = BUF_NULL;
        struct ansi_piece piece = {0};
        ansi_colours(text, strlen(text), &clean);
        for (const char *at = buf_str(&clean); ansi_next(&at, &piece);) {
                if (piece.codes_len)
                        buf_addf(&safe, "\033[0;%.*sm", (int)piece.codes_len, piece.codes);
                term_escape(piece.text, piece.len, false, &safe);
                if (piece.codes_len)
                        buf_adds(&safe, "\033[0m");
        }
        fwrite(buf_str(&safe), 1, safe.len, out);
}

size_t term_columns(const char *text)
{
        size_t n = 0;
        for (; *text; text++)
                n += ((unsigned char)*text & 0xc0) != 0x80;
        return n;
}

bool term_ask_yes(const char *question)
{
        char line[64];
        fputs(question, stderr);
        fflush(stderr);
        if (!fgets(line, sizeof(line), stdin)) {
                fputc('\n', stderr);
                return false;
        }
        return str_eq(str_trim(line), "yes");
}

static volatile sig_atomic_t interrupted;

static void on_interrupt(_unused_ int number)
{
        interrupted = 1;
}

/* Ctrl-C first lets the terminal show again what is typed, then ends the program. */

char *term_ask_secret(const char *question)
{
        struct termios before, silent;
        if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &before) < 0)
                return NULL;
        struct sigaction action = {.sa_handler = on_interrupt}, usual;
        sigaction(SIGINT, &action, &usual);
        silent = before;
        silent.c_lflag &= ~(tcflag_t)ECHO;
        fputs(question, stderr);
        fflush(stderr);
        char line[1024];
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
        bool read = !interrupted && fgets(line, sizeof(line), stdin);
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
        fputc('\n', stderr);
        sigaction(SIGINT, &usual, NULL);
        if (interrupted)
                raise(SIGINT);
        if (!read)
                return NULL;
        line[strcspn(line, "\r\n")] = '\0';
        char *secret = xstrdup(line);
        explicit_bzero(line, sizeof(line));
        return secret;
}

void term_duration(double seconds, struct buf *out)
{
        int64_t s = seconds > 0 && seconds < 1e12 ? (int64_t)seconds : 0;
        if (s < 60)
                buf_addf(out, "%d s", (int)s);
        else if (s < 3600)
                buf_addf(out, "%d min %d s", (int)(s / 60), (int)(s % 60));
        else if (s < 86400)
                buf_addf(out, "%d h %d min", (int)(s / 3600), (int)(s % 3600 / 60));
        else
                buf_addf(out, "%lld d %d h", (long long)(s / 86400), (int)(s % 86400 / 3600));
}

void term_ago(const char *iso, struct buf *out)
{
        double then;
        if (!iso || clock_parse_iso(iso, &then) < 0) {
                buf_adds(out, "-");
                return;
        }
        term_duration(clock_now() - then, out);
        buf_adds(out, " ago");
}

void progress_init(struct progress *progress, bool quiet)
{
        *progress = (struct progress){.live = !quiet && isatty(STDERR_FILENO), .started = clock_ms()};
}

void progress_set(struct progress *progress, const char *format, ...)
{
        va_list args;
        va_start(args, format);
        _cleanup_free_ char *text = xvasprintf(format, args);
        va_end(args);
        _cleanup_buf_ struct buf safe = BUF_NULL;
        term_escape(text, strlen(text), false, &safe);
        free(progress->text);
        progress->text = buf_steal(&safe);
}

static size_t width(void)
{
        struct winsize size = {0};
        return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
}

void progress_tick(struct progress *progress)
{
        static const char wheel[] = "|/-\\";
        int64_t passed = clock_ms() - progress->started;
        if (!progress->live || !progress->text || passed < 1000)
                return;
        _cleanup_buf_ struct buf line = BUF_NULL;
        buf_addf(&line, "%c %s, ", wheel[passed / 1000 % 4], progress->text);
        term_duration((double)passed / 1000.0, &line);
        size_t keep = utf8_cut(buf_str(&line), line.len, width() - 1);
        fprintf(stderr, "\r\033[K%.*s", (int)keep, buf_str(&line));
        fflush(stderr);
        progress->drawn = true;
}

void progress_clear(struct progress *progress)
{
        if (progress->drawn)
                fputs("\r\033[K", stderr);
        progress->drawn = false;
}

void progress_deinit(struct progress *progress)
{
        progress_clear(progress);
        free(progress->text);
        progress->text = NULL;
}
