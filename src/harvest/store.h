/*
 * What is kept of a collection, below STATE/collections/ID (only root enters):
 *
 *   objects/ab/cdef...    what a file holds, named by its SHA-256: no name that a participant chose becomes a name here
 *   index-LIST            one JSON a line: which file of which seat holds what, in the order of arrival; its last line says
 *                         that it is whole. An archive is this list, played: the same list gives the same bytes
 *   work/SEAT/            what is on its way from that seat and survives an interruption
 *
 * An object is put aside, then renamed; a list is written anew by each operation and counts once it is whole. So whatever
 * is killed, what has arrived is there, and nothing is half.
 */
#pragma once

#include <stdio.h>

#include "base/error.h"
#include "base/json.h"

#define HASH_LENGTH 64

/* A file of a seat. */
struct entry {
        char *path; /* as it is in the VM: any bytes but NUL, checked by path_is_safe */
        int64_t size;
        int64_t mtime_ns;
        unsigned mode; /* permission bits */
        char hash[HASH_LENGTH + 1];
        double at; /* when it arrived */
};

struct entries {
        struct entry *list;
        size_t n, room;
        bool sorted; /* by path */
};
void entry_clear(struct entry *entry);
void entries_clear(struct entries *entries);
/* Takes the entry over. */
void entries_add(struct entries *entries, struct entry *entry);
/* By path, the last of the same path. Sorts when needed. */
const struct entry *entries_find(struct entries *entries, const char *path);

/* As one JSON object; a path that is no UTF-8 goes as base64. And back: -EINVAL when it is not whole. */
json_t *entry_json(const struct entry *entry);
int entry_read(const json_t *json, struct entry *ret);
char *path_base64(const char *path);

/* --- places -------------------------------------------------------------------------------------------------------- */

struct store {
        char *directory;  /* STATE/collections/ID */
        int objects, top; /* descriptors */
};
int store_open(const char *state_dir, int64_t collection, bool make, struct store *ret, struct error *error);
void store_close(struct store *store);
char *store_list_path(const struct store *store, int64_t list); /* owned by the caller */
char *store_work_path(const struct store *store, const char *folder);

/* Something that is becoming an object. */
struct incoming {
        int fd;
        char name[80]; /* below objects/ */
        void *hash;
        int64_t size;
};
int incoming_open(const struct store *store, struct incoming *ret);
int incoming_write(struct incoming *incoming, const void *data, size_t len);
/* Renames it into its place and gives its hash. A failure, or no call at all before incoming_drop, leaves nothing. */
int incoming_keep(const struct store *store, struct incoming *incoming, char hash[HASH_LENGTH + 1]);
void incoming_drop(const struct store *store, struct incoming *incoming);

/* Is what the entry holds there, and whole? After a loss of power it may not be. */
bool store_holds(const struct store *store, const struct entry *entry);
/* Opens what a file holds. */
int store_read(const struct store *store, const char *hash, int *ret_fd);
/* Removes objects that `keep` (by hash, sorted) does not name, and what was cut off. */
void store_sweep(const struct store *store, const struct entries *keep);

/* --- lists --------------------------------------------------------------------------------------------------------- */

/* Reads a list line by line; `take` gets each line's object and may stop it by a negative errno. With `follow`, asked
 * when the end of what is there was reached: true goes on reading (it has waited meanwhile). */
struct list_reader {
        int (*take)(void *userdata, json_t *line, struct error *error);
        bool (*follow)(void *userdata);
        void *userdata;
};
int list_read(const char *path, const struct list_reader *reader, struct error *error);
