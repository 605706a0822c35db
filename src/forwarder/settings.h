/*
 * A function is set up by its environment variables; these are checked once, before the first event.
 */
#pragma once

#include "base/error.h"

struct settings {
        char *endpoint; /* http(s)://HOST[:PORT]/api/vm-logs */
        char *token;    /* NULL: none */
        char *ca_file;  /* NULL: libcurl's own */
        char *runtime;  /* HOST:PORT of the Lambda runtime API */
};

/* The function's environment; `root` is put before the places where CA certificates are looked for ("" in a program).
 * -EINVAL with the sentence that names the variable. *ret is to be cleared in any case. */
int settings_read(const char *root, struct settings *ret, struct error *error);
/* API_ENDPOINT as it is posted to; owned by the caller; NULL with the sentence. Without a scheme it is https with a token,
 * http without one; without a path it is /api/vm-logs. */
char *settings_endpoint(const char *text, bool token, struct error *error);
void settings_clear(struct settings *settings);
#define _cleanup_settings_ _cleanup_(settings_clear)
