-- The hub's first schema. Valid for SQLite and PostgreSQL: the types are TEXT, BIGINT and BYTEA (the
-- runner writes BLOB for SQLite). Hashes are lower-case hex, times are milliseconds since 1970, truth values 0 or 1.

CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- Users and organisations share one space of names.
CREATE TABLE accounts (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    folded TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    full_name TEXT NOT NULL,
    email TEXT,
    password TEXT,
    is_site_admin BIGINT NOT NULL,
    is_disabled BIGINT NOT NULL,
    created_ms BIGINT NOT NULL
);

CREATE TABLE members (
    org TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    account TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    role TEXT NOT NULL,
    PRIMARY KEY (org, account)
);
CREATE INDEX members_account ON members (account);

CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    account TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    digest TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    expires_ms BIGINT,
    created_ms BIGINT NOT NULL
);
CREATE INDEX tokens_account ON tokens (account);

-- What a fine-grained token may do. A target is a namespace or a repository's id.
CREATE TABLE token_grants (
    token TEXT NOT NULL REFERENCES tokens (id) ON DELETE CASCADE,
    target TEXT NOT NULL,
    right_level BIGINT NOT NULL,
    PRIMARY KEY (token, target)
);

CREATE TABLE repos (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    owner TEXT NOT NULL REFERENCES accounts (id),
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    folded TEXT NOT NULL,
    created_by TEXT NOT NULL,
    is_private BIGINT NOT NULL,
    gated TEXT NOT NULL,
    downloads BIGINT NOT NULL,
    likes BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    modified_ms BIGINT NOT NULL,
    card TEXT NOT NULL,
    tags TEXT NOT NULL,
    sdk TEXT,
    UNIQUE (kind, folded)
);
CREATE INDEX repos_owner ON repos (owner);
CREATE INDEX repos_modified ON repos (kind, modified_ms);

-- Former names of repositories.
CREATE TABLE moved (
    kind TEXT NOT NULL,
    folded TEXT NOT NULL,
    repo TEXT NOT NULL REFERENCES repos (id) ON DELETE CASCADE,
    PRIMARY KEY (kind, folded)
);

CREATE TABLE repo_tags (
    repo TEXT NOT NULL REFERENCES repos (id) ON DELETE CASCADE,
    tag TEXT NOT NULL,
    PRIMARY KEY (repo, tag)
);
CREATE INDEX repo_tags_tag ON repo_tags (tag);

-- Full names: refs/heads/…, refs/tags/…, refs/pr/N.
CREATE TABLE refs (
    repo TEXT NOT NULL REFERENCES repos (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    target TEXT NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (repo, name)
);

CREATE TABLE commits (
    repo TEXT NOT NULL REFERENCES repos (id) ON DELETE CASCADE,
    oid TEXT NOT NULL,
    tree TEXT NOT NULL,
    parent TEXT,
    author TEXT NOT NULL,
    title TEXT NOT NULL,
    message TEXT NOT NULL,
    date_s BIGINT NOT NULL,
    raw BYTEA NOT NULL,
    -- Digest of the request that made it, by which a repeated request is known.
    request TEXT NOT NULL,
    PRIMARY KEY (repo, oid)
);

-- Git's tree objects, with what listings say about each entry beside them, so that a listing needs no other table.
CREATE TABLE trees (
    oid TEXT PRIMARY KEY,
    raw BYTEA NOT NULL,
    facts BYTEA NOT NULL
);

-- Git's blobs lie one after another in packs, one pack a commit, in the object store.
CREATE TABLE blobs (
    oid TEXT PRIMARY KEY,
    size BIGINT NOT NULL,
    pack TEXT NOT NULL,
    start BIGINT NOT NULL
);

-- Large files by the digest that git knows them by: as a Xet file, as a plain object, or both.
CREATE TABLE lfs_objects (
    sha256 TEXT PRIMARY KEY,
    size BIGINT NOT NULL,
    xet TEXT,
    is_stored BIGINT NOT NULL,
    created_ms BIGINT NOT NULL
);
CREATE INDEX lfs_objects_xet ON lfs_objects (xet);

-- Which repository may hand out which large file: its contents were shown to the hub by someone who may write there.
CREATE TABLE repo_lfs (
    repo TEXT NOT NULL REFERENCES repos (id) ON DELETE CASCADE,
    sha256 TEXT NOT NULL,
    is_committed BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (repo, sha256)
);
CREATE INDEX repo_lfs_sha256 ON repo_lfs (sha256);

CREATE TABLE xorbs (
    hash TEXT PRIMARY KEY,
    size BIGINT NOT NULL,
    -- Per chunk: hash, end offset in the xorb, end offset unpacked.
    chunks BYTEA NOT NULL,
    created_ms BIGINT NOT NULL
);

-- Who has shown a xorb's contents to the hub and may refer to it in any repository.
CREATE TABLE xorb_owners (
    xorb TEXT NOT NULL REFERENCES xorbs (hash) ON DELETE CASCADE,
    account TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
    PRIMARY KEY (xorb, account)
);

-- Chunks by which clients may find out that a xorb is here already.
CREATE TABLE dedup_chunks (
    chunk TEXT NOT NULL,
    xorb TEXT NOT NULL REFERENCES xorbs (hash) ON DELETE CASCADE,
    PRIMARY KEY (chunk, xorb)
);
CREATE INDEX dedup_chunks_xorb ON dedup_chunks (xorb);

CREATE TABLE xet_files (
    hash TEXT PRIMARY KEY,
    size BIGINT NOT NULL,
    sha256 TEXT NOT NULL,
    terms BYTEA NOT NULL,
    created_ms BIGINT NOT NULL
);

CREATE TABLE file_xorbs (
    file TEXT NOT NULL REFERENCES xet_files (hash) ON DELETE CASCADE,
    xorb TEXT NOT NULL REFERENCES xorbs (hash),
    PRIMARY KEY (xorb, file)
);
CREATE INDEX file_xorbs_file ON file_xorbs (file);

CREATE TABLE audit (
    id TEXT PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    actor TEXT NOT NULL,
    token TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    detail TEXT NOT NULL
);
CREATE INDEX audit_at ON audit (at_ms);
