/*
 * A collection as one ZIP, played from its list (store.h): one folder a seat, files as they arrived, and at the end
 * manifest.json and manifest.csv with a row a file and a row for everything that is missing. Files are stored, not
 * compressed, so that the same list always gives the same bytes, any part of them can be made again for a request that
 * goes on where the last one broke off, and writing is as fast as the disk. Memory does not grow with what is in it but
 * for the ZIP's own directory.
 */
#pragma once

#include "harvest/store.h"

struct archive_plan {
        const struct store *store;
        int64_t list;
        bool names;                     /* folders carry the participant's e-mail */
        bool (*follow)(void *userdata); /* as list_reader's; NULL: what is there is all */
        /* The next bytes of the ZIP. Negative ends it. */
        int (*put)(void *userdata, const void *data, size_t len);
        /* Before the first byte; may be NULL. */
        int (*first)(void *userdata);
        bool measure; /* only how long it is: files are not read, and `put` gets something else for what they hold */
        void *userdata;
};

struct archive_facts {
        int64_t files, bytes; /* in it */
        int64_t failed;       /* VMs that are not, or not wholly */
        bool whole;           /* the list is; else what was made of it ends in the middle */
};

/* With no file in the list no byte is put. -EBADMSG: the list, or what it names, cannot be read. */
int archive_play(const struct archive_plan *plan, struct archive_facts *ret, struct error *error);

/* A participant's path as a ZIP may hold it: UTF-8, without backslashes, which some unpackers take for slashes. What had
 * to be changed ends in a mark made from the real bytes, so that no two become one. Owned by the caller. */
char *archive_name(const char *folder, const char *path);
