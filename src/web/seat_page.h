/* The routes of the seat page, and of the administrator's page of the same desktop. */
#pragma once

#include "lab/desktop.h"
#include "lab/hosting.h"
#include "web/seat_door.h"

struct seat_page_state {
        char cookie_hash[TOKEN_HASH_LENGTH + 1];
        struct desktop_seat seat;
        struct flag_answer done;
        struct hosting hosting;
};
void seat_page_state_free(void *state);

int desktop_page(struct task *t);
int desktop_state(struct task *t);
int desktop_first_frame(struct task *t);
int desktop_consent(struct task *t);
int desktop_left(struct task *t);
int desktop_watch(struct task *t);
int hosting_outcome(struct task *t); /* hosting.c */

/* The tag under which a static file may be kept for ever; null: there is no such file. */
json_t *seat_asset_tag(const char *path);
