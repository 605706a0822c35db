-- The lab's tables. `vms` carries the specification's columns (section 4.4) and ours; its name is a setting.

create table @table@ (
        id serial primary key,
        hostname varchar(255) not null unique,
        email text,
        -- the machine's word as shown to everybody: what it last said, or `unknown` after a silence
        status varchar(50) not null default 'available',
        reported_status varchar(50),
        crd_command text,
        pin varchar(10),
        created_at timestamptz not null default now(),
        updated_at timestamptz not null default now(),
        in_use boolean not null default false,
        -- true, false, or null: no GPU, or nothing heard of one
        healthy boolean,
        metrics jsonb not null default '{}',
        terraform_timing_seconds numeric,
        terraform_timing_start timestamptz,
        terraform_timing_end timestamptz,
        total_startup_time_seconds numeric,
        -- grows with every claim and release: nothing of an old seat works
        generation bigint not null default 0,
        assigned_at timestamptz,
        -- released, and not yet made fresh by its provider
        needs_reset boolean not null default false,
        -- the provider made this machine; false for one that came by its own word
        launched boolean not null default false,
        -- the allocator (lab/site.h) whose machine it lies on; several may share this database
        site text default current_setting('lablink.site', true),
        token_hash text,
        -- transaction that last changed something that a dashboard shows
        changed_xid xid8 not null default pg_current_xact_id(),
        -- one seat, one person: the e-mail goes with its command and PIN, or not at all
        constraint seat_whole check ((email is null) = (crd_command is null) and (email is null) = (pin is null))
);

-- one person, one seat
create unique index vms_email_key on @table@ (email) where email is not null;
create index vms_status_idx on @table@ (status);
create index vms_free_idx on @table@ (created_at, id) where email is null;
create index vms_changed_idx on @table@ (changed_xid);

do $$
begin
        if @table_name@ <> 'vms' then
                execute format('create view vms as select * from %I', @table_name@);
        end if;
end
$$;

-- When a VM was heard; apart from the row of the seat, so that a heartbeat never makes a claim wait.
create table vm_presence (
        vm_id integer primary key references @table@ (id) on delete cascade,
        last_seen timestamptz not null default now(),
        heartbeat_at timestamptz,
        boot_id text,
        carried_generation bigint,
        uptime_seconds numeric
) with (fillfactor = 70);

-- Names of destroyed machines: a late word from one is refused until a launch names it again.
create table retired_hostnames (
        hostname varchar(255) primary key,
        retired_at timestamptz not null default now(),
        changed_xid xid8 not null default pg_current_xact_id()
);

-- Log lines, append-only, numbered per VM under the lock of its head.
create table vm_log_heads (
        vm_id integer primary key references @table@ (id) on delete cascade,
        last_line bigint not null default 0
) with (fillfactor = 70);

create table vm_log_lines (
        vm_id integer not null references @table@ (id) on delete cascade,
        line bigint not null,
        at timestamptz not null default now(),
        message text not null,
        primary key (vm_id, line)
);
-- lines come in the order of time: finding the old ones costs next to nothing
create index vm_log_lines_at_idx on vm_log_lines using brin (at) with (autosummarize = on);

create table vm_log_batches (
        vm_id integer not null references @table@ (id) on delete cascade,
        batch_id text not null,
        at timestamptz not null default now(),
        primary key (vm_id, batch_id)
);

-- Long work: a row here and a runner.
create table operations (
        id bigserial primary key,
        kind text not null,
        arguments jsonb not null default '{}',
        state text not null default 'queued'
                check (state in ('queued', 'running', 'done', 'failed', 'interrupted', 'cancelled')),
        mutating boolean not null default true,
        progress_done integer not null default 0,
        progress_total integer not null default 0,
        progress_text text,
        result jsonb,
        error text,
        -- grows each time a runner takes it: a late writer of an older epoch is refused
        epoch bigint not null default 0,
        cancel_requested boolean not null default false,
        -- one-time key of the form or call that started it
        request_key text unique,
        requested_by text,
        -- the allocator that was asked: its machines are meant
        site text default current_setting('lablink.site', true),
        created_at timestamptz not null default now(),
        started_at timestamptz,
        ended_at timestamptz,
        last_line bigint not null default 0
);

-- one mutating operation at a time
create unique index operations_one_mutating on operations (mutating) where mutating and state in ('queued', 'running');

create table operation_lines (
        operation_id bigint not null references operations (id) on delete cascade,
        line bigint not null,
        at timestamptz not null default now(),
        message text not null,
        primary key (operation_id, line)
);

-- What administrators did, and the one-time keys of forms that start no operation.
create table audit (
        id bigserial primary key,
        at timestamptz not null default now(),
        who text not null,
        action text not null,
        detail jsonb not null default '{}',
        request_key text unique
);

create table settings (
        key text primary key,
        value jsonb not null
);
insert into settings (key, value) values ('table_name', to_jsonb(@table_name@::text));

-- Marks what a dashboard shows, and announces what a waiting VM must know: only when it really changed.
create function lablink_vm_mark() returns trigger language plpgsql as $$
begin
        new.updated_at := now();
        new.changed_xid := pg_current_xact_id();
        return new;
end
$$;

create trigger vms_mark before update on @table@ for each row
        when (old.* is distinct from new.*) execute function lablink_vm_mark();

create function lablink_vm_notify() returns trigger language plpgsql as $$
begin
        perform pg_notify(@channel_name@, coalesce(new.hostname, old.hostname));
        return null;
end
$$;

create trigger vms_notify_insert after insert on @table@ for each row execute function lablink_vm_notify();
create trigger vms_notify_delete after delete on @table@ for each row execute function lablink_vm_notify();
create trigger vms_notify_update after update on @table@ for each row
        when (old.email is distinct from new.email or old.generation is distinct from new.generation
              or old.status is distinct from new.status or old.crd_command is distinct from new.crd_command)
        execute function lablink_vm_notify();

create function lablink_operation_notify() returns trigger language plpgsql as $$
begin
        perform pg_notify('lablink_operations', new.id::text);
        return null;
end
$$;

create trigger operations_notify after insert or update on operations for each row
        execute function lablink_operation_notify();
