/* A desktop that sends anything: the agent's viewer refuses it or keeps pixels inside of its screen. */
#include <stddef.h>
#include <stdint.h>

#include "desktop/screen.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct screen screen = {0};
        _cleanup_buf_ struct buf out = BUF_NULL;
        if (size < 2)
                return 0;
        size_t step = data[0] + 1u;
        for (size_t at = 1; at < size; at += step)
                if (!screen_feed(&screen, data + at, MIN(step, size - at), &out))
                        break;
        screen_ask(&screen, &out);
        screen_deinit(&screen);
        return 0;
}
