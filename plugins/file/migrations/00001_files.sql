-- The text between /*! and */ is a comment to SQLite and is run by MySQL and
-- MariaDB: compare octet by octet there too. Every statement may be run again.
-- UNIQUE with the primary key in it is an index and no more.

-- +goose Up
-- state: 0 waits for the upload and its commit, 1 is ready, 2 goes: whoever made it so
-- deletes the octets, then the row. Whoever changes a file or its references has locked its
-- row by changing it. refs counts its rows in file_references. due_ms is when the collector
-- is to look at it, NULL while refs is not 0. Until until_ms octets may come by its ticket.
CREATE TABLE IF NOT EXISTS file_files (
    id VARCHAR(26) NOT NULL PRIMARY KEY,
    owner BIGINT NOT NULL,
    name VARCHAR(255) NOT NULL,
    type VARCHAR(100) NOT NULL,
    size BIGINT NOT NULL,
    sha256 VARCHAR(64) NOT NULL,
    made_ms BIGINT NOT NULL,
    until_ms BIGINT NOT NULL,
    state INTEGER NOT NULL,
    refs BIGINT NOT NULL,
    due_ms BIGINT,
    UNIQUE (owner, state, made_ms, id),
    UNIQUE (due_ms, id)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- What refers to files: "moment:…", "account:…", "chat:…".
CREATE TABLE IF NOT EXISTS file_references (
    file_id VARCHAR(26) NOT NULL,
    holder VARCHAR(128) NOT NULL,
    PRIMARY KEY (file_id, holder),
    UNIQUE (holder, file_id)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- What a person asked tickets for on a day, in days since 1970.
CREATE TABLE IF NOT EXISTS file_quotas (
    user_id BIGINT NOT NULL PRIMARY KEY,
    day BIGINT NOT NULL,
    files BIGINT NOT NULL,
    octets BIGINT NOT NULL
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- +goose Down
DROP TABLE file_quotas;
DROP TABLE file_references;
DROP TABLE file_files;
