/*
 * What VMs say of themselves: status, in-use, GPU health, metrics, heartbeats, an open wait. Each is an item of a
 * batch, so that everything that arrives in one turn of the loop is one statement, its rows locked in the order of
 * their names. Every word counts as "seen" and ends a silence; no word changes the seat.
 */
#pragma once

#include "base/token.h"
#include "db/batch.h"
#include "db/db.h"
#include "lab/names.h"

struct report_answer {
        bool found;   /* the VM exists */
        bool allowed; /* and this was its own word, or nobody asked: it is committed */
};

/* Items of the kinds below, made from checked values. */
json_t *report_status(const char *hostname, const char *status);
json_t *report_in_use(const char *hostname, bool in_use);
enum health { HEALTH_UNHEALTHY, HEALTH_HEALTHY, HEALTH_NO_GPU };
json_t *report_health(const char *hostname, enum health health);
/* An open wait or any other sign of life: only "seen". */
json_t *report_seen(const char *hostname);
/* A wait that has stayed open, of report_seen(): it is seen, unless it is a VM that sends heartbeats. What keeps the wait
 * open is our own blank, and a machine that froze or a proxy takes that for long after the VM's last word. */
extern const struct batch_kind wait_kind;
/* `boot_id` may be NULL; `generation` and `uptime` negative when not said. */
json_t *report_heartbeat(const char *hostname, const char *boot_id, int64_t generation, double uptime);
extern const struct batch_kind report_kind;
/* Whose word an item of report_kind is must be said by one of these, else it is refused. With a proof the statement itself
 * looks at the secret: `proof` is the hash of the one that came, or NULL; `demanded`: a VM without a secret may say
 * nothing. Proven: the gate has looked already. Both give `item` back. */
json_t *report_with_proof(json_t *item, const char *proof, bool demanded);
json_t *report_proven(json_t *item);
/* The key in a batch: words of one VM keep their order, and whoever guesses a secret holds nobody up, because words with
 * different proofs share a statement. `proof` may be NULL. */
#define REPORT_KEY_SIZE (HOSTNAME_MAX + TOKEN_HASH_LENGTH + 2)
void report_key(const char *hostname, const char *proof, char key[REPORT_KEY_SIZE]);

/* `metrics`: checked members, merged into what is there (taken over). */
json_t *report_metrics(const char *hostname, json_t *metrics);
extern const struct batch_kind metrics_kind;

/* Checks metrics as they came: known times become ISO 8601 texts, known durations numbers, unknown keys are kept. A new
 * object in *ret. -EINVAL with a sentence for a known key with a nonsense value. */
int metrics_check(const json_t *body, json_t **ret, struct error *error);
