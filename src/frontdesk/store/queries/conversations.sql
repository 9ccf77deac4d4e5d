-- name: enter
select events_enter()

-- name: open
insert into conversations (tenant, id, key, customer, channel) values (%(tenant)s, %(id)s, %(key)s, %(customer)s, %(channel)s)

-- name: append
with held as (
  update conversations set
    last_seq = last_seq + %(count)s::int,
    updated_at = clock_timestamp(),
    fingerprint = coalesce(%(fingerprint)s::text, fingerprint),
    owner = coalesce(%(owner)s::text, owner),
    agent = coalesce(%(agent)s::text, agent),
    holder = case when %(release)s then null
      when %(seconds)s > 0 and (holder is null or held_until < clock_timestamp()) then %(turn)s else holder end,
    held_until = case when %(release)s then null
      when %(seconds)s > 0 and (holder is null or held_until < clock_timestamp()) then clock_timestamp() + make_interval(secs => %(seconds)s)
      else held_until end
  where tenant = %(tenant)s and id = %(id)s and (%(expected)s::text is null or owner = %(expected)s::text)
    and (%(holder)s::text is null or holder = %(holder)s::text)
    and (not %(guarded)s or key = %(key)s::text and customer is not distinct from %(customer)s::text and owner <> 'closed')
  returning last_seq - %(count)s::int as base, key, customer
), begun as (
  insert into turns (tenant, conversation, turn, key, customer, idempotency_key, finished_at)
  select %(tenant)s, %(id)s, %(turn)s, held.key, held.customer, %(idempotency_key)s::text, case when %(ended)s then clock_timestamp() end
  from held where %(received)s
  on conflict (tenant, conversation, turn) do nothing
), ended as (
  update turns set finished_at = clock_timestamp() from held
  where turns.tenant = %(tenant)s and turns.conversation = %(id)s and finished_at is null
    -- A conversation that a human gives back has nothing open: the human dealt with it.
    and (turns.turn = %(turn)s and %(ended)s and not %(received)s or %(owner)s::text = 'desk')
)
insert into events (tenant, conversation, turn, seq, kind, body)
select %(tenant)s, %(id)s, %(turn)s, held.base + e.place, e.body ->> 'kind', e.body
from held, jsonb_array_elements(%(said)s::jsonb) with ordinality e(body, place)
order by e.place
returning position, seq, at

-- name: notify
-- A commit of its own, after the one that matters: it need not wait for the disk, since readers also look by themselves.
select set_config('synchronous_commit', 'off', true), pg_notify('frontdesk_events', %(tenant)s || ' ' || %(id)s || ' ' || (select last_value from events_position))

-- name: gap
insert into gaps (tenant, id, question, folded, best_source, best_score, conversation)
select %(tenant)s, %(gap)s, %(question)s, %(folded)s, %(best_source)s, %(best_score)s, c.id
from conversations c where c.tenant = %(tenant)s and c.id = %(id)s
on conflict (tenant, folded) do update set
  count = gaps.count + 1, last_at = clock_timestamp(), closed_at = null, conversation = excluded.conversation,
  best_source = excluded.best_source, best_score = excluded.best_score

-- name: row
select id, key, customer, channel, owner, agent, opened_at, updated_at, last_seq, holder from conversations
where tenant = %(tenant)s and id = %(id)s

-- name: fold
(select position, conversation, turn, seq, at, body from events
  where tenant = %(tenant)s and conversation = %(id)s and kind = any(%(state)s))
union all
(select position, conversation, turn, seq, at, body from events
  where tenant = %(tenant)s and conversation = %(id)s and kind = any(%(talk)s)
  order by seq desc limit %(limit)s)
order by seq

-- name: events
select e.position, e.conversation, e.turn, e.seq, e.at, e.body from events e
where e.tenant = %(tenant)s and e.conversation = %(id)s and e.seq > %(after)s
order by e.seq limit %(limit)s

-- name: turn
select position, conversation, turn, seq, at, body from events
where tenant = %(tenant)s and conversation = %(id)s and turn = %(turn)s
order by seq

-- name: remember
update conversations set fingerprint = %(fingerprint)s where tenant = %(tenant)s and id = %(id)s

-- name: resume
select id from conversations
where tenant = %(tenant)s and fingerprint = %(fingerprint)s and key = %(key)s and customer is not distinct from %(customer)s::text
  and owner <> 'closed' and updated_at > clock_timestamp() - make_interval(secs => %(seconds)s)
order by updated_at desc limit 1

-- name: claim
update conversations set holder = %(holder)s, held_until = clock_timestamp() + make_interval(secs => %(seconds)s)
where tenant = %(tenant)s and id = %(id)s
  and (holder is null or holder = %(holder)s or held_until < clock_timestamp()
    -- Another attempt at the same turn that no longer renews is gone: a retry need not wait until its lease has run out.
    or starts_with(holder, %(turn)s::text) and held_until < clock_timestamp() + make_interval(secs => %(seconds)s / 2.0))
returning id

-- name: renew
update conversations set held_until = clock_timestamp() + make_interval(secs => %(seconds)s)
where tenant = %(tenant)s and id = %(id)s and holder = %(holder)s and held_until >= clock_timestamp()
returning id

-- name: release
update conversations set holder = null, held_until = null where tenant = %(tenant)s and id = %(id)s and holder = %(holder)s

-- name: reply_for
select t.conversation, t.turn,
  (select e.body from events e where e.tenant = t.tenant and e.conversation = t.conversation and e.turn = t.turn and e.kind = 'reply_sent'
   order by e.seq desc limit 1) as body
from turns t
where t.tenant = %(tenant)s and t.key = %(key)s and t.customer is not distinct from %(customer)s::text
  and t.idempotency_key = %(idempotency_key)s
  and (%(id)s::text is null or t.conversation = %(id)s::text)

-- name: list
select c.id as conversation_id, c.customer, c.channel, c.owner, c.agent, c.opened_at, c.updated_at,
  (select count(*) from turns t where t.tenant = c.tenant and t.conversation = c.id) as messages,
  coalesce((select e.body ->> 'text' from events e where e.tenant = c.tenant and e.conversation = c.id and e.kind = 'message_received'
   order by e.seq desc limit 1), '') as preview
from conversations c
where c.tenant = %(tenant)s and (%(owner)s::text is null or c.owner = %(owner)s::text)
  and (%(before)s::timestamptz is null or c.updated_at < %(before)s::timestamptz)
  and (%(customer)s::text is null or c.customer = %(customer)s::text)
order by c.updated_at desc limit %(limit)s

-- name: key_of
select key from conversations where tenant = %(tenant)s and id = %(id)s

-- name: unfinished
select t.conversation, t.turn from turns t join conversations c on c.tenant = t.tenant and c.id = t.conversation
where t.tenant = %(tenant)s and t.finished_at is null and c.owner = 'desk'
  and t.started_at <= clock_timestamp() - make_interval(secs => %(seconds)s)
  and (c.held_until is null or c.held_until < clock_timestamp())
  -- Who came behind another message may still be waiting: a place that has just become free is theirs, for as long as they wait.
  and (t.started_at <= clock_timestamp() - make_interval(secs => %(patience)s) or not exists (
    select 1 from turns o where o.tenant = t.tenant and o.conversation = t.conversation and o.turn <> t.turn
      and (o.finished_at is null and o.started_at < t.started_at or o.finished_at >= t.started_at and not exists (
        select 1 from events e where e.tenant = o.tenant and e.conversation = o.conversation and e.turn = o.turn and e.kind = 'turn_merged'))))
order by t.started_at

-- name: erase
select erase_conversations(%(customer)s::text, %(id)s::text) as erased
