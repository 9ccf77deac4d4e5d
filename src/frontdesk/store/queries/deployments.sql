-- name: lock
select pg_advisory_xact_lock(hashtextextended('frontdesk deployments ' || %(tenant)s, 0))

-- name: all
select version, name, adapter, folder, manifest, state, share, actor, note, created_at, changed_at from deployments
where tenant = %(tenant)s order by version desc

-- name: live
select version, name, adapter, folder, manifest, state, share, actor, note, created_at, changed_at from deployments
where tenant = %(tenant)s and state in ('serving', 'canary') order by version desc

-- name: leave
update deployments set state = %(to)s, changed_at = clock_timestamp() where tenant = %(tenant)s and state = any(%(states)s)

-- name: add
insert into deployments (tenant, version, name, adapter, folder, manifest, state, share, actor, note)
select %(tenant)s, coalesce(max(version), 0) + 1, %(name)s, %(adapter)s, %(folder)s, %(manifest)s::jsonb, %(state)s, %(share)s, %(actor)s, %(note)s
from deployments where tenant = %(tenant)s
returning version, name, adapter, folder, manifest, state, share, actor, note, created_at, changed_at

-- name: retire_for_canary
update deployments set state = 'retired', changed_at = clock_timestamp()
where tenant = %(tenant)s and state = 'serving' and exists (select 1 from deployments c where c.tenant = %(tenant)s and c.state = 'canary')

-- name: promote
update deployments set state = 'serving', share = 1, changed_at = clock_timestamp() where tenant = %(tenant)s and state = 'canary'
returning version, name, adapter, folder, manifest, state, share, actor, note, created_at, changed_at

-- name: bring_back
update deployments set state = 'serving', share = 1, changed_at = clock_timestamp()
where tenant = %(tenant)s and version = (
  select max(version) from deployments
  where tenant = %(tenant)s and state = 'retired' and version < (select max(version) from deployments where tenant = %(tenant)s and state = 'withdrawn')
) and not exists (select 1 from deployments s where s.tenant = %(tenant)s and s.state = 'serving')
returning version, name, adapter, folder, manifest, state, share, actor, note, created_at, changed_at

-- name: propose
insert into proposals (tenant, id, kind, source, question, answer, conversation, count)
values (%(tenant)s, %(id)s, %(kind)s, %(source)s, %(question)s, %(answer)s, %(conversation)s, %(count)s)
on conflict (tenant, id) do update set count = excluded.count, answer = case when proposals.state = 'open' and excluded.answer <> '' then excluded.answer else proposals.answer end
returning (xmax = 0) as fresh

-- name: proposals
select id, kind, source, question, answer, conversation, count, state, decided_by, created_at, decided_at from proposals
where tenant = %(tenant)s and state = any(%(states)s) order by count desc, created_at, id limit %(limit)s

-- name: decide
update proposals set state = %(state)s, answer = coalesce(%(answer)s, answer), decided_by = %(actor)s, decided_at = clock_timestamp()
where tenant = %(tenant)s and id = %(id)s and state = 'open'
returning id, kind, source, question, answer, conversation, count, state, decided_by, created_at, decided_at
