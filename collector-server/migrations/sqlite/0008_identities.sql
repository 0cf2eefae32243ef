-- What all servers that share these records must have in common, by name: digests and public keys.
CREATE TABLE identities (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
