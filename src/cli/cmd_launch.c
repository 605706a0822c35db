/* lablink launch, destroy and repair: an operation is asked for and, unless --detach, watched. */
#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/text.h"
#include "cli/api.h"
#include "cli/commands.h"
#include "cli/confirm.h"
#include "cli/follow.h"
#include "cli/term.h"

#define LOOK_MS 60000

int run_launch(struct cli *cli, _unused_ int argc, char **argv, struct error *error)
{
        int64_t n;
        if (parse_int(argv[0], 1, 1000000, &n) < 0)
                return error_set(error, -EINVAL, "launch takes the number of VMs to add, 1 or more, not %.80s",
                                 argv[0]);
        _cleanup_json_ json_t *body = json_pack("{s:I}", "num_vms", (json_int_t)n);
        _cleanup_json_ json_t *answer = NULL;
        int r = api_post(cli, "/api/launch", body, &answer, error);
        return r < 0 ? r : follow_answer(cli, answer, error);
}

/* Counts what is new, so that the question can say it. Best effort: a lab that cannot look can be destroyed all the same. */
static void look_what_is_new(struct cli *cli)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_json_ json_t *body = json_pack("{s:b}", "look", 1), *answer = NULL;
        if (api_post(cli, "/api/collections", body, &answer, &error) < 0)
                return;
        const json_t *operation = json_object_get(answer, "operation");
        _cleanup_free_ char *path = xstrdup(json_get_string(operation, "url"));
        for (int64_t end = clock_ms() + LOOK_MS; path && clock_ms() < end; clock_sleep_ms(100)) {
                _cleanup_json_ json_t *now = NULL;
                if (api_get(cli, path, &now, &error) < 0)
                        return;
                const char *state = json_get_string(json_object_get(now, "operation"), "state");
                if (!str_eq(state, "queued") && !str_eq(state, "running"))
                        return;
        }
}

static char *files_sentence(const json_t *files)
{
        const json_t *look = json_object_get(files, "look");
        const char *at = json_get_string(files, "collected_at");
        long long uncollected = json_integer_value(json_object_get(files, "uncollected"));
        _cleanup_buf_ struct buf out = BUF_NULL;
        buf_adds(&out, at ? "Files were last collected " : "No files were collected from these VMs");
        if (at)
                term_ago(at, &out);
        if (json_is_object(look))
                buf_addf(&out, "; %lld file%s, %lld bytes, %s new since",
                         (long long)json_integer_value(json_object_get(look, "new_files")),
                         json_integer_value(json_object_get(look, "new_files")) == 1 ? "" : "s",
                         (long long)json_integer_value(json_object_get(look, "new_bytes")),
                         json_integer_value(json_object_get(look, "new_files")) == 1 ? "is" : "are");
        if (uncollected)
                buf_addf(&out, "; %lld participants' VMs were never collected", uncollected);
        buf_adds(&out, ". `lablink destroy --collect` collects first.");
        return buf_steal(&out);
}

static int ask_destroy(struct cli *cli, struct error *error)
{
        _cleanup_json_ json_t *lab = NULL;
        int r = confirm_possible(cli, "destroy", error);
        if (r != 0)
                return MIN(r, 0);
        if (!cli->opt.collect)
                look_what_is_new(cli);
        r = api_get(cli, "/admin", &lab, error);
        if (r < 0)
                return r;
        _cleanup_free_ char *files = files_sentence(json_object_get(lab, "files"));
        const json_t *counts = json_object_get(lab, "counts");
        long long total = json_integer_value(json_object_get(counts, "total"));
        long long seats = json_integer_value(json_object_get(counts, "assigned"));
        return confirm(error,
                       "This ends %lld VM%s and gives up %lld seat%s; files that were not collected are lost.\n"
                       "%s\nType yes to go on: ",
                       total, total == 1 ? "" : "s", seats, seats == 1 ? "" : "s", files);
}

int run_destroy(struct cli *cli, _unused_ int argc, _unused_ char **argv, struct error *error)
{
        _cleanup_json_ json_t *body = json_pack("{s:b, s:b}", "yes", 1, "collect", cli->opt.collect);
        _cleanup_json_ json_t *answer = NULL;
        int r = ask_destroy(cli, error);
        if (r == 0)
                r = api_post(cli, "/destroy", body, &answer, error);
        return r < 0 ? r : follow_answer(cli, answer, error);
}

int run_repair(struct cli *cli, _unused_ int argc, char **argv, struct error *error)
{
        _cleanup_json_ json_t *body = json_pack("{s:s}", "action", argv[0]);
        _cleanup_json_ json_t *answer = NULL;
        int r = body ? api_post(cli, "/api/admin/repair", body, &answer, error)
                     : error_set(error, -EINVAL, "repair takes refresh, retry or unlock");
        return r < 0 ? r : follow_answer(cli, answer, error);
}
