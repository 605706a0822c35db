/* What needs no database: can the provider work here, and a way into a VM. */
#include <errno.h>
#include <stdio.h>

#include "base/json.h"
#include "runner/runner.h"

int run_check(struct runner *runner)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_free_ char *code = NULL, *hint = NULL;
        _cleanup_strv_ char **detail = NULL;
        int r = runner->ops->open(runner->config, &runner->provider, &error);
        if (r < 0) {
                fprintf(stderr, "lablink-runner: %s\n", error_text(&error));
                return 1;
        }
        r = runner->ops->check(runner->provider, &code, &hint, &detail);
        json_t *lines = json_array();
        for (size_t i = 0; detail && detail[i]; i++)
                json_array_append_new(lines, json_string(detail[i]));
        _cleanup_json_ json_t *answer = json_pack("{s:s, s:s, s:s?, s:o}", "name", runner->ops->name, "code", code,
                                                  "hint", hint, "detail", lines);
        _cleanup_free_ char *text = json_text(answer);
        puts(text);
        return r < 0 ? 1 : 0;
}

int run_exec(struct runner *runner, const char *hostname, bool as_root, const char *const *argv)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        int status = 0;
        int r = runner->ops->open(runner->config, &runner->provider, &error);
        if (r == 0)
                r = runner->ops->exec(runner->provider, hostname, as_root, argv, &status, &error);
        if (r < 0) {
                fprintf(stderr, "lablink: %s\n", error_text(&error));
                return r == -ENOENT ? 127 : 126;
        }
        return status;
}
