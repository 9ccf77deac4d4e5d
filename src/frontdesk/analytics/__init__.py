"""What the log says about the desk: sentiment, summaries, insight, scores, the resolution ledger, and help for agents while they talk.

For those who build on it (console, server, commands): `service.Analytics(store, tenants, embedder=, model=, library=)` is the one way in;
the server keeps one (`access.Desk.analytics`). All methods take the tenant first:

- `report(t, Period(...)) -> metrics.Report` (`.readings`, `.outcomes`), `series(t, figure, bucket, period)`, `split(t, figure, by, period)`,
  `behind(t, figure, period, counted=) -> [Seen]`, `seen(t, period)`, `export(t, period) -> csv`, `mood(t, bucket, by=, period=) -> [MoodRow]`
- `inside(t, conversation, phrased=) -> Inside` (row, outcome, summary, tones, trend, score, labels), `customer(t, id) -> CustomerSummary`
- `scores(t, period=, flag=)`, `label(t, conversation, passed=, by=, criterion=, note=)`, `to_label(t)`, `calibration(t, criterion=)`
- `themes(t, period)`, `contradictions(t)`, `stale(t, period)`, `draft(t, gap)`, `recalls(t, source, title=)`
- `help(t, conversation) -> assist.Help`, `wording(t, text, conversation)`, `closing_note(t, conversation, agent)`
- `run()`: the consumer in process; `refresh(t)`: count what is new now

The parts below it, pure or nearly so: `sentiment.Sentiment`, `metrics` (definitions: `metrics.FIGURES`, `metrics.MEANING`), `folding.fold_row`,
`summary.summarise`, `criteria` and `score`, `insight`, `contradictions`, `assist`.
"""
