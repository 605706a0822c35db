/*
 * lablink logs: a VM's log as the allocator has it. Lines are numbered and come in pieces, so reading on and following
 * are the same: asking again for what stands behind the last line.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "cli/api.h"
#include "cli/commands.h"
#include "cli/follow.h"
#include "cli/table.h"
#include "cli/term.h"

#define PAUSE_MS 1000
#define PATIENCE_MS 120000

struct reader {
        struct cli *cli;
        const char *name;
        int64_t last;      /* number of the last line taken */
        struct buf *whole; /* collects the text for one JSON document; NULL: printed as it comes */
};

static void put(struct reader *reader, const json_t *answer)
{
        const char *text = str_or(json_get_string(answer, "logs"), "");
        if (reader->whole) {
                buf_adds(reader->whole, text);
        } else if (reader->cli->json) {
                if (*text)
                        json_put(answer, stdout);
        } else if (*text) {
                term_put(stdout, text);
                if (!str_ends(text, "\n"))
                        putchar('\n');
        }
        fflush(stdout);
}

/* One piece; *ret_more (may be NULL): it held a line. */
static int read_piece(struct reader *reader, int64_t tail, bool *ret_more, struct error *error)
{
        _cleanup_json_ json_t *answer = NULL;
        _cleanup_free_ char *path = tail ? xasprintf("/api/vm-logs/%s?tail=%lld", reader->name, (long long)tail)
                                         : xasprintf("/api/vm-logs/%s?after=%lld", reader->name,
                                                     (long long)reader->last);
        int r = api_get(reader->cli, path, &answer, error);
        if (r < 0)
                return r;
        int64_t before = reader->last;
        put(reader, answer);
        reader->last = MAX(before, (int64_t)json_integer_value(json_object_get(answer, "last")));
        if (ret_more)
                *ret_more = reader->last > before;
        return 0;
}

static bool going_on(void)
{
        return !interrupt_seen() && !ferror(stdout);
}

static int read_all(struct reader *reader, int64_t tail, struct error *error)
{
        bool more = true;
        int r = 0;
        if (tail)
                return read_piece(reader, tail, NULL, error);
        while (r == 0 && more && going_on())
                r = read_piece(reader, 0, &more, error);
        return r;
}

static int follow(struct reader *reader, struct error *error)
{
        int64_t trouble = 0;
        while (going_on()) {
                clock_sleep_ms(PAUSE_MS);
                if (!going_on())
                        break;
                int r = read_all(reader, 0, error);
                if (r == -ENOTCONN) {
                        trouble = trouble ? trouble : clock_ms();
                        if (clock_ms() - trouble > PATIENCE_MS)
                                return r;
                } else if (r < 0 && r != -EAGAIN) {
                        return r;
                } else {
                        trouble = 0;
                }
        }
        error_clear(error);
        return CLI_GOOD;
}

static void put_whole(const struct reader *reader)
{
        _cleanup_json_ json_t *answer = json_pack("{s:s, s:s%, s:I}", "hostname", reader->name, "logs",
                                                  buf_str(reader->whole), reader->whole->len, "last",
                                                  (json_int_t)reader->last);
        json_put(answer, stdout);
}

int run_logs(struct cli *cli, _unused_ int argc, char **argv, struct error *error)
{
        _cleanup_buf_ struct buf whole = BUF_NULL;
        struct reader reader = {.cli = cli, .name = argv[0]};
        int64_t tail = 0;
        int r = api_check_name(argv[0], error);
        if (r < 0)
                return r;
        if (cli->opt.tail && parse_int(cli->opt.tail, 1, 10000, &tail) < 0)
                return error_set(error, -EINVAL, "--tail takes a number of lines from 1 to 10000, not %.80s",
                                 cli->opt.tail);
        if (cli->json && !cli->opt.follow)
                reader.whole = &whole;
        if (cli->opt.follow)
                interrupt_catch();
        r = read_all(&reader, tail, error);
        if (r == 0 && reader.whole)
                put_whole(&reader);
        if (!cli->opt.follow || (r < 0 && r != -EAGAIN))
                return r;
        return follow(&reader, error);
}
