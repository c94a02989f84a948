-- +goose Up
-- How far it is in each life of the timeline store, with having erased again what a restore may have brought back: which
-- messages are seen to, 0 those that were recalled, 1 those that disappear, 2 all of them, and behind which place. The text
-- between /*! and */ is a comment to SQLite. Every statement may be run again.
CREATE TABLE IF NOT EXISTS chat_restores (
    epoch VARCHAR(64) NOT NULL PRIMARY KEY,
    stage INTEGER NOT NULL,
    conversation VARCHAR(128) NOT NULL,
    seq BIGINT NOT NULL
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- +goose Down
DROP TABLE chat_restores;
