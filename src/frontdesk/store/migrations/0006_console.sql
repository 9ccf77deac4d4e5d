-- The console: who of the staff may sign in, who is signed in, what somebody was writing, and former versions of a tenant's folder.
-- Accounts and sessions belong to the whole installation. They stand under the tenant '*', which no folder can be called, so that the
-- same row-level security keeps them from every tenant's transactions.

create table staff (
  tenant text not null check (tenant <> ''),
  name text not null check (name <> ''),
  role text not null check (role in ('viewer', 'agent', 'operator')),
  tenants text[] not null default '{}',
  password text not null default '',
  must_change boolean not null default false,
  created_at timestamptz not null default clock_timestamp(),
  disabled_at timestamptz,
  seen_at timestamptz,
  primary key (tenant, name)
);

create table staff_sessions (
  tenant text not null check (tenant <> ''),
  digest bytea not null,
  name text not null,
  way text not null,
  opened_at timestamptz not null default clock_timestamp(),
  expires_at timestamptz not null,
  primary key (tenant, digest),
  foreign key (tenant, name) references staff (tenant, name) on delete cascade
);
create index staff_sessions_name on staff_sessions (tenant, name);

-- What somebody is writing: an answer to a customer (about: the conversation), or a change of the FAQ that is not published yet.
create table staff_drafts (
  tenant text not null check (tenant <> ''),
  name text not null,
  about text not null,
  conversation text,
  body jsonb not null,
  updated_at timestamptz not null default clock_timestamp(),
  primary key (tenant, name, about),
  foreign key (tenant, conversation) references conversations (tenant, id) on delete cascade
);
create index staff_drafts_conversation on staff_drafts (tenant, conversation) where conversation is not null;

-- A file of a tenant's folder as it was after each change made in the console; `content` null: the file was taken away.
create table file_versions (
  tenant text not null check (tenant <> ''),
  path text not null,
  version int not null check (version > 0),
  at timestamptz not null default clock_timestamp(),
  actor text not null,
  note text not null default '',
  content bytea,
  primary key (tenant, path, version)
);

do $$
declare
  relation text;
begin
  foreach relation in array array['staff', 'staff_sessions', 'staff_drafts', 'file_versions'] loop
    call protect(relation::regclass);
    execute format('grant select, insert, update, delete on %I to frontdesk_app', relation);
  end loop;
end $$;
