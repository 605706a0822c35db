/*
 * Logic-less templates (mustache syntax) over a jansson model: {{name}} (escaped), {{{name}}} (raw: only for what a
 * template itself made), {{#section}}, {{^inverted}}, {{>partial}}, {{!comment}}, {{.}}, dotted names. A list runs its
 * section once an entry; true or an object or a non-empty string or a number other than 0 once. Rendering needs no
 * parsing at run time beyond one pass. Depth of sections and partials is limited to 32.
 */
#pragma once

#include "base/json.h"

struct http_template;

/* Appends to `out`. -EINVAL with name and line for a template that is not well formed, -ENOENT for an unknown one. */
int template_render(const struct http_template *templates, const char *name, json_t *model, struct buf *out,
                    struct error *error);
void html_escape(const char *text, size_t len, struct buf *out);
