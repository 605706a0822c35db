/*
 * Collections: the participants' files that were brought in from the VMs. A row says what was asked for and what it has
 * come to, and one row a seat how far that one is; the files themselves, and the list of them, lie in the state directory
 * (harvest/store.h). Whoever asks for the same again continues the open one; a destroy closes them all, so that the next
 * workshop's files never mix with the last one's.
 */
#pragma once

#include "lab/answer.h"

/* What is looked for, as it is kept: {"extensions": [...]}, {"directory", ...} or {"everything": true}. */

/* --- by the runner --- */

/* The open collection of this selection, made when there is none; *ret.count: its id. */
struct db_query collection_take(const char *selection, struct count_answer *ret);
/* VMs that may have files: [{"hostname","vm_id","email"}]. */
struct db_query collection_targets(struct vm_list *ret);
/* Its seats: [{"folder","hostname","vm_id","email", "state", ...}] by folder. */
struct db_query collection_seats(int64_t id, struct vm_list *ret);

struct collection_seat {
        const char *folder, *hostname, *email; /* the last may be NULL */
        int64_t vm_id;
        const char *state, *step, *reason; /* the last two may be NULL */
        int64_t files, bytes;              /* kept of it */
        int64_t fresh_files, fresh_bytes;  /* that this operation brought */
};
/* Made or replaced. `done` and `failed` set the times. */
struct db_query collection_seat_put(int64_t id, const struct collection_seat *seat);
/* A list is whole: it is the one that counts from now on. */
struct db_query collection_listed(int64_t id, int64_t list, int64_t files, int64_t bytes);
/* After a destroy of this allocator's machines. */
struct db_query collection_close_all(void);
struct db_query collection_forget(int64_t id);

/* --- for everybody --- */

/* Newest first: [{"id","selection","open","created_at","collected_at","list","files","bytes","vms","failed"}]. */
struct db_query collection_list(int64_t limit, struct vm_list *ret);
struct db_query collection_get(int64_t id, struct json_answer *ret);
/* The open one of a selection. */
struct db_query collection_find(const char *selection, struct json_answer *ret);
/* What a destroy would lose: {"vms": with a participant, "uncollected": of these, never collected since they have it,
 * "stale": of these, neither collected nor looked at for ten minutes, "collected_at": of the last good one of any VM,
 * "oldest_at": of the VM that was collected longest ago, "look": what the last look found, null when it was collected
 * since}. */
struct db_query collection_guard(struct json_answer *ret);
