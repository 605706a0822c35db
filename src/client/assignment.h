/*
 * What a waiting VM is told: command and PIN of the seat it became. The allocator has checked both; they came from a
 * stranger all the same and end as arguments of a program, so they are checked here again.
 */
#pragma once

#include "base/error.h"

struct assignment {
        int64_t generation;   /* 0: a deployed allocator, which has none */
        char *code;           /* value of --code: [0-9A-Za-z_/-], 10 to 512 characters */
        char *pin;            /* 6 to 10 digits */
        char *email;          /* for nobody but the reader of a test: never logged; may be NULL */
        char fingerprint[65]; /* of command and PIN: tells a repeated answer of a deployed allocator */
};

enum assignment_kind {
        ASSIGNMENT_GOOD,
        ASSIGNMENT_REFUSED, /* well-formed but not to be carried out: `generation` and `fingerprint` are set */
        ASSIGNMENT_GARBAGE, /* no assignment at all: ask again */
};

/* Reads the body of a 200 answer. The sentence (for REFUSED and GARBAGE) holds neither code nor PIN. */
enum assignment_kind assignment_read(const char *body, size_t len, const char *hostname, struct assignment *out,
                                     struct error *error);
void assignment_deinit(struct assignment *assignment);
#define _cleanup_assignment_ _cleanup_(assignment_deinit)

/* The value of --code in a pasted command: "--code=X" or "--code X", one matching pair of quotes stripped, the last one
 * wins. NULL with a sentence when there is none or it is not well-formed. Owned by the caller. */
char *crd_code(const char *command, struct error *error);
bool pin_valid(const char *pin);
