/* CloudWatch Logs takes a batch whole or not at all: how much fits is counted before. */
#include "aws/aws.h"

size_t aws_log_batch(const struct aws_log_event *events, size_t n)
{
        size_t bytes = 0, i = 0;
        for (; i < MIN(n, (size_t)AWS_LOGS_EVENTS_MAX); i++) {
                bytes += events[i].len + AWS_LOGS_EVENT_OVERHEAD;
                if (i &&
                    (bytes > AWS_LOGS_BYTES_MAX || events[i].timestamp_ms - events[0].timestamp_ms >= AWS_LOGS_SPAN_MS))
                        break;
        }
        return i;
}
