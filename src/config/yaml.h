/*
 * YAML into a small tree with positions. Only what a configuration needs: one document of mappings, lists and scalars.
 * Aliases, anchors, tags, merge keys and duplicate keys are problems, so that a file means what it seems to mean and
 * none can grow while it is read. Private to src/config/.
 */
#pragma once

#include "base/buf.h"

#define YAML_MAX 1000000 /* bytes of a file */

enum yaml_kind { YAML_NULL, YAML_SCALAR, YAML_LIST, YAML_MAP };

struct yaml_node {
        enum yaml_kind kind;
        char *text; /* of a scalar */
        int line, column;
        char *key; /* in a mapping */
        int key_line, key_column;
        struct yaml_node *items;
        size_t n;
};

/* Always fills *root as far as possible; what was wrong is in `problems`, each with "label:line:column: ". */
void yaml_read(const char *label, const char *data, size_t len, struct yaml_node *root, struct buf *problems);
void yaml_free(struct yaml_node *root); /* what is in it */
