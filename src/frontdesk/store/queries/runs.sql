-- name: create
insert into training_runs (tenant, name, recipe, model, state, config, folder)
values (%(tenant)s, %(name)s, %(recipe)s, %(model)s, 'PENDING', %(config)s::jsonb, %(folder)s)
on conflict (tenant, name) do nothing
returning name

-- name: get
select name, recipe, model, state, config, folder, created_at, started_at, ended_at, heartbeat_at, step, steps, loss, score, phase, message,
  report, curves, extract(epoch from clock_timestamp() - coalesce(heartbeat_at, created_at))::real as silent_seconds
from training_runs where tenant = %(tenant)s and name = %(name)s

-- name: list
select name, recipe, model, state, config, folder, created_at, started_at, ended_at, heartbeat_at, step, steps, loss, score, phase, message,
  null::jsonb as report, null::jsonb as curves, extract(epoch from clock_timestamp() - coalesce(heartbeat_at, created_at))::real as silent_seconds
from training_runs where tenant = %(tenant)s order by created_at desc limit %(limit)s

-- name: move
update training_runs set state = %(state)s, message = %(message)s, heartbeat_at = clock_timestamp(),
  started_at = case when %(state)s = 'STARTING' then clock_timestamp() else started_at end,
  ended_at = case when %(state)s in ('COMPLETED', 'STOPPED', 'FAILED') then clock_timestamp() else null end
where tenant = %(tenant)s and name = %(name)s and state = any(%(expected)s)
returning name

-- name: beat
update training_runs set heartbeat_at = clock_timestamp(), step = %(step)s, steps = %(steps)s, loss = %(loss)s, score = %(score)s, phase = %(phase)s
where tenant = %(tenant)s and name = %(name)s

-- name: report
update training_runs set report = %(report)s::jsonb, curves = %(curves)s::jsonb where tenant = %(tenant)s and name = %(name)s

-- name: delete
delete from training_runs where tenant = %(tenant)s and name = %(name)s returning name
