/*
 * The AWS credentials that an administrator has set. They live in the supervisor's memory and nowhere else: a new
 * supervisor has none, and the page says so. New ones are first tried by a runner; they are in force once it found them
 * good, and forgotten when it did not: those of before stay in force until then.
 */
#pragma once

#include "base/json.h"
#include "lab/aws_order.h"

struct supervisor;

struct keys {
        char holder[TOKEN_LENGTH + 1];   /* of this supervisor's life */
        struct aws_credentials current;  /* in force */
        struct aws_credentials pending;  /* came and wait for a runner */
        struct aws_credentials trying;   /* at the runner at work */
        char change[TOKEN_LENGTH + 1];   /* the newest; "": none yet */
        char checking[TOKEN_LENGTH + 1]; /* what the runner at work tries */
        bool check_again;
};

#define RUNNER_AWS INT64_C(-1) /* in place of an operation: the runner that tries credentials */

void keys_init(struct keys *keys);
void keys_deinit(struct keys *keys);

/* --- the supervisor's side of it --- */
/* Takes an order that came; overwrites it. */
void keys_order(struct supervisor *s, struct aws_order *order);
/* Starts a runner that tries what is there; does nothing while there is nothing to try and the provider needs none. */
void keys_check(struct supervisor *s);
/* Ends the runner that tries: whoever stops does not wait for AWS. */
void keys_stop(struct supervisor *s);
/* A runner was started with what waited. */
void keys_trying(struct supervisor *s);
/* It has ended. */
void keys_checked(struct supervisor *s, int status);
/* The member "aws" of a runner's handover; for the runner that tries them the pending ones. A new reference. */
json_t *keys_json(const struct supervisor *s, bool pending);
