-- Reports of what agents tracked, by program, runtime and event. Indexes only.

CREATE INDEX attribution_events_program_id_idx ON attribution_events (program_id, created_at DESC, id DESC);
CREATE INDEX verifications_event_id_idx ON verifications (event_id) WHERE event_id IS NOT NULL;
