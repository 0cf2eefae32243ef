-- Which alerts belong to which incident: what ties them, and the changes that people and the server made.

-- When it happened, in seconds since the epoch, and under which keys others find it, as a JSON list.
ALTER TABLE alerts ADD COLUMN happened INTEGER NOT NULL DEFAULT 0;
ALTER TABLE alerts ADD COLUMN keys TEXT NOT NULL DEFAULT '[]';
DROP INDEX alerts_received;
CREATE INDEX alerts_received ON alerts (received, alert);

-- A row for each key of each alert that belongs to an incident.
CREATE TABLE alert_keys (
    key      TEXT    NOT NULL,
    incident TEXT    NOT NULL,
    happened INTEGER NOT NULL,
    alert    TEXT    NOT NULL,
    PRIMARY KEY (key, incident, happened, alert)
) STRICT, WITHOUT ROWID;
-- The first and the last of them: however many alerts share a key, an incident is looked at once.
CREATE TABLE incident_keys (
    key      TEXT    NOT NULL,
    incident TEXT    NOT NULL,
    first    INTEGER NOT NULL,
    last     INTEGER NOT NULL,
    PRIMARY KEY (key, incident)
) STRICT, WITHOUT ROWID;

-- The incident that took its alerts over.
ALTER TABLE incidents ADD COLUMN merged_into TEXT REFERENCES incidents (incident);
CREATE INDEX incidents_merged ON incidents (merged_into) WHERE merged_into IS NOT NULL;

CREATE TABLE edits (
    edit          TEXT    NOT NULL PRIMARY KEY,
    from_incident TEXT    NOT NULL REFERENCES incidents (incident),
    to_incident   TEXT    NOT NULL REFERENCES incidents (incident),
    made          INTEGER NOT NULL,
    -- 1 when a person made it or took it back.
    by_person     INTEGER NOT NULL CHECK (by_person IN (0, 1)),
    -- `wire::case::Edit` without `undone`.
    record        TEXT    NOT NULL,
    undone        TEXT
) STRICT;
CREATE INDEX edits_from ON edits (from_incident, made, edit);
CREATE INDEX edits_to ON edits (to_incident, made, edit);
