-- As migrations/sqlite/0008_identities.sql.
CREATE TABLE identities (
    name  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);
