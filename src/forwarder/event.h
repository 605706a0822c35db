/*
 * What CloudWatch Logs sends to a subscribed function: {"awslogs": {"data": base64(gzip(JSON))}}, where the JSON names
 * one log stream and some of its events. All of it may be nonsense: sizes are limited at each layer.
 */
#pragma once

#include "base/json.h"

#define EVENT_INVOCATION_MAX (8 << 20) /* bytes of one invocation; Lambda's own limit is 6 MB */
#define EVENT_UNPACKED_MAX (32 << 20)  /* bytes of the JSON inside */
#define EVENT_VALUES_MAX 500000        /* values in it, about 4 an event */

struct log_event {
        bool control;     /* a probe by CloudWatch Logs: there is nothing to post */
        json_t *group;    /* text; of the stream, the VM's name */
        json_t *stream;   /* text */
        json_t *messages; /* array of texts, as they came */
        json_t *ids;      /* array of texts, one a message; NULL when one has none */
};

/* 0; -EINVAL with the sentence. *ret is to be cleared in any case. */
int log_event_read(const char *data, size_t len, struct log_event *ret, struct error *error);
void log_event_clear(struct log_event *event);
#define _cleanup_log_event_ _cleanup_(log_event_clear)
