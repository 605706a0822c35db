/* What boot scripts say: one request, told by the exit status whether it has arrived. Repeating it is the script's job.
 */
#pragma once

#include "base/json.h"
#include "client/settings.h"

/* POSTs `body` (reference stolen) to `path`. 0; -EIO with the reason when it did not arrive. */
int report_send(const struct settings *settings, const char *path, json_t *body, struct error *error);

/* "KEY=VALUE" words as a JSON object: numbers as numbers, everything else as text. NULL with the reason. */
json_t *report_metrics_body(const char *const *words, struct error *error);
