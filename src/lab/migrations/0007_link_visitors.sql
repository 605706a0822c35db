-- A participant is told who watches, at whichever allocator: administrators whose sockets are open at the one to which
-- the VM's agent is connected.

alter table agent_links add column watchers integer not null default 0;
alter table agent_links add column helpers integer not null default 0;
