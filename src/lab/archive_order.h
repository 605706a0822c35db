/*
 * How the web process gets a collection's archive: it asks the supervisor over a socket pair of their own, and gets the
 * read end of a pipe back (SCM_RIGHTS) into which a runner writes. The web process itself opens no file and starts no
 * program; the supervisor looks at nothing but these numbers.
 */
#pragma once

#include <stdint.h>

struct archive_order_message { /* web process to supervisor */
        int64_t token;         /* comes back with the answer */
        int64_t collection, list, from;
        int64_t follow, names; /* 0 or 1 */
};

struct archive_answer_message { /* supervisor to web process, with the descriptor when `failed` is 0 */
        int64_t token;
        int64_t failed; /* errno */
};
