/*
 * Looking for files in a directory of this machine that somebody hostile owns, while they may be changing it. Each step
 * down is one openat2() that cannot leave the directory it stands in, follow a link, or cross into another file system.
 */
#pragma once

#include <sys/stat.h>

#include "lab/selection.h"

struct found {
        char *path; /* below the root; owned */
        int64_t size, mtime_ns;
        unsigned mode;
};

#define LEFT_NAMED_MAX 100

struct finds {
        struct found *list;
        size_t n, room;
        int64_t bytes;
        struct found *left; /* what is left out because of its path, the first of them by name (path_shown) */
        size_t left_n, left_all;
        bool cut; /* there are more than files_max */
};
void finds_clear(struct finds *finds);
void finds_add(struct finds *finds, struct found *found); /* takes it over */
void finds_leave(struct finds *finds, const char *path, int64_t size);
void finds_sort(struct finds *finds);
/* A path for people: UTF-8, what is no text as %XX, the middle of a long one left out. Owned by the caller. */
char *path_shown(const char *path);

struct walk {
        const struct selection *selection;
        size_t files_max, entries_max;
        bool (*stop)(void *userdata); /* asked now and then; may be NULL */
        void *userdata;
};

/* Nanoseconds since 1970; a time beyond what fits (about 292 years either way) is the last that does. */
int64_t mtime_ns(const struct stat *st);
/* Regular files below the directory `root`, sorted by path. A directory that is too deep, or cannot be entered, is left out
 * as a whole. */
int walk_find(int root, const struct walk *walk, struct finds *ret, struct error *error);
/* Opens a regular file of that path below the directory `root`; nothing on the way may be a link. Never blocks. */
int walk_open(int root, const char *path, int *ret_fd);
/* The root of the search: `root` (a path that can be trusted, its content not), or a directory below it. */
int walk_root(const char *root, const char *below, int *ret_fd, struct error *error);
