-- A socket that a ticket opened ends with the browser's cookie, as any other of that browser does; and an agent is sent
-- away by whoever holds its connection when its VM got a new secret, even if nothing else of the VM has changed.

-- Of a ticket: the hash of the cookie that asked for it.
alter table desktop_cookies add column cookie text;
delete from desktop_cookies where kind = 'ticket'; -- they live for half a minute

drop trigger vms_notify_update on @table@;
create trigger vms_notify_update after update on @table@ for each row
        when (old.email is distinct from new.email or old.generation is distinct from new.generation
              or old.status is distinct from new.status or old.crd_command is distinct from new.crd_command
              or old.token_hash is distinct from new.token_hash)
        execute function lablink_vm_notify();
