-- +goose Up
-- Groups that are, or were, larger than messages are written to the inboxes of: their members follow the log. The
-- text between /*! and */ is a comment to SQLite. Every statement may be run again.
CREATE TABLE IF NOT EXISTS group_logs (
    group_id BIGINT NOT NULL PRIMARY KEY,
    since_ms BIGINT NOT NULL
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- +goose Down
DROP TABLE group_logs;
