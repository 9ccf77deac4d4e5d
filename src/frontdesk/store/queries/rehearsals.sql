-- name: begin
insert into rehearsals (tenant, id, plan, wanted) values (%(tenant)s, %(id)s, %(plan)s::jsonb, %(wanted)s)

-- name: finish
update rehearsals set finished_at = coalesce(finished_at, clock_timestamp()) where tenant = %(tenant)s and id = %(id)s

-- name: one
select id, plan, wanted, started_at, finished_at from rehearsals where tenant = %(tenant)s and id = %(id)s

-- name: list
select r.id, r.plan, r.wanted, r.started_at, r.finished_at from rehearsals r
where r.tenant = %(tenant)s order by r.started_at desc limit %(limit)s

-- name: keep
insert into rehearsed (tenant, rehearsal, number, scenario, outcome, passed, faults, conversation, talk)
select %(tenant)s, %(id)s, (row ->> 'number')::int, row ->> 'scenario', row ->> 'outcome', (row ->> 'passed')::boolean,
  array(select jsonb_array_elements_text(row -> 'faults')), row ->> 'conversation', row -> 'talk'
from jsonb_array_elements(%(rows)s::jsonb) as row
on conflict (tenant, rehearsal, number) do update set outcome = excluded.outcome, passed = excluded.passed, faults = excluded.faults,
  conversation = excluded.conversation, talk = excluded.talk, updated_at = clock_timestamp()

-- name: talks
select number, scenario, outcome, passed, faults, talk from rehearsed
where tenant = %(tenant)s and rehearsal = %(id)s and number > %(after)s and (%(open)s::boolean is null or (outcome is null) = %(open)s::boolean)
order by number limit %(limit)s

-- name: ended
select number from rehearsed where tenant = %(tenant)s and rehearsal = %(id)s and outcome is not null
