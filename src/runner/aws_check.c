/*
 * Tries the AWS credentials that are in force: those that were handed over, else what the environment or the machine's
 * role gives. What was found is left in the settings table for the pages; the exit status is for the supervisor.
 */
#include <errno.h>

#include "base/clock.h"
#include "base/log.h"
#include "lab/aws_order.h"
#include "lab/settings.h"
#include "runner/runner.h"

#define TRIES 2
#define TIMEOUT_MS 8000

static const char *state_of(int r)
{
        return r == 0 ? "valid" : r == -ENOKEY ? "none" : "invalid";
}

static json_t *report(struct runner *runner, int *ret_code)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        _cleanup_aws_ struct aws *aws = aws_new(&(struct aws_options){
                .region = runner->aws_region, .credentials = &runner->aws, .tries = TRIES, .timeout_ms = TIMEOUT_MS});
        const struct aws_credentials *found = NULL;
        struct aws_identity who = {0};
        char now[CLOCK_ISO_SIZE], expires[CLOCK_ISO_SIZE];
        int r = aws_credentials_find(aws, &found, &error);
        enum aws_source source = r == 0 ? found->source : AWS_NOWHERE;
        double until = r == 0 ? found->expires : 0;
        if (r == 0)
                r = aws_caller_identity(aws, &who, &error);
        clock_iso(clock_now(), now);
        clock_iso(until, expires);
        json_t *value = json_pack(
                "{s:s?, s:s?, s:s, s:s, s:s?, s:s?, s:s?, s:s?, s:s?, s:b, s:s}", "change", runner->aws_change,
                "holder", runner->aws_holder, "state", state_of(r), "source", aws_source_text(source), "account",
                who.account, "arn", who.arn, "region", runner->aws_region, "expires", until > 0 ? expires : NULL,
                "error", r < 0 ? error_text(&error) : NULL, "kept", r < 0 && runner->aws_others, "checked_at", now);
        aws_identity_clear(&who);
        *ret_code = r;
        return value;
}

int run_aws_check(struct runner *runner)
{
        _cleanup_error_ struct error error = ERROR_NULL;
        int code;
        _cleanup_json_ json_t *value = report(runner, &code);
        _cleanup_free_ char *text = json_text(value), *key = aws_order_setting(runner->site);
        int r = runner_connect(runner, &error);
        if (r == 0)
                r = runner_db(runner, setting_put(key, text), PATIENCE_MS, &error);
        if (r < 0)
                log_error("what was found out about the AWS credentials could not be written: %s", error_text(&error));
        return code < 0 || r < 0 ? 1 : 0;
}
