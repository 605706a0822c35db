/*
 * What to do next, for everything that goes wrong between the command line and an allocator. Sentences say what is so;
 * hints say what to type.
 */
#pragma once

#include "cli/cli.h"

/* connect() to the socket failed with `number`. Returns -ENOTCONN. */
int hint_no_socket(struct cli *cli, const char *socket, int number, struct error *error);
void hint_no_url(struct cli *cli, bool certificate);
/* The allocator's answer was a refusal; `answer` may be NULL. */
void hint_refused(struct cli *cli, long status, const json_t *answer);
