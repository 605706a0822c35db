/*
 * What every provider shares: a line of its output, what `list` and `reach` fill in, and their release.
 */
#include "provider/provider.h"

void sink_line(const struct provider_sink *sink, const char *format, ...)
{
        if (!sink || !sink->line)
                return;
        va_list args;
        va_start(args, format);
        _cleanup_free_ char *text = xvasprintf(format, args);
        va_end(args);
        sink->line(sink->userdata, text);
}

void provider_vms_clear(struct provider_vms *vms)
{
        for (size_t i = 0; i < vms->n; i++) {
                free(vms->vm[i].hostname);
                free(vms->vm[i].address);
        }
        free(vms->vm);
        *vms = (struct provider_vms){0};
}

void provider_reach_clear(struct provider_reach *reach)
{
        free(reach->directory);
        free(reach->user);
        free(reach->address);
        free(reach->key_file);
        free(reach->known_hosts_file);
        free(reach->home);
        *reach = (struct provider_reach){0};
}
