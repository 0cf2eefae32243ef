-- What the rules made of each bundle the last time, and of how many of its bytes.
CREATE TABLE findings (
    bundle      TEXT    NOT NULL PRIMARY KEY REFERENCES evidence (bundle),
    evaluated   INTEGER NOT NULL,
    byte_offset INTEGER NOT NULL CHECK (byte_offset >= 0),
    found       TEXT    NOT NULL,
    report      TEXT    NOT NULL
) STRICT;
