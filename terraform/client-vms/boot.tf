# What each VM boots with: its settings as shell assignments, then boot.sh as it is. Nothing is pasted into the script:
# in single quotes a shell takes every character but the quote itself for what it is.
#
# A VM's token stands in its own user data only. That is read by the VM (its root alone: boot.sh closes the metadata
# service to participants, and one hop keeps containers with a network of their own away), and by whoever may call
# ec2:DescribeInstanceAttribute in this account, which the VMs' role may not; it opens the allocator for that one VM.

locals {
  names = [for number in range(1, var.instance_count + 1) : "lablink-vm-${var.resource_suffix}-${number}"]

  startup_script = (
    var.custom_startup_script_path == "" ? "" :
    fileexists(var.custom_startup_script_path) ? filebase64(var.custom_startup_script_path) : ""
  )

  settings = {
    for name in local.names : name => {
      VM_NAME                = name
      ALLOCATOR_HOST         = var.allocator_ip
      ALLOCATOR_URL          = var.allocator_url
      CLIENT_TOKEN           = lookup(var.vm_tokens, name, "")
      IMAGE_NAME             = var.image_name
      TUTORIAL_REPO_TO_CLONE = var.repository
      SUBJECT_SOFTWARE       = var.subject_software
      GPU_SUPPORT            = tostring(var.gpu_support)
      CLOUD_INIT_LOG_GROUP   = var.cloud_init_output_log_group
      AWS_REGION             = var.region
      STARTUP_ON_ERROR       = var.startup_on_error
      STARTUP_SCRIPT         = local.startup_script
    }
  }

  user_data = {
    for name, settings in local.settings : name => join("", concat(
      ["#!/bin/bash\n"],
      [for key, value in settings : "${key}='${replace(value, "'", "'\\''")}'\n"],
      [file("${path.module}/boot.sh")],
    ))
  }
}
