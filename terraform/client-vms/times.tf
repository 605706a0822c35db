# When each VM's making began and when it was there, as far as the engine knows: `end` waits for all VMs of a launch,
# because the engine orders resources, not their instances. The engine has no difference of two times; days are counted
# as astronomers do (Julian day number), and seconds from there.

resource "terraform_data" "start" {
  count = var.instance_count
  input = timestamp()

  lifecycle {
    ignore_changes = [input]
  }
}

resource "terraform_data" "end" {
  count = var.instance_count
  input = {
    instance = aws_instance.lablink_vm[count.index].id
    time     = timestamp()
  }

  lifecycle {
    ignore_changes = [input]
  }
}

locals {
  times = {
    start = terraform_data.start[*].output
    end   = terraform_data.end[*].output.time
  }

  # March is the year's first month here, so that a leap day is its last.
  dates = {
    for which, list in local.times : which => [
      for time in list : {
        year   = parseint(formatdate("YYYY", time), 10) + 4800 - (parseint(formatdate("MM", time), 10) < 3 ? 1 : 0)
        month  = (parseint(formatdate("MM", time), 10) + 9) % 12
        day    = parseint(formatdate("DD", time), 10)
        second = parseint(formatdate("hh", time), 10) * 3600 + parseint(formatdate("mm", time), 10) * 60 + parseint(formatdate("ss", time), 10)
      }
    ]
  }

  seconds = {
    for which, list in local.dates : which => [
      for date in list : date.second + 86400 * (
        date.day + floor((153 * date.month + 2) / 5) + 365 * date.year
        + floor(date.year / 4) - floor(date.year / 100) + floor(date.year / 400)
      )
    ]
  }

  apply_seconds = [for number, end in local.seconds.end : max(0, end - local.seconds.start[number])]
}
