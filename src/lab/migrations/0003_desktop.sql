-- The desktop in a browser's tab: who may open which one, and which allocator holds a VM's tunnel.

-- Grows whenever a seat changes hands. `generation` grows with a new command of the same person too, and a person who
-- pastes a new code keeps the desktop.
alter table @table@ add column tenancy bigint not null default 0;

do $$
begin
        if @table_name@ <> 'vms' then
                execute format('create or replace view vms as select * from %I', @table_name@);
        end if;
end
$$;

create or replace function lablink_vm_mark() returns trigger language plpgsql as $$
begin
        new.updated_at := now();
        new.changed_xid := pg_current_xact_id();
        if old.email is distinct from new.email then
                new.tenancy := old.tenancy + 1;
        end if;
        return new;
end
$$;

-- What belongs to one tenancy of a seat; a row of an older tenancy counts as none.
create table desktop_seats (
        vm_id integer primary key references @table@ (id) on delete cascade,
        tenancy bigint not null,
        -- of the code with which the same person may come back from another browser
        return_hash text,
        -- until then an administrator may use mouse and keyboard, by the participant's word
        assist_until timestamptz
);

-- The browsers that sit in a seat. Only hashes: who reads this table can open nothing.
create table desktop_cookies (
        hash text primary key,
        vm_id integer not null references @table@ (id) on delete cascade,
        tenancy bigint not null,
        -- 'seat': for as long as the tenancy lasts; 'ticket': once, for a socket at another allocator
        kind text not null default 'seat' check (kind in ('seat', 'ticket')),
        created_at timestamptz not null default now(),
        expires_at timestamptz
);
create index desktop_cookies_vm_idx on desktop_cookies (vm_id);

-- The allocator that a VM's agent is connected to at this moment.
create table agent_links (
        vm_id integer primary key references @table@ (id) on delete cascade,
        -- of this one connection, so that an older one that ends takes nothing away
        link text not null,
        -- where browsers reach that very allocator; empty: wherever they reach the lab
        url text not null default '',
        site text default current_setting('lablink.site', true),
        since timestamptz not null default now()
);

-- A cookie that ends, or a word about assistance, is news for whoever relays that VM's desktop.
create function lablink_desktop_notify() returns trigger language plpgsql as $$
begin
        perform pg_notify(@channel_name@, v.hostname) from @table@ v where v.id = coalesce(new.vm_id, old.vm_id);
        return null;
end
$$;

create trigger desktop_cookies_notify after delete on desktop_cookies for each row when (old.kind = 'seat')
        execute function lablink_desktop_notify();
create trigger desktop_seats_notify after update on desktop_seats for each row
        when (old.assist_until is distinct from new.assist_until) execute function lablink_desktop_notify();
