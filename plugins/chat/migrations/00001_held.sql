-- The text between /*! and */ is a comment to SQLite and is run by MySQL and
-- MariaDB: compare octet by octet there too. Every statement may be run again.

-- +goose Up
-- Messages that wait for a decision, and, for a day, those that were denied.
CREATE TABLE IF NOT EXISTS chat_held (
    id VARCHAR(16) NOT NULL PRIMARY KEY,
    sender BIGINT NOT NULL,
    conversation VARCHAR(64) NOT NULL,
    place BIGINT NOT NULL,
    client_id VARCHAR(64) NOT NULL,
    digest VARCHAR(64) NOT NULL,
    kind INTEGER NOT NULL,
    content TEXT NOT NULL,
    rewritten INTEGER NOT NULL,
    shadowed INTEGER NOT NULL,
    state INTEGER NOT NULL,
    queue VARCHAR(64) NOT NULL,
    rule VARCHAR(255) NOT NULL,
    allow INTEGER NOT NULL,
    held_ms BIGINT NOT NULL,
    until_ms BIGINT NOT NULL,
    reason VARCHAR(255) NOT NULL,
    decided_by VARCHAR(64) NOT NULL,
    UNIQUE (sender, client_id),
    UNIQUE (sender, conversation, place),
    UNIQUE (state, until_ms, id)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- A row for each sender and conversation that has any of them. Whoever adds, changes or
-- takes away one has locked it.
CREATE TABLE IF NOT EXISTS chat_held_lines (
    sender BIGINT NOT NULL,
    conversation VARCHAR(64) NOT NULL,
    begun VARCHAR(16) NOT NULL,
    moving INTEGER NOT NULL,
    idle INTEGER NOT NULL,
    changes BIGINT NOT NULL,
    PRIMARY KEY (sender, conversation)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- +goose Down
DROP TABLE chat_held_lines;
DROP TABLE chat_held;
