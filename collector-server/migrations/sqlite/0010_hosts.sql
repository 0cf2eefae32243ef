-- What people have set about a host, as JSON (`wire::host::HostMarks`); its version, which counts the writes of the whole
-- record; and how it is heard: its last beat as JSON, when it was found silent, when its beat went back, when it was
-- removed.
ALTER TABLE hosts ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
ALTER TABLE hosts ADD COLUMN marks TEXT NOT NULL DEFAULT '{}';
ALTER TABLE hosts ADD COLUMN beat TEXT;
ALTER TABLE hosts ADD COLUMN silent INTEGER;
ALTER TABLE hosts ADD COLUMN went_back INTEGER;
ALTER TABLE hosts ADD COLUMN gone INTEGER;
CREATE INDEX hosts_marked ON hosts (agent) WHERE marks <> '{}';
CREATE INDEX hosts_heard ON hosts (last_seen, agent) WHERE silent IS NULL AND revoked IS NULL AND gone IS NULL;
