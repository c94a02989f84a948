-- +goose Up
-- Where conversations whose messages come into an inbox when their person asks stand in his list: among what came into it
-- by at_inbox, since the newest is that old. Of use while last_inbox is as in chat_conversations. The text between
-- /*! and */ is a comment to SQLite. Every statement may be run again.
CREATE TABLE IF NOT EXISTS chat_listed_at (
    user_id BIGINT NOT NULL,
    conversation VARCHAR(64) NOT NULL,
    last_inbox BIGINT NOT NULL,
    at_inbox BIGINT NOT NULL,
    PRIMARY KEY (user_id, conversation)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- +goose Down
DROP TABLE chat_listed_at;
