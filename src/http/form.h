/*
 * Form bodies: application/x-www-form-urlencoded and multipart/form-data (RFC 7578) into fields. At most 100 fields of
 * 64 KB; names and values must be UTF-8 without NUL; a file part is refused.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"

struct form;

/* `content_type` as sent. -EINVAL with what is wrong; -ENOTSUP for another type. */
int form_parse(const char *content_type, const char *body, size_t len, struct form **ret, struct error *error);
const char *form_get(const struct form *form, const char *name); /* the first of that name, or NULL */
struct form *form_free(struct form *form);
void form_wipe(struct form *form); /* overwrites every value */
static inline void form_freep(struct form **form)
{
        form_free(*form);
}
#define _cleanup_form_ _cleanup_(form_freep)

/* Percent-decoding of one path segment or query part: refuses %00, an encoded slash in a path, "..", bad UTF-8. */
enum uri_part { URI_SEGMENT, URI_QUERY };
int uri_decode(const char *text, size_t len, enum uri_part part, struct buf *out);
