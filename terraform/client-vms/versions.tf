# The engine: OpenTofu, or Terraform from 1.9. terraform_data is built into both.
terraform {
  required_version = ">= 1.7"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.60, < 7.0"
    }
    tls = {
      source  = "hashicorp/tls"
      version = "~> 4.0"
    }
  }
}

# The names of these tags begin alike, so that a bill or a clean-up can be asked for them.
provider "aws" {
  region = var.region

  default_tags {
    tags = {
      "lablink:environment" = var.resource_suffix
      "lablink:owner"       = var.owner
      "lablink:managed-by"  = "lablink"
    }
  }
}
