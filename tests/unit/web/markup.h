/*
 * Reads a page as a browser would, but strictly: what is not well formed, not closed or not quoted is a finding, and so
 * is whatever the pages' security policy forbids (scripts and styles inside the page).
 */
#pragma once

#include "base/json.h"

struct markup {
        struct buf skeleton; /* tags and names of attributes, without values and text */
        json_t *ids;         /* of elements outside <template>: {id: true} */
        json_t *labels;      /* what labels are for: {id: true} */
        json_t *controls;    /* ids of controls that need a label */
        json_t *urls;        /* values of href, src and action */
        struct buf finding;  /* the first thing that is wrong, or empty */
};

/* Stops at the first finding. */
void markup_read(struct markup *markup, const char *html);
void markup_deinit(struct markup *markup);
#define _cleanup_markup_ _cleanup_(markup_deinit)
