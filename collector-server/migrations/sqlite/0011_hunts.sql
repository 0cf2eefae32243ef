-- One profile over many hosts. `record` is JSON (`store::HuntRecord`).
CREATE TABLE hunts (
    hunt     TEXT    NOT NULL PRIMARY KEY,
    incident TEXT    NOT NULL REFERENCES incidents (incident),
    is_open  INTEGER NOT NULL,
    created  INTEGER NOT NULL,
    version  INTEGER NOT NULL,
    record   TEXT    NOT NULL
) STRICT;
CREATE INDEX hunts_open ON hunts (created, hunt) WHERE is_open = 1;
CREATE INDEX hunts_created ON hunts (created, hunt);

-- The orders of hunts. One that was not released waits for its turn: no agent gets it.
CREATE TABLE hunt_orders (
    order_id TEXT    NOT NULL PRIMARY KEY REFERENCES orders (order_id),
    hunt     TEXT    NOT NULL REFERENCES hunts (hunt),
    wave     INTEGER NOT NULL,
    released INTEGER
) STRICT;
CREATE INDEX hunt_orders_hunt ON hunt_orders (hunt, wave, order_id);
