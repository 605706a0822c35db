/*
 * Numbers, sizes, durations and times of any text: refused, or within what they stand for, and a time that was taken is
 * written and read as the same time.
 */
#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"

#define YEAR_1000 (-30610224000.0) /* what is written has four digits */
#define YEAR_10000 253402300800.0

static void require(bool held)
{
        if (!held)
                abort();
}

static void check_numbers(const char *text)
{
        int64_t number = 0, range = 0;
        double real = 0;
        bool truth;
        if (parse_int(text, INT64_MIN, INT64_MAX, &number) == 0 && parse_int(text, -5, 5, &range) == 0)
                require(range == number && number >= -5 && number <= 5);
        if (parse_double(text, &real) == 0)
                require(isfinite(real));
        parse_bool(text, &truth);
}

static void check_units(const char *text)
{
        int64_t ms = 0, bytes = 0;
        int r = parse_duration(text, &ms);
        require(r == 0 || r == -EINVAL || r == -ERANGE);
        require(r < 0 || ms >= 0);
        r = parse_size(text, &bytes);
        require(r == 0 || r == -EINVAL || r == -ERANGE);
        require(r < 0 || bytes >= 0);
}

static void check_time(const char *text)
{
        double epoch = 0, again = 0;
        char iso[CLOCK_ISO_SIZE];
        if (clock_parse_iso(text, &epoch) < 0)
                return;
        require(isfinite(epoch));
        clock_iso(epoch, iso);
        require(strlen(iso) < sizeof iso);
        if (epoch >= YEAR_1000 && epoch < YEAR_10000 - 1)
                require(clock_parse_iso(iso, &again) == 0 && fabs(again - epoch) < 0.002);
}

static void check_text(const char *data, size_t size)
{
        static const char *const words[] = {"launch", "destroy", "status", "operation", NULL};
        _cleanup_buf_ struct buf clean = BUF_NULL;
        utf8_scrub(data, size, &clean);
        require(utf8_valid(buf_str(&clean), clean.len));
        _cleanup_free_ char *text = xstrndup(data, MIN(size, (size_t)64));
        text_nearest(text, words);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_free_ char *text = xstrndup((const char *)data, size);
        check_numbers(text);
        check_units(text);
        check_time(text);
        check_text((const char *)data, size);
        return 0;
}
