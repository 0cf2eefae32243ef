-- The server's records. Times are nanoseconds since the epoch, digests lower-case hex, ids their text; what no query
-- looks into is JSON. Evidence and alerts themselves lie in the object store.

CREATE TABLE incidents (
    incident   TEXT    NOT NULL PRIMARY KEY,
    -- Of INC-<year>-<number>; null in an id of another form.
    year       INTEGER,
    number     INTEGER,
    -- 4 for SEV1 to 1 for SEV4.
    severity   INTEGER NOT NULL CHECK (severity BETWEEN 1 AND 4),
    opened     INTEGER NOT NULL,
    updated    INTEGER NOT NULL,
    version    INTEGER NOT NULL,
    title      TEXT    NOT NULL,
    assessment TEXT    NOT NULL
) STRICT;
CREATE INDEX incidents_worst ON incidents (severity DESC, updated DESC, incident DESC);
CREATE INDEX incidents_number ON incidents (year, number);

CREATE TABLE alerts (
    alert      TEXT    NOT NULL PRIMARY KEY,
    source_ref TEXT    NOT NULL UNIQUE,
    incident   TEXT    REFERENCES incidents (incident),
    received   INTEGER NOT NULL,
    sent_by    TEXT    NOT NULL,
    title      TEXT    NOT NULL,
    correlated TEXT,
    raw_sha256 TEXT    NOT NULL,
    assessment TEXT    NOT NULL,
    normalised TEXT    NOT NULL
) STRICT;
CREATE INDEX alerts_incident ON alerts (incident, received, alert);
CREATE INDEX alerts_received ON alerts (received, alert) WHERE incident IS NOT NULL;

CREATE TABLE hosts (
    agent               TEXT    NOT NULL PRIMARY KEY,
    signer              TEXT    NOT NULL,
    enrolled            INTEGER NOT NULL,
    certificate_expires INTEGER NOT NULL,
    certificate_serials TEXT    NOT NULL,
    last_seen           INTEGER,
    revoked             INTEGER,
    facts               TEXT    NOT NULL
) STRICT;

CREATE TABLE orders (
    order_id   TEXT    NOT NULL PRIMARY KEY,
    agent      TEXT    NOT NULL REFERENCES hosts (agent),
    incident   TEXT    NOT NULL REFERENCES incidents (incident),
    state      TEXT    NOT NULL,
    nonce      TEXT    NOT NULL,
    issued     INTEGER NOT NULL,
    expires    INTEGER NOT NULL,
    profile    TEXT    NOT NULL,
    sha256     TEXT    NOT NULL,
    bundle     TEXT,
    supersedes TEXT,
    envelope   TEXT    NOT NULL,
    events     TEXT    NOT NULL,
    UNIQUE (agent, nonce)
) STRICT;
CREATE INDEX orders_incident ON orders (incident, issued, order_id);
CREATE INDEX orders_waiting ON orders (agent, issued, order_id) WHERE state IN ('queued', 'delivered');

CREATE TABLE evidence (
    bundle             TEXT    NOT NULL PRIMARY KEY,
    upload             TEXT    NOT NULL UNIQUE,
    incident           TEXT    NOT NULL REFERENCES incidents (incident),
    state              TEXT    NOT NULL,
    received           INTEGER NOT NULL,
    last_seen          INTEGER NOT NULL,
    byte_offset        INTEGER NOT NULL CHECK (byte_offset >= 0),
    byte_length        INTEGER CHECK (byte_length >= byte_offset),
    certificate_serial TEXT,
    signer             TEXT,
    view               TEXT    NOT NULL
) STRICT;
CREATE INDEX evidence_incident ON evidence (incident, received, bundle);
CREATE INDEX evidence_received ON evidence (received, bundle);
CREATE INDEX evidence_state ON evidence (state, received, bundle);

-- One row an object `evidence/<bundle>/<offset>`.
CREATE TABLE segments (
    bundle      TEXT    NOT NULL REFERENCES evidence (bundle),
    byte_offset INTEGER NOT NULL,
    byte_length INTEGER NOT NULL CHECK (byte_length > 0),
    PRIMARY KEY (bundle, byte_offset)
) STRICT, WITHOUT ROWID;

CREATE TABLE checkpoints (
    bundle   TEXT    NOT NULL REFERENCES evidence (bundle),
    seq      INTEGER NOT NULL,
    line     TEXT    NOT NULL,
    receipt  TEXT    NOT NULL,
    envelope TEXT    NOT NULL,
    PRIMARY KEY (bundle, seq)
) STRICT;

CREATE TABLE tickets (
    ticket     TEXT    NOT NULL PRIMARY KEY,
    kind       TEXT    NOT NULL,
    created_by TEXT    NOT NULL,
    expires    INTEGER NOT NULL,
    host       TEXT,
    incident   TEXT    REFERENCES incidents (incident),
    used_by    TEXT
) STRICT;

CREATE TABLE tokens (
    token   TEXT    NOT NULL PRIMARY KEY,
    name    TEXT    NOT NULL,
    role    TEXT    NOT NULL,
    hash    TEXT    NOT NULL,
    created INTEGER NOT NULL,
    expires INTEGER,
    revoked INTEGER
) STRICT;

CREATE TABLE sessions (
    session TEXT    NOT NULL PRIMARY KEY,
    token   TEXT    NOT NULL REFERENCES tokens (token),
    expires INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_token ON sessions (token);

-- The custody log: an RFC 6962 tree over the texts of its leaves.
CREATE TABLE leaves (
    seq      INTEGER NOT NULL PRIMARY KEY,
    incident TEXT,
    hash     TEXT    NOT NULL,
    text     TEXT    NOT NULL
) STRICT;
CREATE INDEX leaves_incident ON leaves (incident, seq) WHERE incident IS NOT NULL;
CREATE TRIGGER leaves_are_never_changed BEFORE UPDATE ON leaves BEGIN
    SELECT RAISE(ABORT, 'the custody log is append-only');
END;
CREATE TRIGGER leaves_are_never_removed BEFORE DELETE ON leaves BEGIN
    SELECT RAISE(ABORT, 'the custody log is append-only');
END;

-- One row: the number of leaves, and the roots of the complete subtrees, 32 bytes each, the largest first.
CREATE TABLE custody (
    id       INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    size     INTEGER NOT NULL,
    frontier BLOB    NOT NULL
) STRICT;
INSERT INTO custody (id, size, frontier) VALUES (1, 0, x'');
