-- +goose Up
-- After how long messages of a conversation disappear; of one that nobody settled there is no row. The text between
-- /*! and */ is a comment to SQLite. Every statement may be run again.
CREATE TABLE IF NOT EXISTS chat_lifetimes (
    conversation VARCHAR(64) NOT NULL PRIMARY KEY,
    lifetime_ms BIGINT NOT NULL,
    set_by BIGINT NOT NULL,
    set_ms BIGINT NOT NULL
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- The parts of logs in which messages disappear, until all of theirs have: a sweep is through with what came up to
-- swept_seq, and somebody has to go on at next_ms. A part ends at through_seq, 0: nobody has found out where; when
-- closed_ms is 0 it has no end yet. epoch is the store's life whose seqs these are.
CREATE TABLE IF NOT EXISTS chat_sweeps (
    id VARCHAR(16) NOT NULL PRIMARY KEY,
    conversation VARCHAR(128) NOT NULL,
    lifetime_ms BIGINT NOT NULL,
    closed_ms BIGINT NOT NULL,
    through_seq BIGINT NOT NULL,
    swept_seq BIGINT NOT NULL,
    epoch VARCHAR(64) NOT NULL,
    next_ms BIGINT NOT NULL,
    UNIQUE (next_ms, id),
    UNIQUE (conversation, id)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- +goose Down
DROP TABLE chat_sweeps;
DROP TABLE chat_lifetimes;
