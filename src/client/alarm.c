/*
 * Jobs of the agent mostly sleep: until their interval is over, or until something they watch has happened. One timer a
 * job serves for its whole life, so that no wait allocates.
 */
#include "client/alarm.h"

static void on_timer(uv_timer_t *timer)
{
        struct alarm *alarm = container_of(timer, struct alarm, timer);
        task_wake(&alarm->wait);
}

static void cancel(struct wait *wait)
{
        uv_timer_stop(&container_of(wait, struct alarm, wait)->timer);
}

void alarm_init(struct alarm *alarm, struct loop *loop)
{
        *alarm = (struct alarm){.wait.cancel = cancel};
        uv_timer_init(&loop->uv, &alarm->timer);
}

void alarm_ring(struct alarm *alarm)
{
        alarm->rung = true;
        if (alarm->wait.task)
                uv_timer_start(&alarm->timer, on_timer, 0, 0);
}

int alarm_await_named(struct task *t, struct alarm *alarm, int64_t ms, task_step next, const char *name)
{
        int64_t wait = alarm->rung ? 0 : MAX(ms, (int64_t)0);
        alarm->rung = false;
        uv_update_time(&t->loop->uv);
        uv_timer_start(&alarm->timer, on_timer, (uint64_t)wait, 0);
        return task_await_named(t, &alarm->wait, next, name);
}
