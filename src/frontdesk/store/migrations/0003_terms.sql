-- Full-text candidates come from one index for all tenants. Its entries are lexemes hashed together with their tenant, so that a small
-- tenant never reads what a large one wrote, however common the word; matching a tenant's rows one by one cost more than their vectors.
--
-- When even the rarest word of a question stands in more than `reach` passages, candidates hold its two rarest words.

create function term_of(tenant text, lexeme text) returns int language sql immutable strict as $$
  select hashtext(tenant || ' ' || lexeme)
$$;

create function terms_of(tenant text, words tsvector) returns int[] language sql immutable strict
set search_path = frontdesk, pg_catalog as $$
  select coalesce(array_agg(term_of(tenant, lexeme)), '{}') from unnest(tsvector_to_array(words)) t(lexeme)
$$;

alter table passage_words no force row level security;
alter table passage_words add column terms int[] not null default '{}';
update passage_words set terms = terms_of(tenant, words);
alter table passage_words alter column terms drop default;
alter table passage_words force row level security;
create index passage_words_terms on passage_words using gin (terms) with (fastupdate = off);

grant create on schema frontdesk to frontdesk_search;
set local role frontdesk_search;
drop function search_passages(text, halfvec, int, int, int, int);
reset role;

create function search_passages(question text, asked halfvec, wanted int, ef int, depth int, reach int)
returns table (id text, score double precision, cosine double precision, coverage double precision)
language plpgsql volatile security definer set search_path = frontdesk, public, pg_temp as $$
declare
  me text := current_setting('frontdesk.tenant', true);
  known knowledge;
  dimensions int := vector_dims(asked);
  terms tsquery[];
  rare int[];
  rarest int[];
  weights double precision[];
  total double precision;
begin
  select * into known from knowledge k where k.tenant = me;
  if known.dimensions is null or known.passages = 0 then
    return;
  end if;
  if known.dimensions <> dimensions then
    raise exception 'the passages of tenant % have vectors of % numbers and the question has %: use the embedder that indexed them, or remove its documents and sync again',
      me, known.dimensions, dimensions;
  end if;
  with parts as (
    select coalesce(x.passages, 0) as df, term_of(me, l.lexeme) as term,
      ('''' || replace(replace(l.lexeme, '\', '\\'), '''', '''''') || '''') as quoted,
      ln(1 + (greatest(known.passages - coalesce(x.passages, 0), 0) + 0.5) / (coalesce(x.passages, 0) + 0.5))::double precision as idf
    from unnest(tsvector_to_array(words_of(left(question, 4000)))) l(lexeme)
    left join lexemes x on x.tenant = me and x.lexeme = l.lexeme collate "C"
  ), running as (
    select p.*, sum(df) over (order by df, quoted) as reached, row_number() over (order by df, quoted) as place from parts p where df > 0
  )
  select array_agg(quoted::tsquery order by place), array_agg(idf order by place), (select sum(idf) from parts),
    array_agg(term) filter (where reached <= reach), array_agg(term) filter (where place <= 2)
  into terms, weights, total, rare, rarest
  from running where place <= 32;

  perform set_config('hnsw.ef_search', ef::text, true), set_config('hnsw.iterative_scan', 'strict_order', true);
  return query execute format($query$
    with near as materialized (
      select v.id, v.embedding::halfvec(%1$s) <#> $1::halfvec(%1$s) as distance
      from passage_vectors v where v.tenant = %2$L
      order by v.embedding::halfvec(%1$s) <#> $1::halfvec(%1$s) limit $2
    ), candidates as materialized (
      select w.id, w.words from passage_words w where w.tenant = %2$L and w.terms %3$s $3 limit $4
    ), worded as (
      select c.id, m.matched / $7 as coverage, m.rank
      from candidates c, lateral (
        select sum(t.weight) as matched,
          -- ts_rank of one term saturates with its frequency as BM25 does, between 0.0608 and 0.1; the divisor is BM25's length norm.
          sum(t.weight * ts_rank(c.words, t.term)) / (1 + 1.2 * (0.25 + 0.75 * length(c.words) / $8)) as rank
        from unnest($5::tsquery[], $6::double precision[]) t(term, weight) where c.words @@ t.term
      ) m
      where m.rank > 0
      order by m.rank desc, c.id limit $2
    ), fused as (
      select coalesce(n.id, w.id) as id, coalesce(1.0 / (60 + n.place), 0) + coalesce(1.0 / (60 + w.place), 0) as score,
        n.distance, coalesce(w.coverage, 0) as coverage
      from (select near.id, near.distance, rank() over (order by near.distance) as place from near) n
      full join (select worded.id, worded.coverage, rank() over (order by worded.rank desc) as place from worded) w
        on w.id = n.id
      order by score desc, id limit $9
    )
    select f.id, f.score::double precision, -coalesce(f.distance, v.embedding <#> $1)::double precision, f.coverage::double precision
    from fused f join passage_vectors v on v.tenant = %2$L and v.id = f.id
    order by f.score desc, f.id
  $query$, dimensions, me, case when rare is null then '@>' else '&&' end)
  using asked, depth, coalesce(rare, rarest, array[0]), reach, coalesce(terms, '{}'), coalesce(weights, '{}'), coalesce(total, 1),
    greatest(known.lexemes::double precision / known.passages, 1), wanted;
end $$;

revoke execute on function search_passages(text, halfvec, int, int, int, int) from public;
grant execute on function search_passages(text, halfvec, int, int, int, int) to frontdesk_app;
alter function search_passages(text, halfvec, int, int, int, int) owner to frontdesk_search;
revoke create on schema frontdesk from frontdesk_search;
