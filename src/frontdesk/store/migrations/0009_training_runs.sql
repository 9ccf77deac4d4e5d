-- Training runs: one row per run, changed by the process that looks after it. What a run writes lies in its folder.

create table training_runs (
  tenant text not null check (tenant <> ''),
  name text not null check (name <> ''),
  recipe text not null,
  model text not null,
  state text not null check (state in ('PENDING', 'QUEUED', 'STARTING', 'RUNNING', 'TERMINATING', 'COMPLETED', 'STOPPED', 'FAILED')),
  config jsonb not null,
  folder text not null,
  created_at timestamptz not null default clock_timestamp(),
  started_at timestamptz,
  ended_at timestamptz,
  heartbeat_at timestamptz,
  step int not null default 0,
  steps int not null default 0,
  loss real,
  score real,
  phase text not null default '',
  message text not null default '',
  report jsonb,
  curves jsonb,
  primary key (tenant, name)
);

do $$
begin
  call protect('training_runs'::regclass);
  grant select, insert, update, delete on training_runs to frontdesk_app;
end $$;
