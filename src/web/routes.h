/* States of the routes: what a handler must remember between its steps. Zeroed at start, released when the request ends. */
#pragma once

#include "base/token.h"
#include "desktop/hub.h"
#include "lab/desktop.h"
#include "lab/logs.h"
#include "lab/operation.h"
#include "lab/report.h"
#include "lab/seat.h"
#include "lab/vm.h"
#include "web/seat_door.h"
#include "web/web.h"

struct claim_state {
        char *email, *command; /* as taken */
        char *typed_email;     /* as typed, for the form that is shown again */
        char pin[11];
        char *message;
        const char *message_kind;
        int tries;
        struct seat seat;
        struct count_answer count;
        /* a desktop in the browser: who sits in the seat already, and how this browser gets in */
        struct desktop_seat holder, entered;
        char cookie[TOKEN_LENGTH + 1], cookie_hash[TOKEN_HASH_LENGTH + 1], code[RETURN_CODE_SIZE];
        char asker[TOKEN_LENGTH + 1];
        bool proven, code_asked, crd;
};

/* A VM's seat was given with this generation: when it waits for a newer one than it has, it is woken. */
void startup_given(struct web *web, const char *hostname, int64_t generation);

struct startup_state {
        char hostname[256];
        int64_t generation; /* carried out by the asker; -1: it did not say */
        bool replaced, waited;
        int64_t next_blank_ms;
        struct web *web;
        struct watch watch;
        struct report_answer seen;
        struct seat seat;
};

struct report_state {
        struct report_answer answer;
        struct flag_answer introduced;
        const char *hostname; /* borrowed from the body or path */
        json_t *item;         /* as sent; for a second sending after an introduction */
        const char *message;
        struct vm_brief brief;
        struct vm_list list;
};

struct logs_state {
        char hostname[256];
        struct log_answer answer;
        struct flag_answer introduced;
        json_t *item;
        struct vm_brief brief;
        int64_t tail, after;
        bool page, begun;
        struct log_text text;
        struct buf escaped;
};

struct admin_state {
        struct json_answer counts, operation, provider;
        struct vm_list list;
        struct release_answer released;
        bool asked_again;
        const char *template_name;
        unsigned status;
        struct json_answer files;
        char *hostname;
        struct json_answer aws;
        char aws_change[TOKEN_LENGTH + 1];
        bool aws_set;
        int64_t aws_deadline_ms;
        const char *aws_message;
        char *aws_problem;
};

struct operation_state {
        int64_t id;
        struct json_answer operation;
        struct vm_list list;
};

enum follow_form { FOLLOW_EVENTS, FOLLOW_PAGE };

struct follow_state {
        int64_t id, after;
        enum follow_form form;
        bool last_round, waited;
        bool ansi; /* lines of the stream keep their colours */
        char last_state[16];
        int64_t last_done;
        struct watch watch;
        struct json_answer operation;
        struct vm_list lines;
        struct operation_new made;
        const char *kind;
        json_t *arguments;
        char *arguments_text;
        int tries;
        struct json_answer counts, guard, provider;
        struct vm_list newest;
        struct count_answer collection;
};

struct events_state {
        struct watch watch;
        uint64_t position;
        int64_t last_id; /* of the rows given at first */
        bool counted;
        struct vm_list list;
        struct json_answer counts;
        struct web *web;
};

struct ready_state {
        struct json_answer provider;
        struct count_answer count;
};

/* The administrator's first page, under another status than 200 when it tells of a failure. */
int admin_overview(struct task *t, unsigned status);

/* --- repair.c: what a provider can be asked for --- */
#define REPAIR_ACTIONS 3
extern const char *const repair_actions[REPAIR_ACTIONS];
/* The repairs that either sentence names (`lablink repair ...`), for the template repair; NULL: none. */
json_t *repair_model(const char *first, const char *second);

/* --- aws.c: what pages say about AWS credentials --- */
json_t *aws_model(struct web *web, const json_t *value); /* `value`: of the settings table, or NULL */
void aws_add_words(json_t *model);
struct desktop_state {
        char name[256]; /* of the VM that an administrator asks for */
        struct hub_visit visit;
        struct desktop_seat seat;
        struct flag_answer flag;
        char ticket[44], link[96];
};

void claim_state_free(void *state);
void startup_state_free(void *state);
void report_state_free(void *state);
void logs_state_free(void *state);
void admin_state_free(void *state);
void operation_state_free(void *state);
void follow_state_free(void *state);
void events_state_free(void *state);
void ready_state_free(void *state);
void desktop_state_free(void *state);
bool desktop_is_here(const struct web *web,
                     const struct desktop_seat *seat); /* its agent is connected to this allocator */
