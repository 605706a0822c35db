/* Placeholder. */
#include <errno.h>

#include "harvest/worker.h"

int fetch_ssh(struct worker *worker, struct error *error)
{
        (void)worker;
        return error_set(error, -ENOTSUP, "this build cannot reach VMs by ssh");
}
