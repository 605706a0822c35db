/*
 * Participants' files, brought in from many VMs at once. Each VM has a child process of its own (worker.c), which finds,
 * copies and hashes and tells its parent by lines of JSON; so a VM that hangs, floods or lies costs that child, and the
 * parent kills it when its time is over. The parent alone writes the list (store.h).
 *
 * Everything that a child reads was written by a participant who is root in the VM. Names are checked, never trusted;
 * sizes are limited before anything is copied; nothing of a VM is ever executed here.
 */
#pragma once

#include <sys/types.h>

#include "harvest/store.h"
#include "lab/selection.h"
#include "provider/provider.h"

struct harvest_limits {
        int side_by_side;
        int64_t vm_bytes, all_bytes; /* kept of one VM, and of all together */
        int64_t vm_files;
        int64_t time_ms;    /* for one VM, from its start to its end */
        int64_t quiet_ms;   /* without a byte or a word: it hangs */
        int64_t connect_ms; /* until ssh stands */
};

struct harvest_seat {
        const char *hostname;
        const char *folder; /* of this seat in the collection */
        struct provider_reach reach;
        bool reachable;     /* false: `reason` says why, and nothing is tried */
        char *reason;       /* owned; why it failed */
        struct entries had; /* what is kept of it from before */

        bool working, ended, good;
        char step[32];
        int64_t files, bytes;             /* wanted and there now */
        int64_t fresh_files, fresh_bytes; /* of these, not kept before */
        int64_t skipped;
        int64_t found_files, found_bytes;
};

struct harvest {
        struct store *store;
        bool look; /* only what there is */
        const struct selection *selection;
        struct harvest_limits limits;
        struct harvest_seat *seats;
        size_t n;
        /* All by the one thread of the caller. */
        void (*file)(void *userdata, struct harvest_seat *seat, const struct entry *entry, bool fresh);
        void (*skipped)(void *userdata, struct harvest_seat *seat,
                        const json_t *line); /* {"path"|"path_base64","reason",...} */
        void (*say)(void *userdata, struct harvest_seat *seat, const char *text);
        void (*changed)(void *userdata, struct harvest_seat *seat); /* step, numbers, or its end */
        bool (*cancelled)(void *userdata);                          /* asked some times a second */
        void *userdata;
};

/* Until every seat has ended. 0, or -ECANCELED. A seat that fails says so in its `reason`. */
int harvest_run(struct harvest *harvest, struct error *error);
void harvest_seat_clear(struct harvest_seat *seat);
