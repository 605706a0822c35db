/* The provider "local": each client VM is a sandbox on this machine. */
#pragma once

#include "provider/provider.h"

extern const struct provider_ops local_provider;
