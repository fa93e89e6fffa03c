-- Quotas, and logging in by device.

-- Bytes that an account's repositories may have; without a value there is no limit.
ALTER TABLE accounts ADD COLUMN quota BIGINT;

-- Bytes of git's blobs that came with a repository's commits, each time that they came.
ALTER TABLE repos ADD COLUMN git_bytes BIGINT NOT NULL DEFAULT 0;

-- Logins that wait for somebody to approve them on the hub's page.
CREATE TABLE device_logins (
    device_digest TEXT PRIMARY KEY,
    user_code TEXT NOT NULL UNIQUE,
    -- Name of the user who confirmed; empty while nobody has, '-' when it was refused.
    account TEXT NOT NULL,
    asked_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL
);

-- What nothing refers to, and since when: `gc` removes what has been here for long enough.
CREATE TABLE gc_marks (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    since_ms BIGINT NOT NULL,
    PRIMARY KEY (kind, id)
);
