-- Who may do what. The application is no owner, no superuser, and cannot step around row-level security.
-- frontdesk_app: everything the program does for a tenant.  frontdesk_tail: reads the log of all tenants, for consumers of the log.
-- frontdesk_search, frontdesk_erase: own one function each; nobody can log in as them.

do $$
declare
  relation text;
  helper text;
begin
  foreach relation in array array['conversations', 'events', 'turns', 'keys', 'gaps', 'audit', 'blobs', 'knowledge', 'documents',
                                  'passages', 'passage_vectors', 'passage_words', 'lexemes'] loop
    call protect(relation::regclass);
  end loop;
  foreach relation in array array['passage_vectors', 'passage_words', 'lexemes', 'knowledge'] loop
    execute format('create policy search on %I for select to frontdesk_search using (true)', relation);
  end loop;
  create policy tail on events for select to frontdesk_tail using (true);

  grant usage on schema frontdesk to frontdesk_app, frontdesk_tail, frontdesk_search, frontdesk_erase;
  grant select, insert, update, delete on conversations, turns, gaps, blobs, knowledge, documents, passage_vectors, passage_words, lexemes
    to frontdesk_app;
  grant select, insert, update on keys, passages to frontdesk_app;
  grant select, insert on events, audit to frontdesk_app;
  grant usage, select on sequence events_position to frontdesk_app;
  grant select on events to frontdesk_tail;
  grant select on sequence events_position to frontdesk_tail;
  grant select on passage_vectors, passage_words, lexemes, knowledge to frontdesk_search;
  grant select, delete on conversations, events, turns, gaps to frontdesk_erase;

  foreach helper in array array['search_passages(text, halfvec, int, int, int, int)', 'erase_conversations(text, text)'] loop
    execute format('revoke execute on function %s from public', helper);
    execute format('grant execute on function %s to frontdesk_app', helper);
  end loop;
  grant create on schema frontdesk to frontdesk_search, frontdesk_erase;
  alter function search_passages(text, halfvec, int, int, int, int) owner to frontdesk_search;
  alter function erase_conversations(text, text) owner to frontdesk_erase;
  revoke create on schema frontdesk from frontdesk_search, frontdesk_erase;
end $$;
