/* Monotonic time for waiting, real time for telling. */
#include "base/clock.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

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
        time_t seconds = (time_t)floor(epoch);
        int ms = (int)((epoch - (double)seconds) * 1000.0);
        struct tm tm;
        if (!gmtime_r(&seconds, &tm) || tm.tm_year > 8099 || tm.tm_year < -1900) {
                snprintf(out, CLOCK_ISO_SIZE, "-");
                return;
        }
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
        double scale = 0.1;
        const char *first = *text;
        for (; **text >= '0' && **text <= '9' && *text - first < 12; (*text)++, scale /= 10)
                *ret += scale * (**text - '0');
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
        take_char(text, ":");
        if (**text && !take_number(text, 2, &minutes))
                return false;
        *ret_seconds = sign * (hours * 3600 + minutes * 60);
        return hours < 24 && minutes < 60;
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
        if (!good || tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 ||
            tm.tm_min > 59 || tm.tm_sec > 60)
                return -EINVAL;
        tm.tm_year -= 1900;
        tm.tm_mon -= 1;
        *ret_epoch = (double)timegm(&tm) - zone + fraction;
        return 0;
}
