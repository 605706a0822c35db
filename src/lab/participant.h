/*
 * What a participant hands in: an e-mail address and the command that Chrome Remote Desktop shows. Both come from a
 * stranger; only what CONTRACT allows of them is kept. Source: the contract's section "Participants".
 */
#pragma once

#include "base/error.h"

#define EMAIL_MAX 254
#define CRD_CODE_MIN 10
#define CRD_CODE_MAX 512

/* Trimmed, ASCII letters lower-cased, one '@' with something on both sides, no blanks or control characters, at most
 * 254 bytes of valid UTF-8. Owned by the caller. -EINVAL with a sentence for the participant. */
int participant_email(const char *text, char **ret, struct error *error);

/* The value of the last --code=X or --code X (one pair of quotes stripped, alphabet [0-9A-Za-z_/-], 10..512
 * characters), and the command rebuilt from it. Owned by the caller. -EINVAL with a sentence for the participant. */
int participant_command(const char *text, char **ret, struct error *error);

/* A log line without what must not be kept: values after --code, in place. */
void mask_codes(char *line);
