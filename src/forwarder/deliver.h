/*
 * Log lines to the allocator, batch after batch in their order. What fails for a while is tried again as long as the
 * invocation has time; whatever is not stored then is told as a failure, so that AWS brings the whole event again.
 */
#pragma once

#include "forwarder/event.h"
#include "forwarder/exchange.h"
#include "forwarder/settings.h"

struct delivery {
        struct exchange exchange;
        const struct settings *settings;
};

void delivery_init(struct delivery *delivery, const struct settings *settings);
void delivery_deinit(struct delivery *delivery);

/* Until `deadline_ms` (by clock_ms()). 0: every line is stored. The error's sentence says what the allocator said. */
int deliver(struct delivery *delivery, const struct log_event *event, const char *invocation, int64_t deadline_ms,
            struct error *error);
