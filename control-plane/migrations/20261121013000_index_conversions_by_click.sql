-- Explaining a click looks for the conversions it led to. Few conversions name a click, so the index is small;
-- nothing else changes, so the version before this one keeps working.

CREATE INDEX conversions_click_id_idx ON conversions (click_id) WHERE click_id IS NOT NULL;
