-- name: gaps
select id, question, count, best_source, best_score, conversation, first_at, last_at, closed_at, note from gaps
where tenant = %(tenant)s and (%(closed)s or closed_at is null)
order by closed_at is not null, count desc, last_at desc limit %(limit)s

-- name: close_gap
update gaps set closed_at = clock_timestamp(), note = %(note)s where tenant = %(tenant)s and id = %(id)s and closed_at is null returning id

-- name: handoffs
-- Who was never handed over is with an agent all the same who took the conversation from the desk. AI customers stand behind all others.
select c.id, c.customer, c.channel, c.owner, c.agent, coalesce(e.at, c.updated_at) as at, e.body from conversations c
left join lateral (
  select at, body from events where tenant = c.tenant and conversation = c.id and kind = 'handed_off' order by seq desc limit 1
) e on true
where c.tenant = %(tenant)s and c.owner = any(%(owners)s)
order by c.channel = 'rehearsal', coalesce(e.at, c.updated_at) limit %(limit)s

-- name: audit_lock
select pg_advisory_xact_lock(hashtextextended('frontdesk audit ' || %(tenant)s, 0))

-- name: audit_append
with last as (
  select coalesce(max(seq), 0) as seq, (array_agg(hash order by seq desc))[1] as hash
  from (select seq, hash from audit where tenant = %(tenant)s order by seq desc limit 1) l
), entry as (
  select last.seq + 1 as seq, coalesce(last.hash, '\x'::bytea) as previous, clock_timestamp() as at, %(detail)s::jsonb as detail from last
)
insert into audit (tenant, seq, at, actor, action, subject, detail, previous, hash)
select %(tenant)s, seq, at, %(actor)s, %(action)s, %(subject)s, detail, previous,
  audit_hash(previous, %(tenant)s, seq, at, %(actor)s, %(action)s, %(subject)s, detail)
from entry
returning encode(hash, 'hex') as hash

-- name: audit_trail
select seq, at, actor, action, subject, detail, encode(hash, 'hex') as hash from audit
where tenant = %(tenant)s and seq > %(after)s
order by seq limit %(limit)s

-- name: act_outcomes
select coalesce(detail ->> 'outcome', '') as outcome
from (select seq, action, detail from audit where tenant = %(tenant)s order by seq desc limit 20000) recent
where action in ('tool.act', 'tool.acted') and detail ->> 'key' = %(key)s
order by seq

-- name: audit_verify
with chain as (
  select seq, at, actor, action, subject, detail, previous, hash, row_number() over w as place, lag(hash, 1, '\x'::bytea) over w as before
  from audit where tenant = %(tenant)s window w as (order by seq)
)
select count(*) as entries, coalesce((select encode(hash, 'hex') from chain order by seq desc limit 1), '') as head,
  coalesce(bool_or(encode(hash, 'hex') = %(head)s), false) as has_head,
  min(place) filter (where seq <> place or previous <> before
    or hash <> audit_hash(previous, %(tenant)s, seq, at, actor, action, subject, detail)) as broken
from chain

-- name: put_blob
insert into blobs (tenant, name, sha256, data) values (%(tenant)s, %(name)s, %(sha256)s, %(data)s)
on conflict (tenant, name) do update set sha256 = excluded.sha256, data = excluded.data, updated_at = clock_timestamp()

-- name: get_blob
select sha256, data from blobs where tenant = %(tenant)s and name = %(name)s
