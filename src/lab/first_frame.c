/* It is the participant's word, not the VM's: it does not count as a sign of life. */
#include "lab/first_frame.h"

struct db_query first_frame_put(const char *cookie_hash, double seconds, struct flag_answer *ret)
{
        static const struct db_statement statement = {
                .name = "first_frame_put",
                // clang-format off
                .sql = "with put as ("
                       "   update vms v set metrics = v.metrics || jsonb_build_object('" FIRST_FRAME_KEY "', round($2::numeric, 3))"
                       "     from desktop_cookies c"
                       "    where c.hash = $1 and c.kind = 'seat' and c.vm_id = v.id and c.tenancy = v.tenancy"
                       "      and v.email is not null returning 1)"
                       " select exists (select 1 from put)",
                // clang-format on
                .rows = DB_ONE,
                .decode = answer_flag,
        };
        return db_query(&statement, ret, DB_TEXT(cookie_hash), DB_DOUBLE(seconds));
}
