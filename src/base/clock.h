/*
 * Two clocks: the monotonic one for every wait and deadline, the real one only for what people and the database see.
 */
#pragma once

#include "base/mem.h"

int64_t clock_ms(void); /* monotonic, milliseconds */
int64_t clock_us(void); /* monotonic, microseconds */
double clock_now(void); /* real time, seconds since 1970 UTC */
void clock_sleep_ms(int64_t ms);

#define CLOCK_ISO_SIZE 32
/* "2026-11-25T03:30:22.123Z" */
void clock_iso(double epoch, char out[CLOCK_ISO_SIZE]);
/* ISO 8601 date and time with optional fraction and zone ("Z", "+01:00"; none means UTC). 0 or -EINVAL. */
int clock_parse_iso(const char *text, double *ret_epoch);
