-- name: horizon
select events_horizon() as horizon, (select case when is_called then last_value else 0 end from events_position) as reached

-- name: between
select position, tenant, conversation, turn, seq, at, body from events
where position > %(after)s and position <= %(horizon)s
  and (%(tenant)s::text is null or tenant = %(tenant)s::text)
  and (%(conversation)s::text is null or conversation = %(conversation)s::text)
  and (%(kinds)s::text[] is null or kind = any(%(kinds)s::text[]))
order by position limit %(limit)s
