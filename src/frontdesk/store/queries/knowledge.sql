-- name: version
select version from knowledge where tenant = %(tenant)s

-- name: documents
select id, source, title, sha256, version, passages, quarantined, updated_at from documents
where tenant = %(tenant)s and current order by source

-- name: touch
insert into knowledge as k (tenant, version, dimensions) values (%(tenant)s, 1, %(dimensions)s::int)
on conflict (tenant) do update set version = k.version + 1,
  dimensions = case when k.passages = 0 then coalesce(excluded.dimensions, k.dimensions) else coalesce(k.dimensions, excluded.dimensions) end
returning dimensions, passages

-- name: latest
select id, max(version) as version from documents where tenant = %(tenant)s and source = %(source)s group by id

-- name: retire
with gone as (
  update documents set current = false where tenant = %(tenant)s and source = %(source)s and current returning id
), archived as (
  update passages p set current = false from gone where p.tenant = %(tenant)s and p.document = gone.id and p.current
), vectors as (
  delete from passage_vectors v using gone where v.tenant = %(tenant)s and v.document = gone.id
), words as (
  delete from passage_words w using gone where w.tenant = %(tenant)s and w.document = gone.id returning w.words
), counted as (
  select t.lexeme collate "C" as lexeme, count(*) as passages from words, unnest(tsvector_to_array(words.words)) t(lexeme) group by 1
), uncounted as (
  update lexemes x set passages = greatest(x.passages - counted.passages, 0) from counted
  where x.tenant = %(tenant)s and x.lexeme = counted.lexeme
), known as (
  update knowledge set passages = knowledge.passages - n.passages, lexemes = knowledge.lexemes - n.lexemes
  from (select count(*) as passages, coalesce(sum(length(words.words)), 0) as lexemes from words) n
  where knowledge.tenant = %(tenant)s
)
select id from gone

-- name: add_document
insert into documents (tenant, id, version, source, title, sha256, passages, quarantined, current)
values (%(tenant)s, %(document)s, %(version)s, %(source)s, %(title)s, %(sha256)s, %(passages)s, %(quarantined)s, true)
returning updated_at

-- name: add_passages
insert into passages (tenant, id, document, version, ordinal, source, title, kind, text, headings, grid, search_text, quarantine, current)
select %(tenant)s, r.id, %(document)s, %(version)s, r.ordinal, %(source)s, r.title, r.kind, r.text, r.headings, r.grid, r.search_text,
  r.quarantine, true
from jsonb_to_recordset(%(rows)s::jsonb) r(id text, ordinal int, title text, kind text, text text, headings text[], grid jsonb,
  search_text text, quarantine text)

-- name: add_vector
insert into passage_vectors (tenant, id, document, hash, embedding)
values (%(tenant)s, %(id)s, %(document)s, %(hash)s, %(embedding)s::halfvec)

-- name: add_words
with added as (
  insert into passage_words (tenant, id, document, words, terms)
  select tenant, id, document, w.words, terms_of(tenant, w.words)
  from passages, lateral (select words_of(search_text) as words offset 0) w
  where tenant = %(tenant)s and document = %(document)s and version = %(version)s and quarantine is null
  returning words
), counted as (
  insert into lexemes as x (tenant, lexeme, passages)
  select %(tenant)s, t.lexeme collate "C", count(*) from added, unnest(tsvector_to_array(added.words)) t(lexeme) group by 2
  on conflict (tenant, lexeme) do update set passages = x.passages + excluded.passages
)
update knowledge set passages = knowledge.passages + n.passages, lexemes = knowledge.lexemes + n.lexemes
from (select count(*) as passages, coalesce(sum(length(words)), 0) as lexemes from added) n
where knowledge.tenant = %(tenant)s
returning knowledge.passages

-- name: search
-- (offset 0 keeps this one index lookup for each hit: a join would be planned for the thousand rows a function is thought to return)
select p.*, s.score, s.cosine, s.coverage
from search_passages(%(text)s, %(vector)s::halfvec, %(limit)s, %(ef)s, %(depth)s, %(reach)s) s, lateral (
  select id, document, source, title, kind, text, headings, grid, ordinal, version from passages
  where tenant = %(tenant)s and id = s.id offset 0
) p
order by s.score desc, s.id

-- name: passages
select id, document, source, title, kind, text, headings, grid, ordinal, version from passages
where tenant = %(tenant)s and id = any(%(ids)s)

-- name: current
select id from passages where tenant = %(tenant)s and id = any(%(ids)s) and current and quarantine is null

-- name: neighbours
select id, document, source, title, kind, text, headings, grid, ordinal, version from passages
where tenant = %(tenant)s and document = %(document)s and version = %(version)s and quarantine is null
  and ordinal between %(first)s and %(last)s
order by ordinal

-- name: all
select p.id, p.document, p.source, p.title, p.kind, p.text, p.headings, p.grid, p.ordinal, p.version, halfvec_send(v.embedding) as embedding
from passages p join passage_vectors v on v.tenant = p.tenant and v.id = p.id
where p.tenant = %(tenant)s and p.current and p.quarantine is null and (%(kinds)s::text[] is null or p.kind = any(%(kinds)s::text[]))
order by p.source, p.ordinal limit %(limit)s

-- name: quarantined
select id, document, source, title, kind, text, headings, grid, ordinal, version from passages
where tenant = %(tenant)s and current and quarantine is not null
order by source, ordinal

-- name: by_hash
select distinct on (hash) hash, halfvec_send(embedding) as embedding from passage_vectors
where tenant = %(tenant)s and hash = any(%(hashes)s)
