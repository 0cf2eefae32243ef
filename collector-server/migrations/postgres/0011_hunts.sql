-- As migrations/sqlite/0011_hunts.sql.
CREATE TABLE hunts (
    hunt     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    incident TEXT COLLATE "C" NOT NULL REFERENCES incidents (incident),
    is_open  BIGINT  NOT NULL,
    created  BIGINT  NOT NULL,
    version  BIGINT  NOT NULL,
    record   TEXT    NOT NULL
);
CREATE INDEX hunts_open ON hunts (created, hunt) WHERE is_open = 1;
CREATE INDEX hunts_created ON hunts (created, hunt);

-- The orders of hunts. One that was not released waits for its turn: no agent gets it.
CREATE TABLE hunt_orders (
    order_id TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES orders (order_id),
    hunt     TEXT COLLATE "C" NOT NULL REFERENCES hunts (hunt),
    wave     BIGINT  NOT NULL,
    released BIGINT
);
CREATE INDEX hunt_orders_hunt ON hunt_orders (hunt, wave, order_id);
