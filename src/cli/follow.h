/*
 * Watching an operation: its output lines as they come, its progress, its outcome. The watching can end (Ctrl-C, a lost
 * connection) without the operation noticing.
 */
#pragma once

#include "cli/cli.h"

/* Until it has ended. CLI_GOOD when it is done, CLI_ENDED_BADLY, CLI_DETACHED after Ctrl-C; or an error. */
int follow_operation(struct cli *cli, int64_t id, struct error *error);

/* The operation that an answer carries: told and followed, or only told under --detach. CLI_GOOD when it holds none. */
int follow_answer(struct cli *cli, const json_t *answer, struct error *error);

/* The first Ctrl-C from here on sets a flag instead of ending the program; the second ends it. */
void interrupt_catch(void);
bool interrupt_seen(void);
