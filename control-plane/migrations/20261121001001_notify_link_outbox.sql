-- The link publisher is woken by each change instead of finding it at its next look.
-- Safe while the previous version runs: a notification nobody listens to costs nothing.

CREATE FUNCTION notify_link_outbox() RETURNS TRIGGER
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('link_outbox', '');
    RETURN NULL;
END $$;
CREATE TRIGGER link_outbox_notify
    AFTER INSERT ON link_outbox
    FOR EACH STATEMENT EXECUTE FUNCTION notify_link_outbox();
