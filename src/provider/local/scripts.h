/* The scripts that run inside a VM, embedded into the program when it is built (boot.sh, desktop.sh and software.sh
 * beside this). */
#pragma once

#include <stddef.h>

extern const unsigned char lablink_boot_sh[];
extern const size_t lablink_boot_sh_len;
extern const unsigned char lablink_desktop_sh[];
extern const size_t lablink_desktop_sh_len;
extern const unsigned char lablink_software_sh[];
extern const size_t lablink_software_sh_len;
