/* The provider `terraform`: client VMs by OpenTofu or Terraform and a module that keeps the contract of docs/providers.md. */
#pragma once

#include "provider/provider.h"

extern const struct provider_ops terraform_provider;
