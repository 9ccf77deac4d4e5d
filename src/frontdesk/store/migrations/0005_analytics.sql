-- What is worked out from the log: one row per conversation, how each utterance sounds, scores, and what people said about scores.
-- Everything here can be made again from the log, but for the labels. A conversation that is erased takes its rows with it.

create table ledger (
  tenant text not null check (tenant <> ''),
  conversation text not null,
  customer text,
  channel text not null,
  opened_at timestamptz not null,
  first_at timestamptz,
  last_at timestamptz not null,
  last_customer_at timestamptz,
  seq bigint not null,
  desk text not null,
  model text not null,
  intent text not null,
  topic text not null,
  messages int not null,
  replies int not null,
  agent_messages int not null,
  answered int not null,
  elicited int not null,
  refused int not null,
  gaps int not null,
  failures int not null,
  rejected int not null,
  calls int not null,
  calls_failed int not null,
  writes int not null,
  writes_failed int not null,
  handoffs int not null,
  handoff_category text not null,
  handed_at timestamptz,
  claimed_at timestamptz,
  queue_seconds double precision not null,
  human_seconds double precision not null,
  first_reply_seconds double precision,
  first_agent_seconds double precision,
  reply_seconds double precision not null,
  waiting_since timestamptz,
  owner text not null,
  agent text not null,
  pending boolean not null,
  state text not null,
  said text not null,
  rating int,
  solved boolean,
  comment text not null,
  model_ms double precision not null,
  tool_ms double precision not null,
  sampled bigint not null,
  forced bigint not null,
  accepted int not null,
  edited int not null,
  declined int not null,
  primary key (tenant, conversation),
  foreign key (tenant, conversation) references conversations (tenant, id) on delete cascade
);
create index ledger_opened on ledger (tenant, opened_at);
create index ledger_customer on ledger (tenant, customer, opened_at) where customer is not null;

-- Up to which position of the log a consumer has worked, for one tenant.
create table consumers (
  tenant text not null check (tenant <> ''),
  name text not null,
  position bigint not null,
  primary key (tenant, name)
);

-- How each utterance sounds: -1 (negative) to 1 (positive).
create table tones (
  tenant text not null check (tenant <> ''),
  conversation text not null,
  seq bigint not null,
  at timestamptz not null,
  speaker text not null,
  label text not null,
  score real not null,
  primary key (tenant, conversation, seq),
  foreign key (tenant, conversation) references conversations (tenant, id) on delete cascade
);
create index tones_at on tones (tenant, at);

-- The newest score of each conversation; `seq` says how much of it was read.
create table scores (
  tenant text not null check (tenant <> ''),
  conversation text not null,
  seq bigint not null,
  rubric text not null,
  judge text not null,
  at timestamptz not null default clock_timestamp(),
  total real,
  passed boolean,
  flags text[] not null,
  criteria jsonb not null,
  primary key (tenant, conversation),
  foreign key (tenant, conversation) references conversations (tenant, id) on delete cascade
);

-- What a person says about a conversation, to hold the judge against. `criterion` '' means the conversation as a whole.
create table labels (
  tenant text not null check (tenant <> ''),
  conversation text not null,
  criterion text not null,
  passed boolean not null,
  note text not null default '',
  by text not null,
  at timestamptz not null default clock_timestamp(),
  primary key (tenant, conversation, criterion),
  foreign key (tenant, conversation) references conversations (tenant, id) on delete cascade
);

do $$
declare
  relation text;
begin
  foreach relation in array array['ledger', 'consumers', 'tones', 'scores', 'labels'] loop
    call protect(relation::regclass);
    execute format('grant select, insert, update, delete on %I to frontdesk_app', relation);
  end loop;
end $$;
