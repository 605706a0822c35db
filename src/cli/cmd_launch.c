/* lablink launch, destroy and repair: an operation is asked for and, unless --detach, watched. */
#include <errno.h>
#include <stdio.h>

#include "base/text.h"
#include "cli/api.h"
#include "cli/commands.h"
#include "cli/confirm.h"
#include "cli/follow.h"

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

static int ask_destroy(struct cli *cli, struct error *error)
{
        _cleanup_json_ json_t *lab = NULL;
        int r = confirm_possible(cli, "destroy", error);
        if (r != 0)
                return MIN(r, 0);
        r = api_get(cli, "/admin", &lab, error);
        if (r < 0)
                return r;
        const json_t *counts = json_object_get(lab, "counts");
        long long total = json_integer_value(json_object_get(counts, "total"));
        long long seats = json_integer_value(json_object_get(counts, "assigned"));
        return confirm(error,
                       "This ends %lld VM%s and gives up %lld seat%s; files that were not collected are lost.\n"
                       "Type yes to go on: ",
                       total, total == 1 ? "" : "s", seats, seats == 1 ? "" : "s");
}

int run_destroy(struct cli *cli, _unused_ int argc, _unused_ char **argv, struct error *error)
{
        _cleanup_json_ json_t *body = json_object();
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
