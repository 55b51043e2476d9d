-- Events: the trace of what wrote them, so that their deliveries go on with it. Null without tracing.
-- The version before this one writes and reads rows without it. Rows are not looked at: those there are have none,
-- and with a lock on events nobody could write any meanwhile.

ALTER TABLE events
    ADD COLUMN trace_context TEXT,
    ADD CONSTRAINT events_trace_context_check
        CHECK (trace_context ~ '^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$') NOT VALID;
ALTER TABLE link_outbox
    ADD COLUMN trace_context TEXT,
    ADD CONSTRAINT link_outbox_trace_context_check
        CHECK (trace_context ~ '^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$') NOT VALID;
