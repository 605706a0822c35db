/*
 * What `find` in a VM says: whatever bytes come, in pieces of any length, no path gets through that leads out, none twice,
 * and never more than the limit.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "harvest/list.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static char *extensions[] = {(char *)"slp", NULL}, *exclude[] = {(char *)"models", NULL};
        struct selection selection = {.extensions = extensions, .exclude = exclude};
        struct finds finds = {0};
        struct list_parser parser = {.selection = &selection, .prefix = "Desktop/", .files_max = 16, .finds = &finds};
        size_t step = size ? (size_t)data[0] % 37 + 1 : 1;
        for (size_t at = size ? 1 : 0; at < size; at += step)
                if (list_feed(&parser, (const char *)data + at, step < size - at ? step : size - at) < 0)
                        break;
        list_done(&parser);
        assert(finds.n <= 16);
        for (size_t i = 0; i < finds.n; i++) {
                assert(path_is_safe(finds.list[i].path, strlen(finds.list[i].path)));
                assert(strncmp(finds.list[i].path, "Desktop/", 8) == 0 && finds.list[i].size >= 0);
                assert(i == 0 || strcmp(finds.list[i - 1].path, finds.list[i].path) < 0);
        }
        finds_clear(&finds);
        return 0;
}
