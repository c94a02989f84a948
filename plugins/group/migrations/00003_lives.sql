-- +goose Up
-- In which life of the timeline store the places from which a group's members read were looked at last. The text between
-- /*! and */ is a comment to SQLite. Every statement may be run again.
CREATE TABLE IF NOT EXISTS group_lives (
    group_id BIGINT NOT NULL PRIMARY KEY,
    epoch VARCHAR(64) NOT NULL
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- Members whose place was behind the log's end when the store was restored: after_seq is where it was, and joined_ms says of
-- which stay.
CREATE TABLE IF NOT EXISTS group_cuts (
    group_id BIGINT NOT NULL,
    user_id BIGINT NOT NULL,
    joined_ms BIGINT NOT NULL,
    after_seq BIGINT NOT NULL,
    PRIMARY KEY (group_id, user_id)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- +goose Down
DROP TABLE group_cuts;
DROP TABLE group_lives;
