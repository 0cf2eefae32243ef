-- As migrations/sqlite/0009_containment.sql.
ALTER TABLE orders ADD COLUMN directive TEXT;
ALTER TABLE orders ADD COLUMN approvals TEXT NOT NULL DEFAULT '[]';
ALTER TABLE orders ADD COLUMN approvers BIGINT NOT NULL DEFAULT 1;
CREATE INDEX orders_overdue ON orders (expires, order_id) WHERE state IN ('awaiting_approval', 'queued', 'delivered');
CREATE INDEX orders_containment ON orders (issued, order_id) WHERE directive IS NOT NULL
    AND state IN ('awaiting_approval', 'queued', 'delivered', 'accepted', 'running', 'holding');

CREATE TABLE automations (
    incident TEXT COLLATE "C" NOT NULL REFERENCES incidents (incident),
    agent    TEXT COLLATE "C" NOT NULL REFERENCES hosts (agent),
    due      BIGINT,
    version  BIGINT NOT NULL,
    stands   TEXT    NOT NULL,
    PRIMARY KEY (incident, agent)
);
CREATE INDEX automations_due ON automations (due, incident, agent) WHERE due IS NOT NULL;

CREATE TABLE consoles (
    agent       TEXT COLLATE "C" NOT NULL REFERENCES hosts (agent),
    id          TEXT COLLATE "C" NOT NULL,
    is_in_force BIGINT NOT NULL,
    told        BIGINT NOT NULL,
    version     BIGINT NOT NULL,
    view        TEXT    NOT NULL,
    PRIMARY KEY (agent, id)
);
CREATE INDEX consoles_told ON consoles (is_in_force DESC, told DESC, agent, id);
