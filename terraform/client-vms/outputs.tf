# What the allocator reads after an apply. The three lists have the same order.

output "vm_instance_ids" {
  description = "AWS's names of the VMs"
  value       = aws_instance.lablink_vm[*].id
}

output "vm_public_ips" {
  description = "Addresses that the allocator collects files from"
  value       = aws_instance.lablink_vm[*].public_ip
}

output "vm_instance_names" {
  description = "LabLink's names of the VMs"
  value       = [for vm in aws_instance.lablink_vm : vm.tags["Name"]]
}

output "lablink_private_key_pem" {
  description = "SSH key of every VM's ssh_user"
  value       = tls_private_key.lablink_key.private_key_pem
  sensitive   = true
}

output "instance_terraform_apply_times" {
  description = "Name of a VM -> how long its making took, and when"
  value = {
    for number, seconds in local.apply_seconds : local.names[number] => {
      seconds    = seconds
      formatted  = format("%02dh:%02dm:%02ds", floor(seconds / 3600), floor(seconds % 3600 / 60), seconds % 60)
      start_time = local.times.start[number]
      end_time   = local.times.end[number]
    }
  }
}

output "terraform_apply_avg_seconds" {
  value = length(local.apply_seconds) == 0 ? 0 : floor(sum(local.apply_seconds) / length(local.apply_seconds))
}

output "terraform_apply_max_seconds" {
  value = length(local.apply_seconds) == 0 ? 0 : max(local.apply_seconds...)
}

output "terraform_apply_min_seconds" {
  value = length(local.apply_seconds) == 0 ? 0 : min(local.apply_seconds...)
}
