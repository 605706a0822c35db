/*
 * What every provider shares: the list that `list` fills in, and its release.
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
