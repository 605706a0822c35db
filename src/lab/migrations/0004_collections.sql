-- Collections: the participants' files that were brought in, and which operation may run beside which.

-- An operation works on machines (`mutating`: launch, destroy, reconcile), on files (`collecting`: collect), or on both
-- (destroy). Two that work on the same never run at the same time.
alter table operations add column collecting boolean not null default false;
create unique index operations_one_collecting on operations (collecting)
        where collecting and state in ('queued', 'running');

-- What was asked for, and what it has come to. The files, and the list of them, lie in the state directory of `site`.
create table collections (
        id bigserial primary key,
        site text default current_setting('lablink.site', true),
        -- what is looked for: {"extensions": [...], "directory": text, "everything": boolean}; one that is open is taken up
        -- again by whoever asks for the same
        selection jsonb not null,
        open boolean not null default true,
        created_at timestamptz not null default now(),
        -- of the list that holds (STATE/collections/ID/index-LIST): the operation that made it; null: none is whole yet
        list bigint,
        collected_at timestamptz,
        files bigint not null default 0,
        bytes bigint not null default 0
);
create unique index collections_one_open on collections (coalesce(site, ''), selection) where open;

-- One VM's seat in a collection: another participant on the same name, or another machine of that name, has its own.
create table collection_vms (
        collection_id bigint not null references collections (id) on delete cascade,
        folder text not null,
        hostname text not null,
        vm_id integer not null,
        email text,
        state text not null default 'waiting' check (state in ('waiting', 'working', 'done', 'failed')),
        step text,
        reason text,
        files bigint not null default 0,
        bytes bigint not null default 0,
        fresh_files bigint not null default 0,
        fresh_bytes bigint not null default 0,
        asked_at timestamptz,
        collected_at timestamptz,
        primary key (collection_id, folder)
);
create index collection_vms_of_vm_idx on collection_vms (vm_id);
