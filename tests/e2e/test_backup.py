"""A lab goes back to an earlier state while its VMs live: seats are the backup's, machines are as they are."""

from lab import wait_until
from workshop import claim, inside, records, running


def carried(lab, hostname):
    return lab.sql("select p.carried_generation as n from vm_presence p join vms v on v.id = p.vm_id where v.hostname = %s", hostname)[0]["n"]


def test_a_seat_that_changed_hands_goes_back(workshop):
    lab = workshop()
    lab.launch(2)
    running(lab, 2)
    first, other = claim(lab, 1).json()["hostname"], claim(lab, 2).json()["hostname"]
    wait_until(lambda: carried(lab, first) == 1 and carried(lab, other) == 1, 60)
    inside(lab, other, "touch", "/home/client/second")
    named = ("--config", str(lab.config_file))
    lab.cli(*named, "db", "backup", "lab.dump")

    # the first seat is given back, made fresh and given to a third person, who works there
    lab.cli(*named, "vm", "release", first, "--yes")
    wait_until(lambda: lab.vm(first)["status"] == "running" and not lab.vm(first)["needs_reset"], 120)
    assert claim(lab, 3).json()["hostname"] == first
    wait_until(lambda: carried(lab, first) == 3, 60)
    inside(lab, first, "touch", "/home/client/third")

    assert lab.interrupt() == 0
    assert "2 VMs, 2 seats" in lab.cli(*named, "db", "restore", "lab.dump", "--yes").stdout
    lab.start()
    assert claim(lab, 1).json()["hostname"] == first and claim(lab, 2).json()["hostname"] == other
    # it was made fresh, and carries out the first person's seat
    wait_until(lambda: not lab.vm(first)["needs_reset"] and carried(lab, first) == lab.vm(first)["generation"], 120,
               lambda: "%r" % lab.vm(first))
    assert inside(lab, first, "ls", "-A", "/home/client", check=False).stdout.find("third") < 0
    wait_until(lambda: "a seat was assigned (generation %d)" % lab.vm(first)["generation"] in lab.cli("logs", first).stdout, 60)
    assert inside(lab, first, "cat", "/var/lib/lablink-client/state.json", root=True).find(lab.vm(first)["pin"]) > 0
    # the other machine never noticed
    assert carried(lab, other) == 1 and len(records(lab, other)) == 1
    inside(lab, other, "test", "-e", "/home/client/second")
