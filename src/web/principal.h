/* Who a request speaks for, as far as the gate found out. Owned by the request, freed with free(). */
#pragma once

#include "lab/names.h"
#include "lab/vm.h"
#include "web/web.h"

struct principal {
        bool admin;
        const char *admin_name; /* borrowed */
        char hostname[HOSTNAME_MAX + 1];
        bool proven; /* the VM of that name speaks, or none has to prove it */
        struct vm_brief brief;
        struct check *check; /* password check that runs; owned by its thread until it is done */
};

/* Made when there is none. */
struct principal *principal_of(struct task *t);
