/*
 * What /api/vm-logs takes in one request is limited, what CloudWatch Logs sends in one event is not by the same measure:
 * a large event is cut into batches. The cuts and the names of the batches follow from the event alone, so that a
 * repeated event gives the same batches under the same names, and the allocator stores each once.
 */
#pragma once

#include "forwarder/event.h"

/* The allocator takes 10,000 lines and 16 MB, and keeps 16 KB of a line; a proxy before it often passes only 1 MB. A
 * change of these numbers cuts an event that is repeated in that moment otherwise: its lines may be stored twice. */
#define BATCH_LINES 5000
#define BATCH_BYTES 900000
#define BATCH_LINE_BYTES 16000
#define BATCH_ID_LENGTH 64 /* hexadecimal */

/* The end (exclusive) of the batch that begins at line `first`: at least one line, while there is one. */
size_t batch_end(const struct log_event *event, size_t first);

/* The body of one request, appended to `out`. Its batch_id is a hash of the events' ids; of events without ids, of the
 * invocation's own id, which stays the same when AWS repeats it, and the place of the lines. */
void batch_body(const struct log_event *event, size_t first, size_t end, const char *invocation, struct buf *out);
