/*
 * What every provider shares: what `list` and `reach` fill in, and its release.
 */
#include "provider/provider.h"

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
