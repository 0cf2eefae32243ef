-- As migrations/sqlite/0010_hosts.sql.
ALTER TABLE hosts ADD COLUMN version BIGINT NOT NULL DEFAULT 1;
ALTER TABLE hosts ADD COLUMN marks TEXT NOT NULL DEFAULT '{}';
ALTER TABLE hosts ADD COLUMN beat TEXT;
ALTER TABLE hosts ADD COLUMN silent BIGINT;
ALTER TABLE hosts ADD COLUMN went_back BIGINT;
ALTER TABLE hosts ADD COLUMN gone BIGINT;
CREATE INDEX hosts_marked ON hosts (agent) WHERE marks <> '{}';
CREATE INDEX hosts_heard ON hosts (last_seen, agent) WHERE silent IS NULL AND revoked IS NULL AND gone IS NULL;
