-- Matching: what programs and agents are about as words, what is suggested to whom, what was asked for and paid,
-- and whose suggestions are to be made again.
-- Safe beside the old version: new tables, and columns that compute themselves.

-- English stems, so that `founders` finds `founder`; a word of a name or a niche stands above one of a description.
ALTER TABLE programs ADD COLUMN match_words TSVECTOR NOT NULL GENERATED ALWAYS AS (
    setweight(to_tsvector('english', name || ' ' || COALESCE(niche, '')), 'A')
    || setweight(to_tsvector('english', COALESCE(description, '')), 'B')) STORED;
CREATE INDEX programs_match_words_idx ON programs USING gin (match_words);
CREATE INDEX programs_match_niche_idx
    ON programs (lower(niche), (COALESCE(epc_micros, -1)) DESC, id DESC) WHERE status = 'active';
CREATE INDEX programs_match_epc_idx ON programs ((COALESCE(epc_micros, -1)) DESC, id DESC) WHERE status = 'active';
CREATE INDEX programs_match_new_idx ON programs (created_at DESC, id DESC) WHERE status = 'active';

ALTER TABLE agents ADD COLUMN match_words TSVECTOR NOT NULL GENERATED ALWAYS AS (
    setweight(to_tsvector('english', name || ' ' || COALESCE(niche, '')), 'A')
    || setweight(to_tsvector('english', COALESCE(description, '')), 'B')) STORED;
CREATE INDEX agents_match_words_idx ON agents USING gin (match_words) WHERE deleted_at IS NULL;
CREATE INDEX agents_match_niche_idx ON agents (lower(niche), created_at DESC, id DESC) WHERE deleted_at IS NULL;

CREATE TABLE match_suggestions (
    id                UUID        NOT NULL,
    -- Who could promote it.
    agent_id          UUID        NOT NULL,
    program_id        UUID        NOT NULL,
    -- 0 to 1, in millionths.
    score_millionths  INTEGER     NOT NULL,
    reasons           TEXT[]      NOT NULL,
    status            TEXT        NOT NULL DEFAULT 'pending',
    created_at        TIMESTAMPTZ NOT NULL,
    updated_at        TIMESTAMPTZ NOT NULL,
    responded_at      TIMESTAMPTZ,
    CONSTRAINT match_suggestions_pkey PRIMARY KEY (id),
    -- One per pair, for good: a declined one does not come back.
    CONSTRAINT match_suggestions_agent_id_program_id_key UNIQUE (agent_id, program_id),
    CONSTRAINT match_suggestions_agent_id_fk FOREIGN KEY (agent_id) REFERENCES agents (id),
    CONSTRAINT match_suggestions_program_id_fk FOREIGN KEY (program_id) REFERENCES programs (id) ON DELETE CASCADE,
    CONSTRAINT match_suggestions_score_check CHECK (score_millionths BETWEEN 0 AND 1000000),
    CONSTRAINT match_suggestions_reasons_check CHECK (cardinality(reasons) BETWEEN 1 AND 12),
    CONSTRAINT match_suggestions_status_check CHECK (status IN ('pending', 'accepted', 'declined')),
    CONSTRAINT match_suggestions_responded_at_check CHECK ((status = 'pending') = (responded_at IS NULL))
);
CREATE INDEX match_suggestions_agent_id_idx ON match_suggestions (agent_id, created_at DESC, id DESC);
CREATE INDEX match_suggestions_program_id_idx ON match_suggestions (program_id);

-- When an agent was last charged for a query: asking again soon is free.
CREATE TABLE match_requests (
    agent_id   UUID        NOT NULL,
    query      TEXT        NOT NULL,
    charged_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT match_requests_pkey PRIMARY KEY (agent_id, query),
    CONSTRAINT match_requests_agent_id_fk FOREIGN KEY (agent_id) REFERENCES agents (id)
);
CREATE INDEX match_requests_charged_at_idx ON match_requests (charged_at);

-- Whose suggestions are to be made: written in the transaction of the change, taken by a job.
CREATE TABLE match_outbox (
    id         BIGINT      NOT NULL GENERATED ALWAYS AS IDENTITY,
    subject    TEXT        NOT NULL,
    subject_id UUID        NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    CONSTRAINT match_outbox_pkey PRIMARY KEY (id),
    CONSTRAINT match_outbox_subject_check CHECK (subject IN ('agent', 'program'))
);
CREATE INDEX match_outbox_subject_idx ON match_outbox (subject, subject_id);

-- Whoever writes an agent or a program: what matching looks at has changed.
CREATE FUNCTION match_agent_again() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO match_outbox (subject, subject_id, created_at) VALUES ('agent', NEW.id, NEW.updated_at);
    RETURN NULL;
END $$;
CREATE TRIGGER agents_match_new AFTER INSERT ON agents
    FOR EACH ROW EXECUTE FUNCTION match_agent_again();
CREATE TRIGGER agents_match_changed AFTER UPDATE ON agents
    FOR EACH ROW WHEN (NEW.deleted_at IS NULL AND (NEW.name, NEW.description, NEW.niche, NEW.audience_type)
                       IS DISTINCT FROM (OLD.name, OLD.description, OLD.niche, OLD.audience_type))
    EXECUTE FUNCTION match_agent_again();

CREATE FUNCTION match_program_again() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO match_outbox (subject, subject_id, created_at) VALUES ('program', NEW.id, NEW.updated_at);
    RETURN NULL;
END $$;
CREATE TRIGGER programs_match_new AFTER INSERT ON programs
    FOR EACH ROW WHEN (NEW.status = 'active') EXECUTE FUNCTION match_program_again();
CREATE TRIGGER programs_match_changed AFTER UPDATE ON programs
    FOR EACH ROW WHEN (NEW.status = 'active' AND (NEW.name, NEW.description, NEW.niche, NEW.audience_type, NEW.status)
                       IS DISTINCT FROM (OLD.name, OLD.description, OLD.niche, OLD.audience_type, OLD.status))
    EXECUTE FUNCTION match_program_again();

-- Published of a program, taken by the job that takes `epc_micros`; NULL while too little has happened.
ALTER TABLE programs
    -- Of decided conversions of 90 days, those not rejected, in hundredths of a percent.
    ADD COLUMN approval_bp       INTEGER,
    -- From a commission to its payment, in tenths of a day: the mean of 90 days.
    ADD COLUMN days_to_pay_tenths INTEGER,
    -- Whether the advertiser's wallet holds something, and at least what it owes to affiliates.
    ADD COLUMN funded            BOOLEAN NOT NULL DEFAULT FALSE,
    ADD CONSTRAINT programs_approval_bp_check CHECK (approval_bp BETWEEN 0 AND 10000),
    ADD CONSTRAINT programs_days_to_pay_tenths_check CHECK (days_to_pay_tenths >= 0);
