-- The tables that migrations/sqlite/0001 to 0006 make, with the same names and columns: rows go from one database to the
-- other as they are. From here on each change is one file there and one here, under the same number.
--
-- Texts that are sorted or searched are compared byte by byte, as SQLite does, whatever the database's locale is.

-- What SQLite brings: the texts of a JSON list, one a row.
CREATE FUNCTION json_each(list TEXT) RETURNS TABLE (value TEXT) LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS 'SELECT jsonb_array_elements_text(list::jsonb)';

CREATE TABLE incidents (
    incident    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- Of INC-<year>-<number>; null in an id of another form.
    year        BIGINT,
    number      BIGINT,
    -- 4 for SEV1 to 1 for SEV4.
    severity    BIGINT NOT NULL CHECK (severity BETWEEN 1 AND 4),
    opened      BIGINT NOT NULL,
    updated     BIGINT NOT NULL,
    version     BIGINT NOT NULL,
    title       TEXT   NOT NULL,
    assessment  TEXT   NOT NULL,
    case_file   TEXT   NOT NULL DEFAULT '{}',
    watch_due   BIGINT,
    watch       TEXT   NOT NULL DEFAULT '{}',
    merged_into TEXT COLLATE "C" REFERENCES incidents (incident)
);
CREATE INDEX incidents_worst ON incidents (severity DESC, updated DESC, incident DESC);
CREATE INDEX incidents_number ON incidents (year, number);
CREATE INDEX incidents_watch ON incidents (watch_due, incident) WHERE watch_due IS NOT NULL;
CREATE INDEX incidents_merged ON incidents (merged_into) WHERE merged_into IS NOT NULL;

CREATE TABLE alerts (
    alert      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    source_ref TEXT COLLATE "C" NOT NULL,
    incident   TEXT COLLATE "C" REFERENCES incidents (incident),
    received   BIGINT NOT NULL,
    sent_by    TEXT   NOT NULL,
    title      TEXT   NOT NULL,
    correlated TEXT,
    raw_sha256 TEXT   NOT NULL,
    assessment TEXT   NOT NULL,
    normalised TEXT   NOT NULL,
    happened   BIGINT NOT NULL DEFAULT 0,
    keys       TEXT   NOT NULL DEFAULT '[]',
    -- UNIQUE, for texts that are longer than an entry of an ordered index may be.
    EXCLUDE USING hash (source_ref WITH =)
);
CREATE INDEX alerts_incident ON alerts (incident, received, alert);
CREATE INDEX alerts_received ON alerts (received, alert);

CREATE TABLE hosts (
    agent               TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    signer              TEXT   NOT NULL,
    enrolled            BIGINT NOT NULL,
    certificate_expires BIGINT NOT NULL,
    certificate_serials TEXT   NOT NULL,
    last_seen           BIGINT,
    revoked             BIGINT,
    facts               TEXT   NOT NULL
);

CREATE TABLE orders (
    order_id   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    agent      TEXT COLLATE "C" NOT NULL REFERENCES hosts (agent),
    incident   TEXT COLLATE "C" NOT NULL REFERENCES incidents (incident),
    state      TEXT   NOT NULL,
    nonce      TEXT COLLATE "C" NOT NULL,
    issued     BIGINT NOT NULL,
    expires    BIGINT NOT NULL,
    profile    TEXT   NOT NULL,
    sha256     TEXT   NOT NULL,
    bundle     TEXT,
    supersedes TEXT,
    envelope   TEXT   NOT NULL,
    events     TEXT   NOT NULL,
    UNIQUE (agent, nonce)
);
CREATE INDEX orders_incident ON orders (incident, issued, order_id);
CREATE INDEX orders_waiting ON orders (agent, issued, order_id) WHERE state IN ('queued', 'delivered');

CREATE TABLE evidence (
    bundle             TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    upload             TEXT COLLATE "C" NOT NULL UNIQUE,
    incident           TEXT COLLATE "C" NOT NULL REFERENCES incidents (incident),
    state              TEXT   NOT NULL,
    received           BIGINT NOT NULL,
    last_seen          BIGINT NOT NULL,
    byte_offset        BIGINT NOT NULL CHECK (byte_offset >= 0),
    byte_length        BIGINT CHECK (byte_length >= byte_offset),
    certificate_serial TEXT,
    signer             TEXT,
    view               TEXT   NOT NULL
);
CREATE INDEX evidence_incident ON evidence (incident, received, bundle);
CREATE INDEX evidence_received ON evidence (received, bundle);
CREATE INDEX evidence_state ON evidence (state, received, bundle);

CREATE TABLE segments (
    bundle      TEXT COLLATE "C" NOT NULL REFERENCES evidence (bundle),
    byte_offset BIGINT NOT NULL,
    byte_length BIGINT NOT NULL CHECK (byte_length > 0),
    PRIMARY KEY (bundle, byte_offset)
);

CREATE TABLE checkpoints (
    bundle   TEXT COLLATE "C" NOT NULL REFERENCES evidence (bundle),
    seq      BIGINT NOT NULL,
    line     TEXT   NOT NULL,
    receipt  TEXT   NOT NULL,
    envelope TEXT   NOT NULL,
    PRIMARY KEY (bundle, seq)
);

CREATE TABLE findings (
    bundle      TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES evidence (bundle),
    evaluated   BIGINT NOT NULL,
    byte_offset BIGINT NOT NULL CHECK (byte_offset >= 0),
    found       TEXT   NOT NULL,
    report      TEXT   NOT NULL
);

CREATE TABLE tickets (
    ticket     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    kind       TEXT   NOT NULL,
    created_by TEXT   NOT NULL,
    expires    BIGINT NOT NULL,
    host       TEXT,
    incident   TEXT COLLATE "C" REFERENCES incidents (incident),
    used_by    TEXT
);

CREATE TABLE tokens (
    token     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name      TEXT COLLATE "C" NOT NULL,
    role      TEXT   NOT NULL,
    hash      TEXT   NOT NULL,
    created   BIGINT NOT NULL,
    expires   BIGINT,
    revoked   BIGINT,
    signature TEXT,
    hmac_key  TEXT
);

CREATE TABLE sessions (
    session TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    token   TEXT COLLATE "C" NOT NULL REFERENCES tokens (token),
    expires BIGINT NOT NULL
);
CREATE INDEX sessions_token ON sessions (token);

CREATE TABLE pages (
    page     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    incident TEXT COLLATE "C" REFERENCES incidents (incident),
    state    TEXT   NOT NULL,
    channel  BIGINT NOT NULL,
    severity TEXT,
    is_held  BIGINT NOT NULL,
    created  BIGINT NOT NULL,
    due      BIGINT NOT NULL,
    version  BIGINT NOT NULL,
    view     TEXT   NOT NULL
);
CREATE INDEX pages_due ON pages (due, page) WHERE state = 'queued';
CREATE INDEX pages_incident ON pages (incident, created, page);
CREATE INDEX pages_created ON pages (created, page);

CREATE TABLE alert_keys (
    key      TEXT COLLATE "C" NOT NULL,
    incident TEXT COLLATE "C" NOT NULL,
    happened BIGINT NOT NULL,
    alert    TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (key, incident, happened, alert)
);
CREATE TABLE incident_keys (
    key      TEXT COLLATE "C" NOT NULL,
    incident TEXT COLLATE "C" NOT NULL,
    first    BIGINT NOT NULL,
    last     BIGINT NOT NULL,
    PRIMARY KEY (key, incident)
);

CREATE TABLE edits (
    edit          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    from_incident TEXT COLLATE "C" NOT NULL REFERENCES incidents (incident),
    to_incident   TEXT COLLATE "C" NOT NULL REFERENCES incidents (incident),
    made          BIGINT NOT NULL,
    by_person     BIGINT NOT NULL CHECK (by_person IN (0, 1)),
    record        TEXT   NOT NULL,
    undone        TEXT
);
CREATE INDEX edits_from ON edits (from_incident, made, edit);
CREATE INDEX edits_to ON edits (to_incident, made, edit);

CREATE TABLE dead_letters (
    letter       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    received     BIGINT NOT NULL,
    sent_by      TEXT   NOT NULL,
    ingest_token TEXT,
    source       TEXT,
    bytes        BIGINT NOT NULL,
    sha256       TEXT   NOT NULL,
    reason       TEXT   NOT NULL,
    replayed     BIGINT
);
CREATE INDEX dead_letters_received ON dead_letters (received, letter);

CREATE TABLE rules (
    id     BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    sha256 TEXT   NOT NULL
);
INSERT INTO rules (id, sha256) VALUES (1, '');

-- The custody log: an RFC 6962 tree over the texts of its leaves.
CREATE TABLE leaves (
    seq      BIGINT NOT NULL PRIMARY KEY,
    incident TEXT COLLATE "C",
    hash     TEXT   NOT NULL,
    text     TEXT   NOT NULL
);
CREATE INDEX leaves_incident ON leaves (incident, seq) WHERE incident IS NOT NULL;
CREATE FUNCTION custody_is_append_only() RETURNS trigger LANGUAGE plpgsql
    AS 'BEGIN RAISE EXCEPTION ''the custody log is append-only''; END';
CREATE TRIGGER leaves_are_never_changed BEFORE UPDATE ON leaves FOR EACH ROW EXECUTE FUNCTION custody_is_append_only();
CREATE TRIGGER leaves_are_never_removed BEFORE DELETE ON leaves FOR EACH ROW EXECUTE FUNCTION custody_is_append_only();
CREATE TRIGGER leaves_are_never_emptied BEFORE TRUNCATE ON leaves EXECUTE FUNCTION custody_is_append_only();

-- One row: the number of leaves, and the roots of the complete subtrees, 32 bytes each, the largest first. Whoever writes
-- holds it: servers write one after the other.
CREATE TABLE custody (
    id       BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    size     BIGINT NOT NULL,
    frontier BYTEA  NOT NULL
);
INSERT INTO custody (id, size, frontier) VALUES (1, 0, '');
