/*
 * Counting by key within a window: claims by e-mail, wrong words and failed log-ins by address. The table is of fixed
 * size; when it is full of strangers the entry that was quiet longest makes room, so that a flood of keys costs no
 * memory. Beyond the limit a key is blocked, each time twice as long when a penalty is wanted.
 */
#include <sodium.h>
#include <string.h>

#include "base/clock.h"
#include "web/web.h"

#define SLOTS 8192
#define PROBES 16

struct entry {
        uint64_t key; /* keyed hash of the text; 0: empty */
        int64_t window_start, blocked_until, last;
        int64_t penalty;
        unsigned count;
};

struct limiter {
        unsigned limit;
        int64_t window_ms, penalty_max_ms;
        unsigned char secret[crypto_shorthash_KEYBYTES];
        struct entry entries[SLOTS];
};

struct limiter *limiter_new(unsigned limit, int64_t window_ms, int64_t penalty_max_ms)
{
        struct limiter *limiter = xcalloc(1, sizeof *limiter);
        limiter->limit = limit;
        limiter->window_ms = window_ms;
        limiter->penalty_max_ms = penalty_max_ms;
        crypto_shorthash_keygen(limiter->secret);
        return limiter;
}

struct limiter *limiter_free(struct limiter *limiter)
{
        free(limiter);
        return NULL;
}

static uint64_t hash_of(const struct limiter *limiter, const char *key)
{
        uint64_t hash;
        crypto_shorthash((unsigned char *)&hash, (const unsigned char *)key, strlen(key), limiter->secret);
        return hash ? hash : 1;
}

static struct entry *find(struct limiter *limiter, const char *key, bool make)
{
        uint64_t hash = hash_of(limiter, key);
        struct entry *oldest = NULL;
        for (size_t i = 0; i < PROBES; i++) {
                struct entry *entry = &limiter->entries[(hash + i) % SLOTS];
                if (entry->key == hash)
                        return entry;
                if (!oldest || entry->key == 0 || (oldest->key != 0 && entry->last < oldest->last))
                        oldest = entry;
        }
        if (!make)
                return NULL;
        *oldest = (struct entry){.key = hash, .window_start = clock_ms(), .last = clock_ms()};
        return oldest;
}

int64_t limiter_blocked(struct limiter *limiter, const char *key)
{
        const struct entry *entry = find(limiter, key, false);
        int64_t now = clock_ms();
        return entry && entry->blocked_until > now ? entry->blocked_until - now : 0;
}

void limiter_count(struct limiter *limiter, const char *key)
{
        struct entry *entry = find(limiter, key, true);
        int64_t now = clock_ms();
        if (now - entry->window_start >= limiter->window_ms) {
                /* a quiet window forgets the penalty, too */
                if (now - entry->last >= 2 * limiter->window_ms)
                        entry->penalty = 0;
                entry->window_start = now;
                entry->count = 0;
        }
        entry->last = now;
        if (++entry->count < limiter->limit)
                return;
        entry->penalty = entry->penalty && limiter->penalty_max_ms ? MIN(entry->penalty * 2, limiter->penalty_max_ms)
                                                                   : limiter->window_ms;
        entry->blocked_until = limiter->penalty_max_ms ? now + entry->penalty
                                                       : entry->window_start + limiter->window_ms;
        entry->count = 0;
        entry->window_start = entry->blocked_until;
}

void limiter_forget(struct limiter *limiter, const char *key)
{
        struct entry *entry = find(limiter, key, false);
        if (entry)
                *entry = (struct entry){0};
}
