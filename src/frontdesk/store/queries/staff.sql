-- name: lock
select pg_advisory_xact_lock(hashtextextended('frontdesk staff', 0))

-- name: add
insert into staff (tenant, name, role, tenants, password, must_change)
values (%(tenant)s, %(name)s, %(role)s, %(tenants)s, %(password)s, %(must_change)s)
on conflict do nothing returning name

-- name: admit
insert into staff (tenant, name, role, tenants) values (%(tenant)s, %(name)s, %(role)s, %(tenants)s)
on conflict (tenant, name) do update set role = excluded.role, tenants = excluded.tenants where staff.password = ''
returning disabled_at

-- name: list
select name, role, tenants, password <> '' as local, created_at, disabled_at, seen_at from staff where tenant = %(tenant)s order by name

-- name: find
select name, role, tenants, password, must_change from staff where tenant = %(tenant)s and name = %(name)s and disabled_at is null

-- name: change
update staff set role = coalesce(%(role)s, role), tenants = coalesce(%(tenants)s, tenants) where tenant = %(tenant)s and name = %(name)s
returning name

-- name: password
update staff set password = %(password)s, must_change = %(must_change)s where tenant = %(tenant)s and name = %(name)s returning name

-- name: disable
update staff set disabled_at = case when %(disabled)s then coalesce(disabled_at, clock_timestamp()) end
where tenant = %(tenant)s and name = %(name)s returning name

-- name: sign_out_everywhere
delete from staff_sessions where tenant = %(tenant)s and name = %(name)s

-- name: open_session
insert into staff_sessions (tenant, digest, name, way, expires_at)
values (%(tenant)s, %(digest)s, %(name)s, %(way)s, clock_timestamp() + make_interval(secs => %(seconds)s))

-- name: tidy
delete from staff_sessions where tenant = %(tenant)s and expires_at < clock_timestamp()

-- name: seen
update staff set seen_at = clock_timestamp() where tenant = %(tenant)s and name = %(name)s

-- name: session
select s.name, s.role, s.tenants, s.must_change, l.way, l.expires_at from staff_sessions l join staff s on s.tenant = l.tenant and s.name = l.name
where l.tenant = %(tenant)s and l.digest = %(digest)s and l.expires_at > clock_timestamp() and s.disabled_at is null

-- name: close_session
delete from staff_sessions where tenant = %(tenant)s and digest = %(digest)s
