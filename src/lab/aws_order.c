/* One key a state directory. */
#include "lab/aws_order.h"

char *aws_order_setting(const char *site)
{
        return xasprintf("aws:%s", site);
}
