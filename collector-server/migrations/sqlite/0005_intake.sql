-- Requests whose alerts could not be taken in. Their bytes are the objects `dead-letters/<letter>`.
CREATE TABLE dead_letters (
    letter       TEXT    NOT NULL PRIMARY KEY,
    received     INTEGER NOT NULL,
    sent_by      TEXT    NOT NULL,
    ingest_token TEXT,
    source       TEXT,
    bytes        INTEGER NOT NULL,
    sha256       TEXT    NOT NULL,
    reason       TEXT    NOT NULL,
    replayed     INTEGER
) STRICT;
CREATE INDEX dead_letters_received ON dead_letters (received, letter);

-- How a source signs its requests, and with which key (base64). The key goes when the token is withdrawn.
ALTER TABLE tokens ADD COLUMN signature TEXT;
ALTER TABLE tokens ADD COLUMN hmac_key TEXT;

-- One row: the digest of the rules of triage that were last in force.
CREATE TABLE rules (
    id     INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    sha256 TEXT    NOT NULL
) STRICT;
INSERT INTO rules (id, sha256) VALUES (1, '');
