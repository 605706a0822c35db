/*
 * lablink logs: a VM's log as the allocator has it. Lines are numbered, so following is asking again for what comes
 * after the last one.
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

/* Prints what an answer brings and moves *last behind it. */
static void put(struct cli *cli, const json_t *answer, int64_t *last)
{
        const char *text = str_or(json_get_string(answer, "logs"), "");
        const json_t *number = json_object_get(answer, "last");
        if (cli->json) {
                if (*text || !cli->opt.follow)
                        json_put(answer, stdout);
        } else if (*text) {
                term_put(stdout, text);
                if (!str_ends(text, "\n"))
                        putchar('\n');
        }
        if (json_is_integer(number))
                *last = MAX(*last, json_integer_value(number));
        fflush(stdout);
}

/* A VM that is installing its log agent has no line yet (503 in the deployed wire): that is no failure. */
static int read_once(struct cli *cli, const char *path, int64_t *last, struct error *error)
{
        _cleanup_json_ json_t *answer = NULL;
        int r = api_get(cli, path, &answer, error);
        if (r == 0)
                put(cli, answer, last);
        return r;
}

static bool going_on(void)
{
        return !interrupt_seen() && !ferror(stdout);
}

static int follow(struct cli *cli, const char *name, int64_t last, struct error *error)
{
        int64_t trouble = 0;
        while (going_on()) {
                clock_sleep_ms(PAUSE_MS);
                if (!going_on())
                        break;
                _cleanup_free_ char *path = xasprintf("/api/vm-logs/%s?after=%lld", name, (long long)last);
                int r = read_once(cli, path, &last, error);
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

int run_logs(struct cli *cli, _unused_ int argc, char **argv, struct error *error)
{
        int64_t tail = 0, last = 0;
        int r = api_check_name(argv[0], error);
        if (r < 0)
                return r;
        if (cli->opt.tail && parse_int(cli->opt.tail, 1, 1000000, &tail) < 0)
                return error_set(error, -EINVAL, "--tail takes a number of lines, 1 or more, not %.80s", cli->opt.tail);
        _cleanup_free_ char *path = tail ? xasprintf("/api/vm-logs/%s?tail=%lld", argv[0], (long long)tail)
                                         : xasprintf("/api/vm-logs/%s?after=0", argv[0]);
        if (cli->opt.follow)
                interrupt_catch();
        r = read_once(cli, path, &last, error);
        if (!cli->opt.follow || (r < 0 && r != -EAGAIN))
                return r;
        return follow(cli, argv[0], last, error);
}
