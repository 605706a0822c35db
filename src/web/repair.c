/*
 * Buttons beside a sentence that asks for a repair. Whoever writes such a sentence (a provider's hint, the end of an
 * operation) names the commands that help, as `lablink repair retry`; an administrator with a browser gets them as forms.
 */
#include <string.h>

#include "base/text.h"
#include "web/routes.h"

const char *const repair_actions[REPAIR_ACTIONS] = {"refresh", "retry", "unlock"};

json_t *repair_model(const char *first, const char *second)
{
        json_t *model = NULL;
        for (size_t i = 0; i < REPAIR_ACTIONS; i++)
                for (int k = 0; k < 2; k++) {
                        const char *asked = strstr(str_or(k ? second : first, ""), "lablink repair");
                        if (!asked || !strstr(asked, repair_actions[i]))
                                continue;
                        model = model ? model : json_object();
                        json_object_set_new(model, repair_actions[i], json_true());
                }
        return model;
}
