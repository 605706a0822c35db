# The contract with the allocator (docs/client-vms.md): these names, types and defaults are those of deployed labs. What
# is ours stands at the end and has a default, so that a deployed terraform.runtime.tfvars still fits.

variable "instance_count" {
  description = "How many client VMs there are"
  type        = number
  default     = 1

  validation {
    condition     = var.instance_count >= 0 && floor(var.instance_count) == var.instance_count
    error_message = "instance_count must be a whole number, 0 or more."
  }
}

variable "allocator_ip" {
  description = "Public address of the allocator: what the VMs know as ALLOCATOR_HOST, and the one address that SSH is open to"
  type        = string
}

variable "allocator_url" {
  description = "The allocator's URL; empty: http:// and allocator_ip"
  type        = string
}

variable "machine_type" {
  description = "Instance type of the VMs"
  type        = string
}

variable "image_name" {
  description = "Container image with the agent and the participants' software"
  type        = string
}

variable "repository" {
  description = "Repository that is cloned to the participant's desktop; empty: none"
  type        = string
}

variable "client_ami_id" {
  description = "Machine image: an Ubuntu, best with docker and the GPU's driver in it"
  type        = string
}

variable "resource_suffix" {
  description = "Name of the deployment (dev, test, ci-test, prod): part of every resource's and VM's name"
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._-]{0,32}$", var.resource_suffix))
    error_message = "resource_suffix must be 1 to 33 letters, digits, '.', '_' or '-' (a role's name holds no more), and begin with a letter or digit."
  }
}

variable "subject_software" {
  description = "The software whose use is watched"
  type        = string
}

variable "gpu_support" {
  description = "Does the instance type carry a GPU that docker should give to the container"
  type        = bool
}

variable "cloud_init_output_log_group" {
  description = "CloudWatch log group that the VMs write to; empty: their log lines go straight to the allocator"
  type        = string
}

variable "region" {
  description = "AWS region of the VMs"
  type        = string
}

variable "ssh_user" {
  description = "The user of the machine image that the allocator collects files as"
  type        = string
  default     = "ubuntu"
}

variable "startup_on_error" {
  description = "What a failing custom start-up script means: continue, or fail"
  type        = string
  default     = "continue"

  validation {
    condition     = contains(["continue", "fail"], var.startup_on_error)
    error_message = "startup_on_error must be continue or fail."
  }
}

variable "custom_startup_script_path" {
  description = "A script that each VM's container runs when it starts; no such file: none"
  type        = string
  default     = "/config/custom-startup.sh"
}

variable "vm_tokens" {
  description = "Name of a VM -> its own secret for the allocator. By TF_VAR_vm_tokens, never in a file; a VM that exists keeps the one it was made with"
  type        = map(string)
  default     = {}
  sensitive   = true
}

variable "launch_id" {
  description = "The launch that makes new VMs, for their tag; empty: its time"
  type        = string
  default     = ""
}

variable "owner" {
  description = "Who answers for what this module makes, for the tags"
  type        = string
  default     = "lablink"
}
