-- `played`: true for rehearsed conversations alone, false for customers' alone, null for both.

-- name: hold
-- One consumer at a time works on a tenant; the row is its lock.
insert into consumers (tenant, name, position) values (%(tenant)s, %(name)s, 0)
on conflict (tenant, name) do update set position = consumers.position
returning position

-- name: position
select position from consumers where tenant = %(tenant)s and name = %(name)s

-- name: moved
update consumers set position = %(position)s where tenant = %(tenant)s and name = %(name)s

-- name: reset
delete from consumers where tenant = %(tenant)s and name = %(name)s

-- name: clear
delete from ledger where tenant = %(tenant)s

-- name: clear_tones
delete from tones where tenant = %(tenant)s

-- name: opened
select c.id as conversation, c.customer, c.channel, c.opened_at, to_jsonb(l) - 'tenant' as row
from conversations c left join ledger l on l.tenant = c.tenant and l.conversation = c.id
where c.tenant = %(tenant)s and c.id = any(%(ids)s::text[])

-- name: drop_rows
delete from ledger where tenant = %(tenant)s and conversation = any(%(ids)s::text[])

-- name: write_rows
insert into ledger
select r.* from jsonb_populate_recordset(null::ledger, %(rows)s::jsonb) r
where exists (select 1 from conversations c where c.tenant = r.tenant and c.id = r.conversation)

-- name: rows
select to_jsonb(l) - 'tenant' as row from ledger l
where l.tenant = %(tenant)s
  and (%(since)s::timestamptz is null or l.opened_at >= %(since)s::timestamptz)
  and (%(until)s::timestamptz is null or l.opened_at < %(until)s::timestamptz)
  and (%(channel)s::text is null or l.channel = %(channel)s::text)
  and (%(intent)s::text is null or l.intent = %(intent)s::text)
  and (%(topic)s::text is null or l.topic = %(topic)s::text)
  and (%(desk)s::text is null or l.desk = %(desk)s::text)
  and (%(model)s::text is null or l.model = %(model)s::text)
  and (%(played)s::boolean is null or (l.channel = 'rehearsal') = %(played)s::boolean)
  and (%(ids)s::text[] is null or l.conversation = any(%(ids)s::text[]))
order by l.opened_at desc, l.conversation limit %(limit)s

-- name: visits
select l.customer, l.opened_at, l.last_at, l.conversation from ledger l
where l.tenant = %(tenant)s and l.customer is not null and l.opened_at >= %(since)s::timestamptz
order by l.opened_at

-- name: write_tones
insert into tones (tenant, conversation, seq, at, speaker, label, score)
select %(tenant)s, r.conversation, r.seq, r.at, r.speaker, r.label, r.score
from jsonb_to_recordset(%(rows)s::jsonb) r(conversation text, seq bigint, at timestamptz, speaker text, label text, score real)
where exists (select 1 from conversations c where c.tenant = %(tenant)s and c.id = r.conversation)
on conflict (tenant, conversation, seq) do update set label = excluded.label, score = excluded.score

-- name: tones
select conversation, seq, at, speaker, label, score from tones
where tenant = %(tenant)s and conversation = any(%(ids)s::text[])
order by conversation, seq

-- name: mood
-- The average over time; `by` names what is told apart beside the time.
select to_timestamp(floor(extract(epoch from t.at) / %(seconds)s) * %(seconds)s) as at, t.speaker,
  case %(by)s when 'channel' then l.channel when 'intent' then l.intent when 'topic' then l.topic when 'desk' then l.desk when 'model' then l.model
    else '' end as part,
  avg(t.score)::double precision as score, count(*) as utterances, count(*) filter (where t.label = 'negative') as negative
from tones t left join ledger l on l.tenant = t.tenant and l.conversation = t.conversation
where t.tenant = %(tenant)s
  and (%(since)s::timestamptz is null or t.at >= %(since)s::timestamptz) and (%(until)s::timestamptz is null or t.at < %(until)s::timestamptz)
  and (%(channel)s::text is null or l.channel = %(channel)s::text)
  and (%(played)s::boolean is null or (coalesce(l.channel, '') = 'rehearsal') = %(played)s::boolean)
group by 1, 2, 3 order by 1, 2, 3

-- name: write_score
insert into scores (tenant, conversation, seq, rubric, judge, total, passed, flags, criteria)
select %(tenant)s, c.id, %(seq)s, %(rubric)s, %(judge)s, %(total)s, %(passed)s, %(flags)s, %(criteria)s::jsonb
from conversations c where c.tenant = %(tenant)s and c.id = %(conversation)s
on conflict (tenant, conversation) do update set seq = excluded.seq, rubric = excluded.rubric, judge = excluded.judge,
  at = clock_timestamp(), total = excluded.total, passed = excluded.passed, flags = excluded.flags, criteria = excluded.criteria

-- name: scores
select s.conversation, s.seq, s.rubric, s.judge, s.at, s.total, s.passed, s.flags, s.criteria
from scores s join conversations c on c.tenant = s.tenant and c.id = s.conversation
where s.tenant = %(tenant)s
  and (%(ids)s::text[] is null or s.conversation = any(%(ids)s::text[]))
  and (%(since)s::timestamptz is null or c.opened_at >= %(since)s::timestamptz) and (%(until)s::timestamptz is null or c.opened_at < %(until)s::timestamptz)
  and (%(played)s::boolean is null or (c.channel = 'rehearsal') = %(played)s::boolean)
  and (%(flag)s::text is null or %(flag)s::text = any(s.flags))
order by s.total nulls last, s.conversation limit %(limit)s

-- name: unscored
-- Conversations that have been quiet for a while (rehearsed ones: since `rehearsed`) and whose score is missing, of another rubric, or of a
-- shorter conversation.
select l.conversation from ledger l left join scores s on s.tenant = l.tenant and s.conversation = l.conversation
where l.tenant = %(tenant)s and l.messages > 0 and l.last_at < case when l.channel = 'rehearsal' then %(rehearsed)s::timestamptz else %(quiet)s::timestamptz end
  and (s.conversation is null or s.seq < l.seq or s.rubric <> %(rubric)s)
order by l.last_at desc limit %(limit)s

-- name: write_label
insert into labels (tenant, conversation, criterion, passed, note, by)
select %(tenant)s, c.id, %(criterion)s, %(passed)s, %(note)s, %(by)s from conversations c where c.tenant = %(tenant)s and c.id = %(conversation)s
on conflict (tenant, conversation, criterion) do update set passed = excluded.passed, note = excluded.note, by = excluded.by, at = clock_timestamp()
returning conversation

-- name: drop_label
delete from labels where tenant = %(tenant)s and conversation = %(conversation)s and criterion = %(criterion)s returning conversation

-- name: labels
select conversation, criterion, passed, note, by, at from labels where tenant = %(tenant)s order by at desc limit %(limit)s

-- name: to_label
-- A sample that does not depend on the score, so that rates measured on it hold for all.
select s.conversation from scores s
join conversations c on c.tenant = s.tenant and c.id = s.conversation
where s.tenant = %(tenant)s and s.passed is not null
  and (%(played)s::boolean is null or (c.channel = 'rehearsal') = %(played)s::boolean)
  and not exists (select 1 from labels b where b.tenant = s.tenant and b.conversation = s.conversation and b.criterion = '')
order by hashtextextended(s.conversation, %(seed)s) limit %(limit)s

-- name: talk
-- What was said and done in many conversations at once, for themes and recalls.
select e.position, e.conversation, e.turn, e.seq, e.at, e.body from events e
join ledger l on l.tenant = e.tenant and l.conversation = e.conversation
where e.tenant = %(tenant)s and e.kind = any(%(kinds)s::text[])
  and (%(played)s::boolean is null or (l.channel = 'rehearsal') = %(played)s::boolean)
  and (%(since)s::timestamptz is null or l.opened_at >= %(since)s::timestamptz) and (%(until)s::timestamptz is null or l.opened_at < %(until)s::timestamptz)
order by e.position desc limit %(limit)s

-- name: cited
select e.position, e.conversation, e.turn, e.seq, e.at, e.body, c.customer from events e
join conversations c on c.tenant = e.tenant and c.id = e.conversation
where e.tenant = %(tenant)s and e.kind = 'reply_sent' and e.body -> 'citations' @> %(source)s::jsonb
  and (%(since)s::timestamptz is null or e.at >= %(since)s::timestamptz)
order by e.position desc limit %(limit)s
