-- Git's tag objects, of the tags that say more than which commit they mean. That commit is in refs.
CREATE TABLE tag_objects (
    repo TEXT NOT NULL,
    name TEXT NOT NULL,
    oid TEXT NOT NULL,
    raw BYTEA NOT NULL,
    PRIMARY KEY (repo, name),
    FOREIGN KEY (repo, name) REFERENCES refs (repo, name) ON DELETE CASCADE
);
CREATE INDEX tag_objects_oid ON tag_objects (repo, oid);
