/*
 * The life of a VM and of its seat as ONE table: what each event does to each state. The statements of seat.c, vm.c and
 * report.c carry it out; tests/unit/lab/test_life.c puts a row in every state, plays every event by its statement and
 * compares with this table, and docs/life.md is printed from it. Source: the contract, "The life of a VM and of a
 * seat".
 */
#pragma once

#include "base/buf.h"

/* The machine's word. GONE: there is no row. */
enum machine {
        MACHINE_GONE,
        MACHINE_INITIALIZING,
        MACHINE_RUNNING,
        MACHINE_AVAILABLE,
        MACHINE_ERROR,
        MACHINE_UNKNOWN,
        N_MACHINES,
};

enum seat_state {
        SEAT_FREE,
        SEAT_HELD,
        SEAT_USED, /* released, not yet made fresh */
        N_SEATS,
};

enum event {
        EVENT_LAUNCH,
        EVENT_REPORT_INITIALIZING,
        EVENT_REPORT_RUNNING,
        EVENT_REPORT_AVAILABLE,
        EVENT_REPORT_ERROR,
        EVENT_WORD,
        EVENT_CLAIM,
        EVENT_SILENCE,
        EVENT_MISSING,
        EVENT_RELEASE,
        EVENT_RESET,
        EVENT_DESTROY,
        N_EVENTS,
};

/* What an event does to the machine's word. */
enum machine_effect {
        MACHINE_KEEPS,
        MACHINE_BECOMES,    /* the event's `machine` */
        MACHINE_COMES_BACK, /* unknown becomes what was last reported; else kept */
};

enum seat_effect { SEAT_KEEPS, SEAT_TAKES, SEAT_GIVES_UP, SEAT_FRESH };

struct life_rule {
        const char *name;
        unsigned machines;      /* bits of the machines that it applies to; elsewhere nothing changes */
        unsigned seats;         /* bits of the seats that it applies to */
        unsigned free_machines; /* and, for these machines, to a free seat too */
        enum machine_effect machine_effect;
        enum machine machine;
        enum seat_effect seat_effect;
        const char *sentence; /* for docs */
};

extern const struct life_rule life_rules[N_EVENTS];

struct life_state {
        enum machine machine;
        enum seat_state seat;
        enum machine reported; /* last reported, for MACHINE_COMES_BACK */
};

/* What `event` makes of `before`; equal to `before` where the rule does not apply. */
struct life_state life_after(struct life_state before, enum event event);
const char *machine_name(enum machine machine);
const char *seat_name(enum seat_state seat);

/* docs/life.md: the rules, and the table of every event in every state. */
void life_reference(struct buf *out);
