/*
 * Who may open which desktop. A browser sits in a seat by a cookie of which only the hash is stored, with the VM and its
 * `tenancy`: the number that grows whenever the seat changes hands (vms.generation grows with a new command of the same
 * person too). A row of an older tenancy counts as none, so release, destroy and a claim by somebody else end every
 * cookie, return code and consent in the very statement that takes the seat away.
 *
 * All hashes are token_hash() of what the browser holds.
 */
#pragma once

#include "lab/answer.h"

#define DESKTOP_COOKIES_MAX 16 /* of one seat; the oldest go first */
#define DESKTOP_TICKET_SECONDS "30"

struct desktop_seat {
        bool found;
        char hostname[256];
        char email[321]; /* "": nobody holds the seat */
        char status[51]; /* of the machine, as shown */
        int64_t tenancy, generation;
        bool assist; /* the participant lets an administrator use mouse and keyboard at this moment */
        bool cookie; /* desktop_holder: the cookie asked with sits in this seat */
        bool has_code;
        char return_hash[65]; /* of the return code; "": none */
        bool linked;          /* the VM's agent is connected to an allocator */
        char link_url[256];   /* to that allocator, for browsers; "": this lab's own URL */
        char link_site[25];   /* its site (lab/site.h); "": none is known */
        bool watched, helped; /* administrators are connected to it there */
        char secret_hash[65]; /* of the VM's secret; "": it has none */
        /* Hashes; desktop_guard: of all cookies of this tenancy; desktop_ticket_take: of the one that asked for the ticket.
         * Owned: desktop_seat_deinit. */
        json_t *cookies;
};

void desktop_seat_deinit(struct desktop_seat *seat);

/* A browser enters the seat that `email` holds on `hostname`: its cookie counts from now on. `code_hash` (may be NULL)
 * replaces the return code. With `alone` every other cookie of the seat ends, which is announced. Not found: the seat is
 * not theirs any more. */
struct db_query desktop_enter(const char *hostname, const char *email, const char *cookie_hash, const char *code_hash,
                              bool alone, struct desktop_seat *ret);
/* The seat that this person holds, before a claim: found, return_hash, and whether the cookie (may be NULL) sits in it. */
struct db_query desktop_holder(const char *email, const char *cookie_hash, struct desktop_seat *ret);
/* The seat of a cookie. */
struct db_query desktop_seat(const char *cookie_hash, struct desktop_seat *ret);
/* The seat of a VM, held or not, with the hashes of its cookies: what a relay looks at when the VM was announced. */
struct db_query desktop_guard(const char *hostname, struct desktop_seat *ret);
/* This browser leaves; the seat stays its person's. */
struct db_query desktop_leave(const char *cookie_hash, struct flag_answer *ret);
/* The participant lets an administrator help for `seconds`; 0: not any more. */
struct db_query desktop_assist(const char *cookie_hash, int64_t seconds, struct flag_answer *ret);

/* One use, for half a minute: the right of `cookie_hash`, for as long as that lasts, at another allocator. */
struct db_query desktop_ticket_add(const char *cookie_hash, const char *ticket_hash, struct flag_answer *ret);
struct db_query desktop_ticket_take(const char *ticket_hash, struct desktop_seat *ret);

/* Somebody watches or helps: who did it to which VM stands in the audit. */
struct db_query desktop_audit(const char *who, const char *action, const char *hostname);

/* --- where a VM's agent is connected -------------------------------------------------------------------------------- */

/* `link` is the name of this connection; `url` as desktop_seat.link_url. *ret: the VM exists. */
struct db_query agent_link_set(const char *hostname, const char *link, const char *url, struct flag_answer *ret);
/* How many administrators watch and help through this connection. */
struct db_query agent_link_visitors(const char *hostname, const char *link, unsigned watchers, unsigned helpers);
/* The connection ended; does nothing when a newer one was written meanwhile. */
struct db_query agent_link_clear(const char *hostname, const char *link);
/* The web process of this name (with which its links begin) has just started: what others of this site left goes. */
struct db_query agent_links_forget(const char *process);
