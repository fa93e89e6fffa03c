-- Quotas, and logging in by device.

-- Bytes that an account's repositories may have; without a value there is no limit.
ALTER TABLE accounts ADD COLUMN quota BIGINT;

-- Logins that wait for somebody to approve them on the hub's page.
CREATE TABLE device_logins (
    device_digest TEXT PRIMARY KEY,
    user_code TEXT NOT NULL UNIQUE,
    -- The account that approved; empty while nobody has, '-' when it was refused.
    account TEXT NOT NULL,
    asked_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL
);
