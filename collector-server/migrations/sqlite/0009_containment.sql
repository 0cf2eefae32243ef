-- Containment orders are orders with a directive (JSON); `approvers` must approve, the signer included, before an agent is
-- handed one.
ALTER TABLE orders ADD COLUMN directive TEXT;
ALTER TABLE orders ADD COLUMN approvals TEXT NOT NULL DEFAULT '[]';
ALTER TABLE orders ADD COLUMN approvers INTEGER NOT NULL DEFAULT 1;
CREATE INDEX orders_overdue ON orders (expires, order_id) WHERE state IN ('awaiting_approval', 'queued', 'delivered');
CREATE INDEX orders_containment ON orders (issued, order_id) WHERE directive IS NOT NULL
    AND state IN ('awaiting_approval', 'queued', 'delivered', 'accepted', 'running', 'holding');

-- What automation does about one host of one incident. `due` is null at its end; `stands` is JSON.
CREATE TABLE automations (
    incident TEXT    NOT NULL REFERENCES incidents (incident),
    agent    TEXT    NOT NULL REFERENCES hosts (agent),
    due      INTEGER,
    version  INTEGER NOT NULL,
    stands   TEXT    NOT NULL,
    PRIMARY KEY (incident, agent)
) STRICT;
CREATE INDEX automations_due ON automations (due, incident, agent) WHERE due IS NOT NULL;

-- What root did at the consoles of hosts, without an order. `view` is what people are shown (`wire::api::ConsoleView`).
CREATE TABLE consoles (
    agent       TEXT    NOT NULL REFERENCES hosts (agent),
    id          TEXT    NOT NULL,
    is_in_force INTEGER NOT NULL,
    told        INTEGER NOT NULL,
    version     INTEGER NOT NULL,
    view        TEXT    NOT NULL,
    PRIMARY KEY (agent, id)
) STRICT;
CREATE INDEX consoles_told ON consoles (is_in_force DESC, told DESC, agent, id);
