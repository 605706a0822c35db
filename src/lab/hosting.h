/*
 * What became of a participant's code for Chrome Remote Desktop: the agent's word, kept with the VM's metrics under the
 * generation that it carried out. A word about an older generation says nothing.
 */
#pragma once

#include "db/db.h"

struct hosting {
        bool found;       /* the VM holds a seat of this generation */
        char outcome[24]; /* "": nothing said yet; done, oauth, network, permission, registration, failed */
};

struct db_query hosting_look(const char *hostname, int64_t generation, struct hosting *ret);
