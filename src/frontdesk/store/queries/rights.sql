-- name: ids
select id from conversations
where tenant = %(tenant)s
  and (customer = %(customer)s or id = %(id)s or updated_at < clock_timestamp() - make_interval(days => %(days)s::int))
order by updated_at limit %(limit)s

-- name: count_old
select count(*) as number from conversations
where tenant = %(tenant)s and updated_at < clock_timestamp() - make_interval(days => %(days)s::int)

-- name: counts
select 'events' as place, count(*) as number from events where tenant = %(tenant)s and conversation = any(%(ids)s::text[])
union all select 'handoffs', count(*) from events where tenant = %(tenant)s and conversation = any(%(ids)s::text[]) and kind = 'handed_off'
union all select 'turns', count(*) from turns where tenant = %(tenant)s and conversation = any(%(ids)s::text[])
union all select 'gaps', count(*) from gaps where tenant = %(tenant)s and conversation = any(%(ids)s::text[])
union all select 'ledger', count(*) from ledger where tenant = %(tenant)s and conversation = any(%(ids)s::text[])
union all select 'tones', count(*) from tones where tenant = %(tenant)s and conversation = any(%(ids)s::text[])
union all select 'scores', count(*) from scores where tenant = %(tenant)s and conversation = any(%(ids)s::text[])
union all select 'labels', count(*) from labels where tenant = %(tenant)s and conversation = any(%(ids)s::text[])
union all select 'staff_drafts', count(*) from staff_drafts where tenant = %(tenant)s and conversation = any(%(ids)s::text[])

-- name: erase_rehearsed
with gone as (
  delete from rehearsed where tenant = %(tenant)s and conversation = any(%(ids)s::text[]) returning 1
) select count(*) as number from gone

-- name: erase_proposals
with gone as (
  delete from proposals where tenant = %(tenant)s and conversation = any(%(ids)s::text[]) returning 1
) select count(*) as number from gone

-- name: proposed
select question from proposals where tenant = %(tenant)s and conversation = any(%(ids)s::text[])

-- name: erase
select coalesce(sum(erase_conversations(null::text, id)), 0)::bigint as number from unnest(%(ids)s::text[]) as id

-- name: derived
select 'tone' as kind, to_jsonb(t) - 'tenant' as body from tones t where tenant = %(tenant)s and conversation = any(%(ids)s::text[])
union all
select 'score', to_jsonb(s) - 'tenant' from scores s where tenant = %(tenant)s and conversation = any(%(ids)s::text[])
union all
select 'label', to_jsonb(l) - 'tenant' - 'by' from labels l where tenant = %(tenant)s and conversation = any(%(ids)s::text[])
union all
select 'ledger', to_jsonb(r) - 'tenant' from ledger r where tenant = %(tenant)s and conversation = any(%(ids)s::text[])
union all
select 'gap', to_jsonb(g) - 'tenant' from gaps g where tenant = %(tenant)s and conversation = any(%(ids)s::text[])
