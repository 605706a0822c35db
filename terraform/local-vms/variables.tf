# The variables that LabLink gives to every module; this one needs few of them.

variable "instance_count" {
  description = "How many VMs there are"
  type        = number
  default     = 1
}

variable "resource_suffix" {
  description = "Name of the deployment, part of every VM's name"
  type        = string
  default     = "dev"
}

variable "vm_tokens" {
  description = "Name of a VM -> its own secret"
  type        = map(string)
  default     = {}
  sensitive   = true
}

variable "allocator_ip" {
  type    = string
  default = ""
}

variable "allocator_url" {
  type    = string
  default = ""
}

variable "machine_type" {
  type    = string
  default = ""
}

variable "image_name" {
  type    = string
  default = ""
}

variable "repository" {
  type    = string
  default = ""
}

variable "client_ami_id" {
  type    = string
  default = ""
}

variable "subject_software" {
  type    = string
  default = ""
}

variable "gpu_support" {
  type    = string
  default = "false"
}

variable "cloud_init_output_log_group" {
  type    = string
  default = ""
}

variable "region" {
  type    = string
  default = ""
}

variable "startup_on_error" {
  type    = string
  default = "continue"
}
