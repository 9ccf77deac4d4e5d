-- Adapters in service, with every version that ever was; and what a tenant might add to its knowledge, waiting for an operator's yes.

create table deployments (
  tenant text not null check (tenant <> ''),
  version int not null check (version > 0),
  name text not null,
  adapter text not null,
  folder text not null,
  manifest jsonb not null,
  state text not null check (state in ('serving', 'canary', 'retired', 'withdrawn')),
  share double precision not null check (share > 0 and share <= 1),
  actor text not null,
  note text not null default '',
  created_at timestamptz not null default clock_timestamp(),
  changed_at timestamptz not null default clock_timestamp(),
  primary key (tenant, version)
);
-- One answers, and at most one other is tried beside it.
create unique index deployments_live on deployments (tenant, state) where state in ('serving', 'canary');

create table proposals (
  tenant text not null check (tenant <> ''),
  id text not null,
  kind text not null check (kind in ('faq', 'example')),
  source text not null check (source in ('gap', 'draft', 'agent', 'rehearsal')),
  question text not null,
  answer text not null,
  conversation text not null default '',
  count int not null default 1,
  state text not null default 'open' check (state in ('open', 'accepted', 'refused')),
  decided_by text not null default '',
  created_at timestamptz not null default clock_timestamp(),
  decided_at timestamptz,
  primary key (tenant, id)
);

do $$
declare
  relation text;
begin
  foreach relation in array array['deployments', 'proposals'] loop
    call protect(relation::regclass);
  end loop;
  grant select, insert, update, delete on deployments, proposals to frontdesk_app;
end $$;
