-- Requests counted for rate limits, by all servers on one PostgreSQL; SQLite has one server, which counts by itself.
-- Counts may get lost with the machine: UNLOGGED, which the runner leaves out for SQLite, keeps them off the disk.
CREATE UNLOGGED TABLE rates (
    caller TEXT NOT NULL,
    -- Number of the window since 1970.
    span BIGINT NOT NULL,
    requests BIGINT NOT NULL,
    PRIMARY KEY (caller, span)
);
