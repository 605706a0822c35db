# Client VMs on this machine by Terraform or OpenTofu: each instance starts a sandbox of the provider `local`. It is the
# smallest module that keeps LabLink's contract (docs/providers.md) and needs no provider plugin: terraform_data is built
# into the engine. It is what the tests run the whole driver with, and a pattern for a module of one's own.

locals {
  names = [for number in range(1, var.instance_count + 1) : "lablink-vm-${var.resource_suffix}-${number}"]
}

# Holds what has to be cleaned away when the VM goes. It is made before the VM and is never half-made: the engine runs no
# destroy-time command for a resource whose creation failed.
resource "terraform_data" "sandbox" {
  count = var.instance_count
  input = { name = local.names[count.index] }

  provisioner "local-exec" {
    when        = destroy
    command     = "exec \"$LABLINK_RUNNER\" --settings \"$LABLINK_SETTINGS\" local remove \"$NAME\""
    environment = { NAME = self.input.name }
  }
}

# One instance, one VM. The name of the resource and its `count` are the contract; the token reaches the command by the
# engine's own environment (TF_VAR_vm_tokens), so that it stands in no state.
resource "terraform_data" "lablink_vm" {
  count = var.instance_count
  input = {
    name    = terraform_data.sandbox[count.index].output.name
    started = timestamp()
  }

  provisioner "local-exec" {
    command     = "exec \"$LABLINK_RUNNER\" --settings \"$LABLINK_SETTINGS\" local make \"$NAME\""
    environment = { NAME = self.input.name }
  }

  lifecycle {
    ignore_changes = [input]
  }
}

# Ends when its VM is there: the second of the two times.
resource "terraform_data" "made" {
  count = var.instance_count
  input = {
    vm    = terraform_data.lablink_vm[count.index].id
    ended = timestamp()
  }

  lifecycle {
    ignore_changes       = [input]
    replace_triggered_by = [terraform_data.lablink_vm[count.index].id]
  }
}
