/*
 * How a browser gets into a seat and proves later that it may: the cookie `lablink_seat`, of which the database holds the
 * hash, and the return code for another browser. Which cookie counts is said in lab/desktop.h.
 */
#pragma once

#include "base/token.h"
#include "web/web.h"

#define RETURN_CODE_SIZE 10 /* "K7QM-3PWX" */

void return_code_make(char out[RETURN_CODE_SIZE]);
/* As a person types it; false: it is none. */
bool return_code_read(const char *typed, char out[RETURN_CODE_SIZE]);

/* The hash of the cookie that this request carries; false: it carries none. */
bool seat_cookie_hash(struct task *t, char out[TOKEN_HASH_LENGTH + 1]);
/* Tells the browser to keep it; NULL: to forget it, and the code too. */
void seat_cookie_set(struct task *t, const char *cookie);
/* The return code, for /desktop to show again in this browser; sent nowhere else, and read by no script. */
void seat_code_set(struct task *t, const char *code);
bool seat_code_kept(struct task *t, char out[RETURN_CODE_SIZE]);
