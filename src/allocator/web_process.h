/* The web process: main after the supervisor's exec. Returns an exit status. */
#pragma once

int web_process(const char *handover_fd);
