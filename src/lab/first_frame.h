/*
 * How long a participant waited for their desktop, from the click to the first picture: measured in the page, kept with
 * the VM's timings.
 */
#pragma once

#include "lab/answer.h"

#define FIRST_FRAME_KEY "desktop_first_frame_seconds"

/* Into the metrics of the VM in whose seat the cookie sits; *ret: there is one. */
struct db_query first_frame_put(const char *cookie_hash, double seconds, struct flag_answer *ret);
