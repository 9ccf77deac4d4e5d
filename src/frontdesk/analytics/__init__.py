"""What the log says about the desk: sentiment, summaries, insight, scores, the resolution ledger, and help for agents while they talk.

For those who build on it (console, server, commands); all of it works on one tenant at a time:

- `sentiment.Sentiment.load()`; `.of(texts, vectors) -> list[Tone(label, score)]`; `.read(texts, embedder)`; `trend(tones) -> Trend`
- `metrics.Row`, `metrics.FIGURES`, `metrics.figures(rows, *, now, days) -> Report`, `metrics.series(...)`, `metrics.outcome(row, now)`
- `folding.Analyst(store, embedder).catch_up(tenant)`, `.run(tenants)`: keeps ledger and tones in step with the log
- `store.for_tenant(t).ledger`: `rows(since=, until=, ...)`, `tones(...)`, `scores(...)`, `labels(...)`
- `summary.summarise(events) -> Summary`, `summary.of_customer(...)`, `summary.phrase(summary, model)`
- `insight.themes(...)`, `insight.contradictions(...)`, `insight.stale(...)`, `insight.draft_faq(...)`, `insight.recall(...)`
- `score.score(events, rubric) -> Score`, `score.rubric_of(tenant)`, `score.calibrate(labels, scores) -> Calibration`
- `assist.Assistant(...).help(conversation) -> Help`, `assist.check_wording(text, ...)`, `assist.closing_note(summary)`
"""
