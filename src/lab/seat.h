/*
 * A seat: the e-mail of one person on one VM, and a generation that grows with every claim and release. A claim is ONE
 * statement under two unique indexes; 23505 means that somebody with the same e-mail was faster: it is run again and
 * finds that seat.
 */
#pragma once

#include "base/token.h"
#include "db/batch.h"
#include "db/db.h"
#include "lab/vm.h"

struct seat {
        bool found;
        bool returning; /* it was theirs already */
        bool more;      /* not found, but claimable ones exist that others hold for this moment: ask again */
        char hostname[256];
        char *email; /* owned: seat_deinit */
        char *command;
        char pin[11];
        int64_t generation;
        char status[51]; /* of the machine, as shown */
        bool unhealthy;
        char asker[TOKEN_LENGTH + 1]; /* of claim_item: whose claim this answers */
};

void seat_deinit(struct seat *seat);

/* `email` and `command` as participant_*() gave them, "" for a desktop in the browser; `pin` is used only for a new
 * seat. */
struct db_query seat_claim(const char *email, const char *command, const char *pin, struct seat *ret);
/* The same of many people in one statement: batch_await() with the e-mail as key. NULL when a text is no UTF-8. With
 * `return_hash` (may be NULL), the hash of a new return code, a new seat gets it in the same statement, and one that this
 * e-mail has already is found and left as it is. Claims of one e-mail in one turn of the loop get one answer, which names
 * the `asker` whose claim was made. */
extern const struct batch_kind claim_kind;
json_t *claim_item(const char *email, const char *command, const char *pin, const char *asker, const char *return_hash);

/* What a waiting VM looks at: found says that the VM exists and that its secret is still the one whose hash is given
 * (NULL: it has none), `email` that its seat is held. */
struct db_query seat_assignment(const char *hostname, const char *token_hash, struct seat *ret);

/* Seats that were given in or after transaction `since` (NULL: ever): {hostname, generation}, and in each row, of which
 * there is at least one, the `horizon` to ask for the next time. */
struct db_query seats_given(const char *since, struct vm_list *ret);

enum release_outcome { RELEASE_DONE, RELEASE_REPEATED, RELEASE_NO_SEAT, RELEASE_UNKNOWN_VM };

struct release_answer {
        enum release_outcome outcome;
};

/* Takes the seat away and writes it down, in one statement. A VM in error that nobody holds is made fresh the same way. With the `request_key` (may be NULL) of an earlier release
 * nothing happens: REPEATED. */
struct db_query seat_release(const char *hostname, const char *who, const char *request_key,
                             struct release_answer *ret);
