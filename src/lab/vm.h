/*
 * Client VMs as rows: looking at them, making one known, forgetting all. The life of a VM is told in lab/life.h, the
 * claim and release of its seat in lab/seat.h, what it reports in lab/report.h.
 */
#pragma once

#include "db/batch.h"
#include "lab/answer.h"

/* A heartbeat older than this is a silence (contract, "The life of a VM"). */
#define SILENCE_SECONDS "90"

struct vm_brief {
        bool found;
        bool has_token;
        char status[51]; /* as shown */
        char token_hash[65];
        bool has_logs;
        bool held;
};

/* One VM by name: does it exist, what is its status and its secret's hash. */
struct db_query vm_brief(const char *hostname, struct vm_brief *ret);
/* The same for many requests in one statement: batch_await() with a key of the request's own. NULL: no UTF-8. */
extern const struct batch_kind brief_kind;
json_t *brief_item(const char *hostname);

/* [{"hostname","status"}] by name, as the specification's GET /api/vm-status. */
struct db_query vm_statuses(struct vm_list *ret);
/* Whole rows with our columns, for administrators; `hostname` NULL: all. */
struct db_query vm_rows(const char *hostname, struct vm_list *ret);
/* The same columns of at most `limit` rows behind number `after`. */
struct db_query vm_page(int64_t after, int64_t limit, struct vm_list *ret);
/* Rows that changed since the transaction id `horizon`, and names that went, {"gone": true, "hostname"}. */
struct db_query vm_changes(const char *horizon, struct vm_list *ret);

/* The horizon before which everything is visible: text of an xid8. */
struct db_query vm_horizon(struct text_answer *ret);

/* Seats that could be claimed at this moment, into a struct count_answer. A batch, because a whole class asks it over and
 * over: everybody who asked before it began shares one count. The item is empty. */
extern const struct batch_kind claimable_kind;

/* {"total","claimable","assigned","initializing","error","unknown"} */
struct db_query vm_counts(struct json_answer *ret);

/* A word from an unknown machine when client_auth is `open`: makes its row unless its name is retired. */
struct db_query vm_introduce(const char *hostname, struct flag_answer *ret);

/* VMs that send heartbeats and have been silent too long become `unknown`. */
struct db_query vm_silence(void);

/* For the runner: rows as [{"hostname","status","needs_reset","launched","held","here","seen","timed"}]; not `here`: its machine
 * is another allocator's. */
struct db_query vm_inventory(struct vm_list *ret);
/* Launch names a VM: its row, with its secret's hash, before the machine boots. */
struct db_query vm_name(const char *hostname, const char *token_hash, struct flag_answer *ret);
/* Times of its making, real seconds since 1970. */
struct db_query vm_made(const char *hostname, double started, double ended);
/* The machine could not be made: the row goes again (its name is not retired), unless somebody has the seat or, with a
 * hash, the VM has another secret: then it is not the launch's. */
struct db_query vm_unname(const char *hostname, const char *token_hash);
/* After the machines are gone: rows go, names are remembered. `hostname` NULL: all but those of other allocators. */
struct db_query vm_retire(const char *hostname, struct vm_list *ret);
/* Its provider has it no more, or not running. */
struct db_query vm_missing(const char *hostname);
/* A released VM gets a new secret before it is made fresh, and is free again once it is. */
struct db_query vm_new_token(const char *hostname, const char *token_hash);
struct db_query vm_reset_done(const char *hostname);
