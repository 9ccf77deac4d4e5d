-- Everything of one tenant carries its name, and row-level security holds it there even against a forgotten WHERE.
-- The tenant of a transaction is the setting frontdesk.tenant; unset, no row is visible and none can be written.

create table meta (
  name text primary key,
  value text not null
);

create procedure protect(relation regclass) language plpgsql as $$
begin
  execute format('alter table %s enable row level security', relation);
  execute format('alter table %s force row level security', relation);
  execute format(
    'create policy tenant on %s using (tenant = (select current_setting(''frontdesk.tenant'', true)))
       with check (tenant = (select current_setting(''frontdesk.tenant'', true)))', relation);
end $$;

-- Conversations and their log -------------------------------------------------------------------------------------------------

create table conversations (
  tenant text not null check (tenant <> ''),
  id text not null,
  key text not null,
  customer text,
  channel text not null,
  owner text not null default 'desk' check (owner in ('desk', 'queue', 'agent', 'closed')),
  agent text not null default '',
  opened_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  last_seq bigint not null default 0,
  fingerprint text,
  holder text,
  held_until timestamptz,
  primary key (tenant, id)
);
create index conversations_fingerprint on conversations (tenant, fingerprint) where fingerprint is not null;
create index conversations_updated on conversations (tenant, updated_at desc);
create index conversations_customer on conversations (tenant, customer) where customer is not null;

create sequence events_position;

create table events (
  position bigint not null default nextval('events_position'),
  tenant text not null check (tenant <> ''),
  conversation text not null,
  turn text not null,
  seq bigint not null,
  at timestamptz not null default clock_timestamp(),
  kind text not null,
  body jsonb not null,
  primary key (tenant, conversation, seq)
);
create unique index events_position_key on events (position);
create index events_handed_off on events (tenant, conversation, seq desc) where kind = 'handed_off';

-- One row per message of a customer: what is not finished after a crash, and which reply answers a retry.
create table turns (
  tenant text not null check (tenant <> ''),
  conversation text not null,
  turn text not null,
  key text not null,
  customer text,
  idempotency_key text,
  started_at timestamptz not null default clock_timestamp(),
  finished_at timestamptz,
  primary key (tenant, conversation, turn)
);
create unique index turns_idempotency on turns (tenant, key, customer, idempotency_key) nulls not distinct
  where idempotency_key is not null;
create index turns_unfinished on turns (tenant, started_at) where finished_at is null;

-- A position is taken before its transaction commits, so a higher one may become visible first. Each writer therefore holds, until it
-- commits, a shared advisory lock that carries the sequence's value from before its own positions. Readers stop at the lowest such
-- value: nothing below it can still appear. No writer waits for another, and long transactions elsewhere do not hold readers up.
create function events_enter() returns void language sql volatile as $$
  select pg_advisory_xact_lock_shared((x'46440000'::bigint << 32) | (case when is_called then last_value else 0 end)) from frontdesk.events_position
$$;

create function events_horizon() returns bigint language plpgsql volatile as $$
declare
  reached bigint;
  in_flight bigint;
begin
  -- The order matters: a writer that enters after the look at the locks takes positions above `reached`.
  select case when is_called then last_value else 0 end into reached from frontdesk.events_position;
  select min(((classid::bigint & x'ffff'::bigint) << 32) | objid::bigint) into in_flight
    from pg_locks
    where locktype = 'advisory' and objsubid = 1 and granted and (classid::bigint & x'ffff0000'::bigint) = x'46440000'::bigint
      and database = (select oid from pg_database where datname = current_database());
  return least(reached, coalesce(in_flight, reached));
end $$;

-- Keys ------------------------------------------------------------------------------------------------------------------------

create table keys (
  tenant text not null check (tenant <> ''),
  id text not null,
  prefix text not null,
  hash bytea not null check (length(hash) = 32),
  role text not null check (role in ('widget', 'server', 'operator')),
  label text not null default '',
  created_at timestamptz not null default clock_timestamp(),
  revoked_at timestamptz,
  primary key (tenant, id)
);
create index keys_prefix on keys (tenant, prefix);

-- The desk's own state --------------------------------------------------------------------------------------------------------

create table gaps (
  tenant text not null check (tenant <> ''),
  id text not null,
  question text not null,
  folded text not null,
  count int not null default 1,
  best_source text not null default '',
  best_score real not null default 0,
  conversation text not null,
  first_at timestamptz not null default clock_timestamp(),
  last_at timestamptz not null default clock_timestamp(),
  closed_at timestamptz,
  note text not null default '',
  primary key (tenant, id)
);
create unique index gaps_folded on gaps (tenant, folded);

create table audit (
  tenant text not null check (tenant <> ''),
  seq bigint not null,
  at timestamptz not null,
  actor text not null,
  action text not null,
  subject text not null,
  detail jsonb not null,
  previous bytea not null,
  hash bytea not null,
  primary key (tenant, seq)
);

-- What an entry's hash covers; each field with its length before it, so that no two entries read the same.
create function audit_hash(previous bytea, tenant text, seq bigint, at timestamptz, actor text, action text, subject text, detail jsonb)
returns bytea language sql immutable as $$
  select sha256(previous || convert_to(string_agg(length(field) || ':' || field, ',' order by place), 'UTF8'))
  from unnest(array[tenant, seq::text, extract(epoch from at)::text, actor, action, subject, detail::text]) with ordinality f(field, place)
$$;

create table blobs (
  tenant text not null check (tenant <> ''),
  name text not null,
  sha256 text not null,
  data bytea not null,
  updated_at timestamptz not null default clock_timestamp(),
  primary key (tenant, name)
);

-- Knowledge -------------------------------------------------------------------------------------------------------------------

create table knowledge (
  tenant text primary key check (tenant <> ''),
  version bigint not null default 0,
  passages bigint not null default 0,
  lexemes bigint not null default 0,
  dimensions int
);

create table documents (
  tenant text not null check (tenant <> ''),
  id text not null,
  version int not null,
  source text not null,
  title text not null,
  sha256 text not null,
  passages int not null,
  quarantined int not null default 0,
  current boolean not null,
  updated_at timestamptz not null default clock_timestamp(),
  primary key (tenant, id, version)
);
create unique index documents_current on documents (tenant, source) where current;

-- The archive: every passage of every version, so that a citation of last year still resolves.
create table passages (
  tenant text not null check (tenant <> ''),
  id text not null,
  document text not null,
  version int not null,
  ordinal int not null,
  source text not null,
  title text not null,
  kind text not null,
  text text not null,
  headings text[] not null default '{}',
  grid jsonb,
  search_text text not null default '',
  quarantine text,
  current boolean not null,
  primary key (tenant, id)
);
create unique index passages_place on passages (tenant, document, version, ordinal);
create index passages_quarantined on passages (tenant) where current and quarantine is not null;

-- What answers: current passages only, in two narrow tables so that an exact scan touches vectors alone. A large tenant gets its own
-- partial HNSW index (see indexing.py): one shared by all tenants would be filtered after its scan, and lose recall.
create table passage_vectors (
  tenant text not null check (tenant <> ''),
  id text not null,
  document text not null,
  hash text not null,
  embedding halfvec not null,
  primary key (tenant, id)
);
alter table passage_vectors alter column embedding set storage plain;
create index passage_vectors_document on passage_vectors (tenant, document);
create index passage_vectors_hash on passage_vectors (tenant, hash);

-- `terms` are the lexemes hashed together with their tenant: one index serves all tenants, and a small one never reads what a large one
-- wrote, however common the word.
create table passage_words (
  tenant text not null check (tenant <> ''),
  id text not null,
  document text not null,
  words tsvector not null,
  terms int[] not null,
  primary key (tenant, id)
) with (toast_tuple_target = 8160);
create index passage_words_terms on passage_words using gin (terms) with (fastupdate = off);
create index passage_words_document on passage_words (tenant, document);

-- In how many passages of the tenant a lexeme stands.
create table lexemes (
  tenant text not null check (tenant <> ''),
  lexeme text collate "C" not null,
  passages bigint not null,
  primary key (tenant, lexeme)
);

-- The stemmer treats words of other languages the same way in a passage and in a question, so they match as well.
create function words_of(content text) returns tsvector language sql immutable strict as $$
  select to_tsvector('pg_catalog.english', content)
$$;

create function term_of(tenant text, lexeme text) returns int language sql immutable strict as $$
  select hashtext(tenant || ' ' || lexeme)
$$;

create function terms_of(tenant text, words tsvector) returns int[] language sql immutable strict
set search_path = frontdesk, pg_catalog as $$
  select coalesce(array_agg(term_of(tenant, lexeme)), '{}') from unnest(tsvector_to_array(words)) t(lexeme)
$$;

-- The nearest passages by meaning and by word, fused by reciprocal rank. `coverage` is the share of the question's weight (inverse
-- document frequency) whose words stand in the passage.
--
-- It runs as frontdesk_search, which may read the index tables of every tenant, and takes the tenant from the transaction alone:
-- under row-level security PostgreSQL would not use an index on words at all (its operators are not leakproof).
--
-- Ranking every passage that holds a common word would read half of a large tenant. Candidates come from the rarest words of the
-- question, as long as they stand in no more than `reach` passages together; when even the rarest stands in more, from the passages
-- that hold the two rarest. Every word of the question then counts in the rank.
create function search_passages(question text, asked halfvec, wanted int, ef int, depth int, reach int)
returns table (id text, score double precision, cosine double precision, coverage double precision)
language plpgsql volatile security definer set search_path = frontdesk, public, pg_temp as $$
declare
  me text := current_setting('frontdesk.tenant', true);
  known knowledge;
  dimensions int := vector_dims(asked);
  terms tsquery[];
  rare int[];
  rarest int[];
  weights double precision[];
  total double precision;
begin
  select * into known from knowledge k where k.tenant = me;
  if known.dimensions is null or known.passages = 0 then
    return;
  end if;
  if known.dimensions <> dimensions then
    raise exception 'the passages of tenant % have vectors of % numbers and the question has %: use the embedder that indexed them, or remove its documents and sync again',
      me, known.dimensions, dimensions;
  end if;
  with parts as (
    select coalesce(x.passages, 0) as df, term_of(me, l.lexeme) as term,
      ('''' || replace(replace(l.lexeme, '\', '\\'), '''', '''''') || '''') as quoted,
      ln(1 + (greatest(known.passages - coalesce(x.passages, 0), 0) + 0.5) / (coalesce(x.passages, 0) + 0.5))::double precision as idf
    from unnest(tsvector_to_array(words_of(left(question, 4000)))) l(lexeme)
    left join lexemes x on x.tenant = me and x.lexeme = l.lexeme collate "C"
  ), running as (
    select p.*, sum(df) over (order by df, quoted) as reached, row_number() over (order by df, quoted) as place from parts p where df > 0
  )
  select array_agg(quoted::tsquery order by place), array_agg(idf order by place), (select sum(idf) from parts),
    array_agg(term) filter (where reached <= reach), array_agg(term) filter (where place <= 2)
  into terms, weights, total, rare, rarest
  from running where place <= 24;

  perform set_config('hnsw.ef_search', ef::text, true), set_config('hnsw.iterative_scan', 'strict_order', true);
  return query execute format($query$
    with near as materialized (
      select v.id, v.embedding::halfvec(%1$s) <#> $1::halfvec(%1$s) as distance
      from passage_vectors v where v.tenant = %2$L
      order by v.embedding::halfvec(%1$s) <#> $1::halfvec(%1$s) limit $2
    ), candidates as materialized (
      select w.id, w.words from passage_words w where w.tenant = %2$L and w.terms %3$s $3 limit $4
    ), worded as (
      select c.id, m.matched / $7 as coverage, m.rank
      from candidates c, lateral (
        select sum(t.weight) as matched,
          -- ts_rank of one term saturates with its frequency as BM25 does, between 0.0608 and 0.1; the divisor is BM25's length norm.
          sum(t.weight * ts_rank(c.words, t.term)) / (1 + 1.2 * (0.25 + 0.75 * length(c.words) / $8)) as rank
        from unnest($5::tsquery[], $6::double precision[]) t(term, weight) where c.words @@ t.term
      ) m
      where m.rank > 0
      order by m.rank desc, c.id limit $2
    ), fused as (
      select coalesce(n.id, w.id) as id, coalesce(1.0 / (60 + n.place), 0) + coalesce(1.0 / (60 + w.place), 0) as score,
        n.distance, coalesce(w.coverage, 0) as coverage
      from (select near.id, near.distance, rank() over (order by near.distance) as place from near) n
      full join (select worded.id, worded.coverage, rank() over (order by worded.rank desc) as place from worded) w
        on w.id = n.id
      order by score desc, id limit $9
    )
    select f.id, f.score::double precision, -coalesce(f.distance, v.embedding <#> $1)::double precision, f.coverage::double precision
    from fused f join passage_vectors v on v.tenant = %2$L and v.id = f.id
    order by f.score desc, f.id
  $query$, dimensions, me, case when rare is null then '@>' else '&&' end)
  using asked, depth, coalesce(rare, rarest, array[0]), reach, coalesce(terms, '{}'), coalesce(weights, '{}'), coalesce(total, 1),
    greatest(known.lexemes::double precision / known.passages, 1), wanted;
end $$;

-- The only way to remove what was said: all of one customer, or one conversation. Runs as frontdesk_erase, within the tenant's policy.
create function erase_conversations(whose text, which text) returns bigint
language plpgsql volatile security definer set search_path = frontdesk, pg_temp as $$
declare
  ids text[];
begin
  with gone as (
    delete from conversations where tenant = current_setting('frontdesk.tenant', true) and (customer = whose or id = which) returning id
  ) select coalesce(array_agg(id), '{}') into ids from gone;
  delete from events where tenant = current_setting('frontdesk.tenant', true) and conversation = any(ids);
  delete from turns where tenant = current_setting('frontdesk.tenant', true) and conversation = any(ids);
  delete from gaps where tenant = current_setting('frontdesk.tenant', true) and conversation = any(ids);
  return cardinality(ids);
end $$;
