/*
 * Which files are wanted: those with one of the extensions, or everything below a directory, or everything below the
 * participant's home. The same question is put to `find` in a VM and to every name that comes back, because the answer
 * was written by whoever is root there.
 */
#pragma once

#include "base/error.h"
#include "base/json.h"

struct config;

#define PATH_BYTES_MAX 4095 /* of a file's path below the VM's root of the search */
#define PATH_DEPTH_MAX 64

struct selection {
        char **extensions; /* without dots; NULL: not asked for */
        char *directory;   /* below the home, or absolute in the VM; NULL: not asked for */
        bool everything;
        char **vms;     /* host names; NULL: all */
        char **exclude; /* directories that a search by extension does not enter */
};

/* From an operation's arguments: {"extensions": [..]} or {"directory": ..} or {"everything": true}, each
 * with "vms": [..] or without; none of them: the extension of the configuration. -EINVAL with a sentence for people. */
int selection_read(const json_t *arguments, const struct config *config, struct selection *ret, struct error *error);
/* The same for the same wishes, however they were written: what makes two collections one. Owned by the caller. */
char *selection_text(const struct selection *selection);
/* ".slp, .csv", "everything under the home", for sentences. Owned by the caller. */
char *selection_words(const struct selection *selection);
void selection_clear(struct selection *selection);
#define _cleanup_selection_ _cleanup_(selection_clear)

/* A relative path that stays where it is put: no empty, "." or ".." part, not absolute, not too long or deep, no NUL. */
bool path_is_safe(const char *path, size_t len);
/* Is a file of that path, below the root of the search, wanted? */
bool selection_takes(const struct selection *selection, const char *path);
/* Is that directory's name one that the search does not enter? */
bool selection_excludes(const struct selection *selection, const char *name);
/* Is that VM asked for? */
bool selection_takes_vm(const struct selection *selection, const char *hostname);
