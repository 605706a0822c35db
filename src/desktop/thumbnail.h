/*
 * Small pictures of the desktop, made on the VM: a viewer of our own that understands raw pixels alone keeps a copy of the
 * screen, only while somebody looks. What leaves the VM is a JPEG, so the allocator reads no pixels that a VM made.
 */
#pragma once

#include "base/task.h"

#define THUMBNAIL_WIDTH 320

struct thumbnailer;

/* `picture` is called with each new JPEG; nothing is sent while the screen does not change. */
struct thumbnailer *thumbnailer_new(struct loop *loop, const char *desktop,
                                    void (*picture)(void *userdata, const uint8_t *data, size_t len), void *userdata);
/* Somebody looks: a picture each `seconds`, for so many seconds from now. */
void thumbnailer_look(struct thumbnailer *thumbnailer, int64_t seconds, int64_t look_for);
struct thumbnailer *thumbnailer_free(struct thumbnailer *thumbnailer);
