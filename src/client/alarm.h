/*
 * A wait that ends when its time has come or when somebody rings, whichever is first. A ring while nobody waits is
 * remembered, so nothing is missed between two waits.
 */
#pragma once

#include "base/task.h"

struct alarm {
        struct wait wait;
        uv_timer_t timer;
        bool rung;
};

/* The alarm's memory must outlive loop_deinit(): its timer is closed there. */
void alarm_init(struct alarm *alarm, struct loop *loop);
void alarm_ring(struct alarm *alarm);
int alarm_await_named(struct task *t, struct alarm *alarm, int64_t ms, task_step next, const char *name);
#define alarm_await(t, alarm, ms, next) alarm_await_named((t), (alarm), (ms), (next), #next)
