/* The last words: which VMs still run, and how to end them. */
#include <stdio.h>

#include "allocator/supervisor.h"
#include "db/db.h"
#include "lab/vm.h"

#define NAMES_SHOWN 5

static void print_sentence(json_t *vms)
{
        size_t n = 0, index;
        json_t *vm;
        _cleanup_buf_ struct buf names = BUF_NULL;
        json_array_foreach (vms, index, vm) {
                if (!json_is_true(json_object_get(vm, "launched")) || !json_is_true(json_object_get(vm, "here")))
                        continue;
                if (n < NAMES_SHOWN)
                        buf_addf(&names, "%s%s", n ? ", " : "", json_get_string(vm, "hostname"));
                n++;
        }
        if (n == 0)
                puts("The lab is closed; no client VM is left running.");
        else
                printf("The lab is closed; %zu client VM%s still run%s (%s%s) and will be found again. To end them, start the "
                       "allocator and run `lablink destroy`.\n",
                       n, n == 1 ? "" : "s", n == 1 ? "s" : "", buf_str(&names), n > NAMES_SHOWN ? ", ..." : "");
        fflush(stdout);
}

void say_farewell(struct supervisor *s)
{
        _cleanup_db_ struct db *db = NULL;
        struct vm_list list = {.array = json_array()};
        _cleanup_free_ char *here = site_sql(s->site);
        if (s->conninfo && db_open(s->conninfo, "lablink-supervisor", &db, NULL) == 0 && db_exec(db, here, NULL) == 0 &&
            db_run(db, vm_inventory(&list), NULL) == 0)
                print_sentence(list.array);
        else
                puts("The lab is closed; client VMs that were launched still run. To end them, start the allocator and run "
                     "`lablink destroy`.");
        json_decref(list.array);
}
