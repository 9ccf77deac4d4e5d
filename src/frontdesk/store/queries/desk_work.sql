-- name: put_draft
insert into staff_drafts (tenant, name, about, conversation, body)
values (%(tenant)s, %(name)s, %(about)s, %(conversation)s, %(body)s::jsonb)
on conflict (tenant, name, about) do update set body = excluded.body, updated_at = clock_timestamp()

-- name: get_draft
select body, updated_at from staff_drafts where tenant = %(tenant)s and name = %(name)s and about = %(about)s

-- name: drop_draft
delete from staff_drafts where tenant = %(tenant)s and name = %(name)s and about = %(about)s

-- name: lock
select pg_advisory_xact_lock(hashtextextended('frontdesk files ' || %(tenant)s, 0))

-- name: add_version
insert into file_versions (tenant, path, version, actor, note, content)
select %(tenant)s, %(path)s, coalesce(max(version), 0) + 1, %(actor)s, %(note)s, %(content)s
from file_versions where tenant = %(tenant)s and path = %(path)s
returning version

-- name: versions
select path, version, at, actor, note, octet_length(content) as bytes from file_versions
where tenant = %(tenant)s and (%(path)s::text is null or path = %(path)s) order by at desc, version desc limit %(limit)s

-- name: content
select content from file_versions where tenant = %(tenant)s and path = %(path)s and version = %(version)s

-- name: newest
select content from file_versions where tenant = %(tenant)s and path = %(path)s order by version desc limit 1
