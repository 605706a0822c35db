/* What these tests share: cmocka, and events packed as CloudWatch Logs packs them. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/error.h"

void pack_gzip(const void *data, size_t len, struct buf *out); /* appended */
/* {"awslogs": {"data": base64(gzip(content))}}; owned by the caller. */
char *pack_event(const char *content);
