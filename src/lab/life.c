/* The table itself, and its printing. */
#include "lab/life.h"

#define BIT(x) (1U << (x))
#define ALIVE \
        (BIT(MACHINE_INITIALIZING) | BIT(MACHINE_RUNNING) | BIT(MACHINE_AVAILABLE) | BIT(MACHINE_ERROR) | \
         BIT(MACHINE_UNKNOWN))
#define READY (BIT(MACHINE_RUNNING) | BIT(MACHINE_AVAILABLE))
#define ANY_SEAT (BIT(SEAT_FREE) | BIT(SEAT_HELD) | BIT(SEAT_USED))

const struct life_rule life_rules[N_EVENTS] = {
        [EVENT_LAUNCH] =
                {"launch names it", BIT(MACHINE_GONE), ANY_SEAT, 0, MACHINE_BECOMES, MACHINE_INITIALIZING, SEAT_FRESH,
                 "The row exists before the machine boots, with its token's hash; until it reports it is shown as "
                 "\"created, silent since ...\". A retired name may be used again."},
        [EVENT_REPORT_INITIALIZING] = {"reports initializing", ALIVE, ANY_SEAT, 0, MACHINE_BECOMES,
                                       MACHINE_INITIALIZING, SEAT_KEEPS,
                                       "The status becomes that; the seat never changes by a report."},
        [EVENT_REPORT_RUNNING] = {"reports running", ALIVE, ANY_SEAT, 0, MACHINE_BECOMES, MACHINE_RUNNING, SEAT_KEEPS,
                                  "The status becomes that; on a held seat it is shown as assigned."},
        [EVENT_REPORT_AVAILABLE] = {"reports available", ALIVE, ANY_SEAT, 0, MACHINE_BECOMES, MACHINE_AVAILABLE,
                                    SEAT_KEEPS, "The status becomes that; on a held seat it is shown as assigned."},
        [EVENT_REPORT_ERROR] = {"reports error", ALIVE, ANY_SEAT, 0, MACHINE_BECOMES, MACHINE_ERROR, SEAT_KEEPS,
                                "The status becomes that; its holder keeps the seat and is told."},
        [EVENT_WORD] = {"any other word", ALIVE, ANY_SEAT, 0, MACHINE_COMES_BACK, MACHINE_UNKNOWN, SEAT_KEEPS,
                        "A heartbeat, in-use, health, metrics: ends a silence; the status last reported comes back."},
        [EVENT_CLAIM] = {"claim", READY, BIT(SEAT_FREE), 0, MACHINE_KEEPS, MACHINE_UNKNOWN, SEAT_TAKES,
                         "The oldest VM without an e-mail that runs, is not unhealthy, was made fresh, and was seen "
                         "within 90 s if it ever sent a heartbeat. The generation grows."},
        [EVENT_SILENCE] = {"silence", ALIVE, ANY_SEAT, 0, MACHINE_BECOMES, MACHINE_UNKNOWN, SEAT_KEEPS,
                           "More than 90 s without a word from a VM that sends heartbeats; the seat is kept."},
        [EVENT_MISSING] =
                {"its provider misses it", ALIVE, ANY_SEAT, 0, MACHINE_BECOMES, MACHINE_UNKNOWN, SEAT_KEEPS,
                 "Reconcile found it not running; it is started again where that can be done; the seat is kept."},
        [EVENT_RELEASE] =
                {"release", ALIVE, BIT(SEAT_HELD), ALIVE & ~READY, MACHINE_KEEPS, MACHINE_UNKNOWN, SEAT_GIVES_UP,
                 "E-mail, command and PIN go, the generation grows; the VM must be made fresh before it is claimable. A VM "
                 "that nobody holds and nobody could claim (initializing, error, unknown) is made fresh the same way."},
        [EVENT_RESET] = {"made fresh", ALIVE, BIT(SEAT_USED), 0, MACHINE_BECOMES, MACHINE_INITIALIZING, SEAT_FRESH,
                         "Its provider made it anew with a new token: it boots, reports, and is claimable again."},
        [EVENT_DESTROY] = {"destroy", ALIVE, ANY_SEAT, 0, MACHINE_BECOMES, MACHINE_GONE, SEAT_FRESH,
                           "The row goes after the machine; its name is remembered, and a late word gets 404."},
};

struct life_state life_after(struct life_state before, enum event event)
{
        const struct life_rule *rule = &life_rules[event];
        struct life_state after = before;
        bool free_too = before.seat == SEAT_FREE && rule->free_machines & BIT(before.machine);
        if (!(rule->machines & BIT(before.machine)) || !(rule->seats & BIT(before.seat) || free_too))
                return before;
        if (rule->machine_effect == MACHINE_BECOMES)
                after.machine = rule->machine;
        else if (rule->machine_effect == MACHINE_COMES_BACK && before.machine == MACHINE_UNKNOWN)
                after.machine = before.reported;
        if (rule->seat_effect == SEAT_TAKES)
                after.seat = SEAT_HELD;
        else if (rule->seat_effect == SEAT_GIVES_UP)
                after.seat = SEAT_USED;
        else if (rule->seat_effect == SEAT_FRESH)
                after.seat = SEAT_FREE;
        return after;
}

const char *machine_name(enum machine machine)
{
        static const char *const names[N_MACHINES] = {"gone",      "initializing", "running",
                                                      "available", "error",        "unknown"};
        return names[machine];
}

const char *seat_name(enum seat_state seat)
{
        static const char *const names[N_SEATS] = {"free", "held", "used"};
        return names[seat];
}

static void add_cell(struct buf *out, struct life_state before, enum event event)
{
        struct life_state after = life_after(before, event);
        if (after.machine == before.machine && after.seat == before.seat)
                buf_adds(out, " -- |");
        else if (after.machine == MACHINE_GONE)
                buf_adds(out, " gone |");
        else
                buf_addf(out, " %s, %s |", machine_name(after.machine), seat_name(after.seat));
}

void life_reference(struct buf *out)
{
        buf_adds(out,
                 "# The life of a VM and of a seat\n\n"
                 "Printed from the table in `src/lab/life.c`; `tests/unit/lab/test_life.c` plays every cell against "
                 "PostgreSQL.\n\nThe machine's word and the seat are two things. `held` is a seat with an e-mail; "
                 "`used` is one "
                 "that was released and not yet made fresh.\n\n| event | effect |\n|---|---|\n");
        for (enum event e = 0; e < N_EVENTS; e++)
                buf_addf(out, "| %s | %s |\n", life_rules[e].name, life_rules[e].sentence);
        buf_adds(out, "\nEvery event in every state (`--`: nothing changes; after a silence the last report was "
                      "`running`):\n\n"
                      "| state |");
        for (enum event e = 0; e < N_EVENTS; e++)
                buf_addf(out, " %s |", life_rules[e].name);
        buf_adds(out, "\n|---|");
        for (enum event e = 0; e < N_EVENTS; e++)
                buf_adds(out, "---|");
        buf_addc(out, '\n');
        for (enum machine m = 0; m < N_MACHINES; m++)
                for (enum seat_state s = 0; s < (m == MACHINE_GONE ? 1 : N_SEATS); s++) {
                        struct life_state state = {m, s, m == MACHINE_UNKNOWN ? MACHINE_RUNNING : m};
                        buf_addf(out, "| %s%s%s |", machine_name(m), m == MACHINE_GONE ? "" : ", ",
                                 m == MACHINE_GONE ? "" : seat_name(s));
                        for (enum event e = 0; e < N_EVENTS; e++)
                                add_cell(out, state, e);
                        buf_addc(out, '\n');
                }
}
