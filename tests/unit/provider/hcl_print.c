/* For tests: prints each argument as a string of HCL, one a line, as terraform.runtime.tfvars has it. */
#include <stdio.h>

#include "base/buf.h"
#include "provider/terraform/internal.h"

int main(int argc, char **argv)
{
        for (int i = 1; i < argc; i++) {
                _cleanup_buf_ struct buf out = BUF_NULL;
                hcl_quote(argv[i], &out);
                puts(buf_str(&out));
        }
        return 0;
}
