-- Who is to be told of an incident, or was. `view` is what people are shown (`wire::api::PageView`).
CREATE TABLE pages (
    page     TEXT    NOT NULL PRIMARY KEY,
    incident TEXT    REFERENCES incidents (incident),
    state    TEXT    NOT NULL,
    channel  INTEGER NOT NULL,
    severity TEXT,
    is_held  INTEGER NOT NULL,
    created  INTEGER NOT NULL,
    due      INTEGER NOT NULL,
    version  INTEGER NOT NULL,
    view     TEXT    NOT NULL
) STRICT;
CREATE INDEX pages_due ON pages (due, page) WHERE state = 'queued';
CREATE INDEX pages_incident ON pages (incident, created, page);
CREATE INDEX pages_created ON pages (created, page);

-- When an incident is to be looked at: 0 is at once. Those that were there before are not, until something changes them:
-- nobody is woken for old incidents by a new version. `watch` is what the escalation remembers, as JSON.
ALTER TABLE incidents ADD COLUMN watch_due INTEGER;
ALTER TABLE incidents ADD COLUMN watch TEXT NOT NULL DEFAULT '{}';
CREATE INDEX incidents_watch ON incidents (watch_due, incident) WHERE watch_due IS NOT NULL;
