/*
 * A doubly linked list whose links live in its members. A zeroed link is "in no list"; list_remove may be called on it.
 */
#pragma once

#include "base/mem.h"

struct list {
        struct list *prev, *next;
};

static inline void list_init(struct list *head)
{
        head->prev = head->next = head;
}

static inline bool list_empty(const struct list *head)
{
        return head->next == head || !head->next;
}

static inline bool list_linked(const struct list *link)
{
        return link->next != NULL;
}

static inline void list_append(struct list *head, struct list *link)
{
        link->prev = head->prev;
        link->next = head;
        head->prev->next = link;
        head->prev = link;
}

static inline void list_remove(struct list *link)
{
        if (!link->next)
                return;
        link->prev->next = link->next;
        link->next->prev = link->prev;
        link->prev = link->next = NULL;
}

/* Takes the first link off, or NULL. */
static inline struct list *list_pop(struct list *head)
{
        struct list *first = list_empty(head) ? NULL : head->next;
        if (first)
                list_remove(first);
        return first;
}

#define list_entry(link, type, member) container_of(link, type, member)
/* Safe while the current member is removed. */
#define list_for_each(cursor, head) \
        for (struct list *cursor = (head)->next, *_next = cursor->next; cursor != (head); \
             cursor = _next, _next = cursor->next)
