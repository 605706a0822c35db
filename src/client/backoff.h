/*
 * How long to wait before the next try: doubling from 1 s to 60 s, each time a random half of it less, so that a room
 * of VMs does not come back in one instant. The server's Retry-After wins when it asks for more.
 */
#pragma once

#include "base/mem.h"

#define BACKOFF_FIRST_MS 1000
#define BACKOFF_MOST_MS 60000
#define BACKOFF_OBEYED_MS 600000 /* the longest Retry-After that is believed */

#define BACKOFF_NEAR_MS 5000 /* the most for an allocator on this machine, where few wait and nothing is far */

struct backoff {
        int64_t most_ms; /* 0: BACKOFF_MOST_MS */
        unsigned tries;  /* failures in a row */
        char *told;      /* the sentence logged last: the same one is not logged twice */
};

/* Counts a failure. `retry_after_ms`: what the server asked for, or -1. */
int64_t backoff_next(struct backoff *backoff, int64_t retry_after_ms);
/* True when `sentence` is news: the first failure, or another one than before. */
bool backoff_is_news(struct backoff *backoff, const char *sentence);
/* It worked. Returns how many tries had failed before. */
unsigned backoff_reset(struct backoff *backoff);
void backoff_deinit(struct backoff *backoff);
