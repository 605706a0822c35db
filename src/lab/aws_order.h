/*
 * AWS credentials on their way: the administrator's form is taken by the web process, which must not keep them, and
 * goes on to the supervisor as one message of a fixed size. The supervisor alone holds them, in memory, and hands them
 * to runners; one runner tries each change and leaves what it found in the settings table, where the pages read it:
 *
 *   {"change", "holder", "state": "valid" | "invalid" | "none", "source", "account", "arn", "region", "expires",
 *    "error", "kept", "checked_at"}
 *
 * `change` names the form that was sent, `holder` the supervisor that got it: another one has lost the credentials. `kept`:
 * these are not good, and those that were set before stay in force.
 */
#pragma once

#include "aws/aws.h"
#include "base/token.h"

struct aws_order {
        int64_t word;                  /* MESSAGE_AWS_SET or MESSAGE_AWS_UNSET */
        char change[TOKEN_LENGTH + 1]; /* random */
        char access_key_id[AWS_KEY_ID_MAX + 1];
        char secret_access_key[AWS_SECRET_MAX + 1];
        char session_token[AWS_TOKEN_MAX + 1]; /* "": none */
};

/* Words to the supervisor, beside those of allocator/handover.h. */
#define MESSAGE_AWS_SET INT64_C(-10)   /* struct aws_order */
#define MESSAGE_AWS_UNSET INT64_C(-11) /* struct aws_order without credentials */
#define MESSAGE_AWS_CHECK INT64_C(-12) /* try what is in force once more; the word alone */

/* The settings' key: each allocator of a database has credentials of its own. Owned by the caller. */
char *aws_order_setting(const char *site);
