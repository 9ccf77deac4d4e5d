-- name: create
insert into keys (tenant, id, prefix, hash, role, label) values (%(tenant)s, %(id)s, %(prefix)s, %(hash)s, %(role)s, %(label)s)

-- name: find
select id, hash, role from keys where tenant = %(tenant)s and prefix = %(prefix)s and revoked_at is null

-- name: list
select id, role, label, created_at, revoked_at from keys where tenant = %(tenant)s order by created_at, id

-- name: revoke
update keys set revoked_at = clock_timestamp() where tenant = %(tenant)s and id = %(id)s and revoked_at is null returning id
