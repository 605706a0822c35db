# Who may do what: the SSH key of the allocator, and what a VM may do in the account, which is to write its own log.

resource "tls_private_key" "lablink_key" {
  algorithm = "RSA"
  rsa_bits  = 4096
}

resource "aws_key_pair" "lablink_key_pair" {
  key_name   = "lablink_key_pair_client_${var.resource_suffix}"
  public_key = tls_private_key.lablink_key.public_key_openssh
}

data "aws_iam_policy_document" "vm_is_ec2" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

# Deployed labs attach CloudWatchAgentServerPolicy, which lets a VM write to every log group of the account and read
# parameters; a VM of ours may write its lab's streams of one group, and read names. force_detach_policies: a role that a
# deployed module made has that policy, and it must not keep the role from being deleted.
resource "aws_iam_role" "cloud_watch_agent_role" {
  name                  = "lablink_cloud_watch_agent_role_${var.resource_suffix}"
  assume_role_policy    = data.aws_iam_policy_document.vm_is_ec2.json
  force_detach_policies = true
}

data "aws_partition" "current" {}

data "aws_caller_identity" "current" {}

locals {
  log_groups = "arn:${data.aws_partition.current.partition}:logs:${var.region}:${data.aws_caller_identity.current.account_id}:log-group"
  log_group  = "${local.log_groups}:${var.cloud_init_output_log_group}"
}

data "aws_iam_policy_document" "vm_logs" {
  count = var.cloud_init_output_log_group == "" ? 0 : 1

  statement {
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = [local.log_group, "${local.log_group}:log-stream:lablink-vm-${var.resource_suffix}-*"]
  }

  # Agents of deployed images look for their group and stream before they write. These read names and no lines.
  statement {
    actions   = ["logs:DescribeLogStreams"]
    resources = [local.log_group, "${local.log_group}:*"]
  }

  statement {
    actions   = ["logs:DescribeLogGroups"]
    resources = ["${local.log_groups}:*"]
  }
}

resource "aws_iam_role_policy" "vm_logs" {
  count = length(data.aws_iam_policy_document.vm_logs)

  name   = "lablink_client_logs_${var.resource_suffix}"
  role   = aws_iam_role.cloud_watch_agent_role.name
  policy = data.aws_iam_policy_document.vm_logs[0].json
}

resource "aws_iam_instance_profile" "lablink_instance_profile" {
  name = "lablink_client_instance_profile_${var.resource_suffix}"
  role = aws_iam_role.cloud_watch_agent_role.name
}
