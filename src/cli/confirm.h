/*
 * The word yes before something that cannot be taken back: asked for on a terminal, given as --yes elsewhere.
 */
#pragma once

#include "cli/cli.h"

/* 1: --yes was given, nothing is to be asked; 0: there is a terminal to ask on; -EINVAL: neither. */
int confirm_possible(struct cli *cli, const char *what, struct error *error);
/* 0 for yes, -ECANCELED otherwise. */
int confirm(struct error *error, const char *format, ...) _printf_(2, 3);
