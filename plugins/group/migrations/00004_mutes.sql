-- +goose Up
-- Mutes of people who went while they were muted: who comes back is muted still. The text between /*! and */ is a comment to
-- SQLite. Every statement may be run again.
CREATE TABLE IF NOT EXISTS group_mutes (
    group_id BIGINT NOT NULL,
    user_id BIGINT NOT NULL,
    until_ms BIGINT NOT NULL,
    PRIMARY KEY (group_id, user_id),
    CONSTRAINT group_mutes_people UNIQUE (user_id, group_id)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- +goose Down
DROP TABLE group_mutes;
