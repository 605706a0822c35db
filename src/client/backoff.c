/* The agent tries for ever; this says when, and what of it is worth a line in the log. */
#include "client/backoff.h"

#include <sodium.h>
#include <string.h>

int64_t backoff_next(struct backoff *backoff, int64_t retry_after_ms)
{
        unsigned doublings = MIN(backoff->tries, 6u);
        int64_t limit = backoff->most_ms ? backoff->most_ms : BACKOFF_MOST_MS;
        int64_t most = MIN((int64_t)BACKOFF_FIRST_MS << doublings, limit);
        int64_t wait = most - (int64_t)randombytes_uniform((uint32_t)(most / 2) + 1);
        backoff->tries++;
        if (retry_after_ms > wait)
                wait = MIN(retry_after_ms, (int64_t)BACKOFF_OBEYED_MS);
        return wait;
}

bool backoff_is_news(struct backoff *backoff, const char *sentence)
{
        if (backoff->told && strcmp(backoff->told, sentence) == 0)
                return false;
        str_replace(&backoff->told, sentence);
        return true;
}

unsigned backoff_reset(struct backoff *backoff)
{
        unsigned tries = backoff->tries;
        backoff->tries = 0;
        str_replace(&backoff->told, NULL);
        return tries;
}

void backoff_deinit(struct backoff *backoff)
{
        str_replace(&backoff->told, NULL);
}
