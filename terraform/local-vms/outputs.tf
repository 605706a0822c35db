output "vm_instance_ids" {
  value = terraform_data.lablink_vm[*].id
}

output "vm_instance_names" {
  value = terraform_data.lablink_vm[*].output.name
}

# A sandbox has no address of its own.
output "vm_public_ips" {
  value = [for vm in terraform_data.lablink_vm : ""]
}

locals {
  # Seconds of the day; a launch over midnight is set right below.
  clocks = [for i, vm in terraform_data.lablink_vm : [
    for at in [vm.output.started, terraform_data.made[i].output.ended] :
    parseint(formatdate("h", at), 10) * 3600 + parseint(formatdate("m", at), 10) * 60 + parseint(formatdate("s", at), 10)
  ]]
  seconds = [for pair in local.clocks : (pair[1] - pair[0] + 86400) % 86400]
}

output "instance_terraform_apply_times" {
  value = {
    for i, vm in terraform_data.lablink_vm : vm.output.name => {
      seconds = local.seconds[i]
      formatted = format("%02dh:%02dm:%02ds",
      floor(local.seconds[i] / 3600), floor(local.seconds[i] / 60) % 60, local.seconds[i] % 60)
      start_time = vm.output.started
      end_time   = terraform_data.made[i].output.ended
    }
  }
}

output "terraform_apply_avg_seconds" {
  value = length(local.seconds) == 0 ? 0 : sum(local.seconds) / length(local.seconds)
}

output "terraform_apply_max_seconds" {
  value = length(local.seconds) == 0 ? 0 : max(local.seconds...)
}

output "terraform_apply_min_seconds" {
  value = length(local.seconds) == 0 ? 0 : min(local.seconds...)
}
