# Client VMs on AWS, in the default network of the region. Names are those of deployed labs: the allocator's rights, and
# people's habits, are tied to them.

locals {
  # SSH is for the allocator alone. An allocator_ip that is no address (a name, "N/A") opens it to nobody: collecting
  # files does not work then, everything else does.
  ssh_ipv4 = can(regex("^[0-9.]+$", var.allocator_ip)) && can(cidrhost("${var.allocator_ip}/32", 0)) ? ["${var.allocator_ip}/32"] : []
  ssh_ipv6 = can(regex(":", var.allocator_ip)) && can(cidrhost("${var.allocator_ip}/128", 0)) ? ["${var.allocator_ip}/128"] : []
}

# The group's own description is the deployed one: another would make AWS replace the group.
resource "aws_security_group" "lablink_sg" {
  name        = "lablink_client_${var.resource_suffix}_sg"
  description = "Allow SSH and Docker ports"

  dynamic "ingress" {
    for_each = length(local.ssh_ipv4) + length(local.ssh_ipv6) > 0 ? ["ssh"] : []

    content {
      description      = "SSH from the allocator, which collects files by it"
      from_port        = 22
      to_port          = 22
      protocol         = "tcp"
      cidr_blocks      = local.ssh_ipv4
      ipv6_cidr_blocks = local.ssh_ipv6
    }
  }

  egress {
    description      = "Participants work with the internet"
    from_port        = 0
    to_port          = 0
    protocol         = "-1"
    cidr_blocks      = ["0.0.0.0/0"]
    ipv6_cidr_blocks = ["::/0"]
  }
}

resource "aws_instance" "lablink_vm" {
  count = var.instance_count

  ami                    = var.client_ami_id
  instance_type          = var.machine_type
  key_name               = aws_key_pair.lablink_key_pair.key_name
  vpc_security_group_ids = [aws_security_group.lablink_sg.id]
  iam_instance_profile   = aws_iam_instance_profile.lablink_instance_profile.name
  user_data_base64       = base64gzip(local.user_data[local.names[count.index]])

  # The container shares the machine's network, so one hop reaches everything that may ask; anything behind another hop
  # (a container with a bridge, a forwarded packet) may not.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
    instance_metadata_tags      = "disabled"
  }

  root_block_device {
    volume_size           = 80
    volume_type           = "gp3"
    encrypted             = true
    delete_on_termination = true

    tags = {
      Name = local.names[count.index]
    }
  }

  tags = {
    Name                = local.names[count.index]
    "lablink:launch-id" = var.launch_id != "" ? var.launch_id : formatdate("YYYYMMDD'T'hhmmss'Z'", terraform_data.start[count.index].output)
  }

  lifecycle {
    # A launch makes VMs and touches none that is there: another token, image or disk would stop or replace a machine
    # that somebody works on. (A VM that a deployed module made has no encrypted disk and keeps it.)
    ignore_changes = [ami, instance_type, user_data, user_data_base64, root_block_device, tags["lablink:launch-id"]]

    precondition {
      condition     = length(nonsensitive(base64gzip(local.user_data[local.names[count.index]]))) <= 21844
      error_message = "The custom start-up script is too long: packed together with the boot script it must fit into the 16 KiB of user data."
    }
  }

  depends_on = [aws_iam_role_policy.vm_logs]
}
