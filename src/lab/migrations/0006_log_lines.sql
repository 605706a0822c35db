-- A line of a log is checked no more, one by one, to be of a VM that exists: that took more than storing it. It is written
-- in the statement that has just locked, or made, its VM's head, and the head cannot outlive the VM; so a line goes with
-- its head. Whoever deletes a VM whose lines are being written waits for the head, and then sees these lines, too.

alter table vm_log_lines drop constraint vm_log_lines_vm_id_fkey;

create function lablink_log_lines_go() returns trigger language plpgsql as $$
begin
        delete from vm_log_lines where vm_id = old.vm_id;
        return null;
end
$$;

create trigger vm_log_heads_gone after delete on vm_log_heads for each row execute function lablink_log_lines_go();
