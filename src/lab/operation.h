/*
 * An operation: a row (kind, arguments, state, progress, result, epoch) and a runner that does its work. The row is
 * made by whoever asks; the runner takes it, which raises the epoch, and every later write names that epoch, so that a
 * runner that lost its row writes nothing any more. Lines are numbered under the row's lock.
 *
 *   queued -> running -> done | failed | cancelled          written by the runner
 *   queued | running -> interrupted                         written by the next look, when its runner is gone
 *   queued -> cancelled                                     cancelled before a runner took it
 */
#pragma once

#include "db/db.h"
#include "lab/answer.h"

#define OPERATION_CHANNEL "lablink_operations"
/* Key of the advisory lock that the one mutating runner of a database holds ("lablink" and 1). */
#define OPERATION_LOCK_KEY INT64_C(0x6c61626c696e6b01)
/* And of the one that works on collected files (2 is the one of migrations, db/migrate.c). */
#define OPERATION_FILES_LOCK_KEY INT64_C(0x6c61626c696e6b03)

/* What an operation works on; two that share one of these never run at the same time. */
enum operation_lanes { OPERATION_MACHINES = 1, OPERATION_FILES = 2 };
unsigned operation_lanes(const char *kind);

enum operation_new_outcome { OPERATION_STARTED, OPERATION_REPEATED, OPERATION_BUSY };

struct operation_new {
        enum operation_new_outcome outcome;
        json_t *operation; /* the new one, the one of the same key, or the one that runs; owned by the receiver's owner
                            */
};

/* Columns of an operation as the API gives them; see docs/api.md. */
struct db_query operation_create(const char *kind, json_t *arguments_borrowed, char **arguments_text,
                                 const char *request_key, const char *requested_by, struct operation_new *ret);
/* The one that was started with this key, as OPERATION_REPEATED; ret->operation stays NULL when there is none. */
struct db_query operation_of_key(const char *request_key, struct operation_new *ret);
struct db_query operation_get(int64_t id, struct json_answer *ret);
struct db_query operation_list(int64_t limit, struct vm_list *ret);
/* The mutating one that is queued or runs; *ret.value stays NULL when there is none. */
struct db_query operation_current(struct json_answer *ret);
/* The one that works on files (collecting, or a destroy), the same way. */
struct db_query operation_collecting(struct json_answer *ret);
/* Lines after number `after`: [{"line","at","text"}]. */
struct db_query operation_lines(int64_t id, int64_t after, int64_t limit, struct vm_list *ret);
/* Asks for cancelling; the row afterwards, or nothing when there is no such operation. */
struct db_query operation_cancel(int64_t id, struct json_answer *ret);

/* --- by the runner --- */

struct operation_taken {
        bool taken;
        int64_t epoch;
        char *kind; /* owned: operation_taken_clear */
        json_t *arguments;
        char *requested_by;
};
void operation_taken_clear(struct operation_taken *taken);
struct db_query operation_take(int64_t id, struct operation_taken *ret);
/* *ret.yes: still ours. `lines`: JSON array text of strings. */
struct db_query operation_append(int64_t id, int64_t epoch, const char *lines, struct flag_answer *ret);
struct db_query operation_progress(int64_t id, int64_t epoch, int64_t done, int64_t total, struct flag_answer *ret);
/* *ret.yes: cancelling was asked for, or the operation is no longer ours. */
struct db_query operation_asked_to_stop(int64_t id, int64_t epoch, struct flag_answer *ret);
struct db_query operation_end(int64_t id, int64_t epoch, const char *state, const char *error_text, const char *result,
                              struct flag_answer *ret);

/* Whose runner is gone (the caller holds the lock of that lane): running or queued longer than `age_ms` -> interrupted.
 * OPERATION_FILES means those that work on files alone. */
struct db_query operation_interrupt(enum operation_lanes lane, const char *hint, int64_t age_ms, struct vm_list *ret);
/* Ended operations with their lines, and the audit, as far as they are older than `seconds`: at most `limit` of each go. */
struct db_query history_expire(double seconds, int64_t limit, struct count_answer *ret);
/* Which of `names` (JSON array text of VMs) it is too early to mend again: {"wait": [...]}. After an attempt that failed or
 * was cancelled it is for 5 s, and four times as long after each further one in a row, up to 15 minutes. One that was
 * interrupted is taken up at once, but once only. */
struct db_query reconcile_waits(const char *names, struct json_answer *ret);
/* Queued ones that no runner took yet, older than `age_ms`. */
struct db_query operation_waiting(int64_t age_ms, struct vm_list *ret);
