/*
 * Points where a test makes the program fail. `failpoint("claim.before-answer")` marks a place between two steps at
 * which a crash or a pause would hurt most; it is nothing at all but in a test build (sanitized, or with the option
 * test_points).
 *
 * A test build maps the file that TEST_POINTS names (without it FAILPOINT_FILE, if that exists). It holds one order:
 * a letter, then "NAME kill" or "NAME sleep MILLISECONDS" and a NUL. The first process that comes by NAME while the
 * letter is A changes it to H and obeys; so an order hits once, whichever process it is.
 */
#pragma once

#ifdef LABLINK_TEST_POINTS
#define FAILPOINT_FILE "/run/lablink-test-points"
#define FAILPOINT_SIZE 128
void failpoint(const char *name);
#else
#define failpoint(name) ((void)0)
#endif
