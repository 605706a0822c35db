-- What each VM's log lines take, kept beside their count, so that retention by size counts nothing: text and 64 bytes a
-- line, which is about what a row and its place in the index need.

alter table vm_log_heads add column bytes bigint not null default 0;

update vm_log_heads h set bytes = coalesce(
        (select sum(octet_length(l.message) + 64) from vm_log_lines l where l.vm_id = h.vm_id), 0);
