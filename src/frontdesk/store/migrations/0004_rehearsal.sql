-- Rehearsals: a run with its plan, and each of its conversations with its newest state, so that a stopped run goes on where it was.

create table rehearsals (
  tenant text not null check (tenant <> ''),
  id text not null,
  plan jsonb not null,
  wanted int not null,
  started_at timestamptz not null default clock_timestamp(),
  finished_at timestamptz,
  primary key (tenant, id)
);

create table rehearsed (
  tenant text not null check (tenant <> ''),
  rehearsal text not null,
  number int not null,
  scenario text not null,
  outcome text,
  passed boolean,
  faults text[] not null default '{}',
  conversation text,
  talk jsonb not null,
  updated_at timestamptz not null default clock_timestamp(),
  primary key (tenant, rehearsal, number)
);

do $$
declare
  relation text;
begin
  foreach relation in array array['rehearsals', 'rehearsed'] loop
    call protect(relation::regclass);
  end loop;
  grant select, insert, update, delete on rehearsals, rehearsed to frontdesk_app;
end $$;
