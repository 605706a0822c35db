/*
 * What is kept of a collection, below STATE/collections/ID (only root enters):
 *
 *   objects/ab/cdef...    what a file holds, named by its SHA-256: no name that a participant chose becomes a name here.
 *                         Only the parent of the workers moves something there, and never in the place of what is whole
 *   index-LIST            one JSON a line: which file of which seat holds what, in the order of arrival; its last line says
 *                         that it is whole. An archive is this list, played: the same list gives the same bytes
 *   work/SEAT/            that seat's worker may write here and nowhere else: what has come (new-*) until it is moved, and
 *                         in tree/ what is on its way and survives an interruption
 *
 * An object is written aside, then renamed; a list is written anew by each operation and counts once it is whole. So whatever
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
/* Makes work/FOLDER, without what a worker that was killed has left, and opens it. */
int store_work_open(const struct store *store, const char *folder, char **ret_path, int *ret_fd, struct error *error);

/* Something that will be an object, in the directory `place`. */
struct incoming {
        int fd;
        char name[32];
        void *hash;
        int64_t size;
};
int incoming_open(int place, struct incoming *ret);
/* Or one that is there already: what is written to it is only hashed, and then incoming_move takes the file itself, open as
 * `fd`, from `path` below `from`, whence nobody may write it any more. Fails where it cannot be moved, or has other names. */
int incoming_begin(struct incoming *ret);
int incoming_move(int place, struct incoming *incoming, int fd, int from, const char *path);
int incoming_write(struct incoming *incoming, const void *data, size_t len);
/* It is whole: closes it and gives its hash. It is removed by incoming_drop all the same unless its name is cleared. */
int incoming_end(struct incoming *incoming, char hash[HASH_LENGTH + 1]);
void incoming_drop(int place, struct incoming *incoming);
/* Moves what lies in `place` under that name into its place. -EBADMSG: it is not what the entry says. */
int store_keep(const struct store *store, int place, const char *name, const struct entry *entry);

/* Is what the entry holds there, and whole? After a loss of power it may not be. */
bool store_holds(const struct store *store, const struct entry *entry);
/* Opens what a file holds. */
int store_read(const struct store *store, const char *hash, int *ret_fd);
/* Nothing of the collection goes while somebody reads it. Shared, for readers: waits. Else: within `wait_ms`, or
 * -EWOULDBLOCK. Until store_unlock or store_close. */
int store_lock_shared(const struct store *store);
int store_lock(const struct store *store, int64_t wait_ms);
void store_unlock(const struct store *store);
/* Removes objects that `keep` does not name; sorts it. Under the lock. */
struct hashes {
        char (*list)[HASH_LENGTH];
        size_t n;
};
void store_sweep(const struct store *store, struct hashes *keep);

/* --- lists --------------------------------------------------------------------------------------------------------- */

/* Reads a list line by line; `take` gets each line's object and may stop it by a negative errno. With `follow`, asked
 * when the end of what is there was reached: true goes on reading (it has waited meanwhile). */
struct list_reader {
        int (*take)(void *userdata, json_t *line, struct error *error);
        bool (*follow)(void *userdata);
        void *userdata;
};
int list_read(const char *path, const struct list_reader *reader, struct error *error);
