-- What a pull request said when it was opened; its commits are at refs/pr/NUMBER.
CREATE TABLE pull_requests (
    repo TEXT NOT NULL REFERENCES repos (id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    title TEXT NOT NULL,
    description TEXT NOT NULL,
    -- Name of the user who opened it.
    author TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (repo, number)
);
