/* Metrics are what a VM sent: nothing in them is taken for a number here. */
#include "lab/hosting.h"

#include <stdio.h>

static int decode(const struct db_row *row, void *receiver, struct error *error _unused_)
{
        struct hosting *hosting = receiver;
        hosting->found = true;
        snprintf(hosting->outcome, sizeof hosting->outcome, "%s", db_text(row, 0));
        return 0;
}

struct db_query hosting_look(const char *hostname, int64_t generation, struct hosting *ret)
{
        static const struct db_statement statement = {
                .name = "hosting_look",
                // clang-format off
                .sql = "select case when metrics->>'crd_generation' = generation::text"
                       "   then coalesce(metrics->>'crd_outcome', '') else '' end"
                       "  from vms where hostname = $1 and generation = $2 and email is not null",
                // clang-format on
                .rows = DB_MAYBE,
                .decode = decode,
                .idempotent = true,
        };
        return db_query(&statement, ret, DB_TEXT(hostname), DB_INT(generation));
}
