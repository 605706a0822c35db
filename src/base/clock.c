/* Monotonic time for waiting, real time for telling. */
#include "base/clock.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define YEAR_1000 -30610224000.0
#define YEAR_10000 253402300800.0

int64_t clock_us(void)
{
        struct timespec ts;
        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t clock_ms(void)
{
        return clock_us() / 1000;
}

double clock_now(void)
{
        struct timespec ts;
        clock_gettime(CLOCK_REALTIME, &ts);
        return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

void clock_sleep_ms(int64_t ms)
{
        struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000};
        while (nanosleep(&ts, &ts) < 0 && errno == EINTR)
                ;
}

void clock_iso(double epoch, char out[CLOCK_ISO_SIZE])
{
        struct tm tm;
        if (!(epoch >= YEAR_1000 && epoch < YEAR_10000)) { /* NaN too */
                snprintf(out, CLOCK_ISO_SIZE, "-");
                return;
        }
        /* Rounded: 22.123 is a little less in binary, and what was read must print the same again. */
        int64_t all = MIN(llround(epoch * 1000.0), (long long)YEAR_10000 * 1000 - 1);
        int ms = (int)((all % 1000 + 1000) % 1000);
        time_t seconds = (time_t)((all - ms) / 1000);
        gmtime_r(&seconds, &tm);
        size_t n = strftime(out, CLOCK_ISO_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
        snprintf(out + n, CLOCK_ISO_SIZE - n, ".%03dZ", ms);
}

/* Reads exactly `digits` digits. */
static bool take_number(const char **text, int digits, int *ret)
{
        *ret = 0;
        for (int i = 0; i < digits; i++, (*text)++) {
                if (**text < '0' || **text > '9')
                        return false;
                *ret = *ret * 10 + (**text - '0');
        }
        return true;
}

static bool take_char(const char **text, const char *any)
{
        if (!**text || !strchr(any, **text))
                return false;
        (*text)++;
        return true;
}

static bool take_fraction(const char **text, double *ret)
{
        *ret = 0;
        if (!take_char(text, ".,"))
                return true;
        double digits = 0, scale = 1;
        const char *first = *text;
        for (; **text >= '0' && **text <= '9'; (*text)++) {
                if (*text - first >= 12)
                        continue;
                digits = digits * 10 + (**text - '0');
                scale *= 10;
        }
        *ret = digits / scale;
        return *text > first;
}

static bool take_zone(const char **text, int *ret_seconds)
{
        *ret_seconds = 0;
        int hours, minutes = 0;
        if (!**text || take_char(text, "Zz"))
                return true;
        int sign = **text == '-' ? -1 : 1;
        if (!take_char(text, "+-") || !take_number(text, 2, &hours))
                return false;
        bool colon = take_char(text, ":");
        if ((colon || **text) && !take_number(text, 2, &minutes))
                return false;
        *ret_seconds = sign * (hours * 3600 + minutes * 60);
        return hours < 24 && minutes < 60;
}

static int days_in(int year, int month)
{
        static const char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
        bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        return month == 2 && leap ? 29 : days[month - 1];
}

int clock_parse_iso(const char *text, double *ret_epoch)
{
        struct tm tm = {0};
        int zone;
        double fraction;
        bool good = take_number(&text, 4, &tm.tm_year) && take_char(&text, "-") && take_number(&text, 2, &tm.tm_mon) &&
                    take_char(&text, "-") && take_number(&text, 2, &tm.tm_mday) && take_char(&text, "Tt ") &&
                    take_number(&text, 2, &tm.tm_hour) && take_char(&text, ":") && take_number(&text, 2, &tm.tm_min) &&
                    take_char(&text, ":") && take_number(&text, 2, &tm.tm_sec) && take_fraction(&text, &fraction) &&
                    take_zone(&text, &zone) && !*text;
        if (!good || tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_hour > 23 || tm.tm_min > 59 ||
            tm.tm_mday > days_in(tm.tm_year, tm.tm_mon) || tm.tm_sec > 60)
                return -EINVAL;
        tm.tm_year -= 1900;
        tm.tm_mon -= 1;
        *ret_epoch = (double)timegm(&tm) - zone + fraction;
        return 0;
}
