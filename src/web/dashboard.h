/*
 * What changed, for everybody who watches. While somebody does, one query each 150 ms reads the rows changed since a
 * snapshot horizon, whoever changed them. The events stand in a ring that every watcher reads at its own pace; who falls
 * behind the whole ring is cut off.
 */
#pragma once

#include "web/web.h"

#define DASHBOARD_CHANNEL "web-dashboard" /* of watch_fire, inside this process only */

struct dashboard_event {
        char name[8];
        char *data;
};

void dashboard_join(struct dashboard *dashboard);
void dashboard_leave(struct dashboard *dashboard);
/* Number of the next event. */
uint64_t dashboard_position(const struct dashboard *dashboard);
/* The event with this number; NULL when it is not there yet. *ret_lost: it is there no more. */
const struct dashboard_event *dashboard_event(const struct dashboard *dashboard, uint64_t position, bool *ret_lost);
