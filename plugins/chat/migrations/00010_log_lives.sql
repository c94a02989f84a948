-- +goose Up
-- Where the logs that people follow ended as lives of the timeline store began: head_seq is how long a log was before its
-- first message in the life epoch, place counts a log's lives. The text between /*! and */ is a comment to SQLite. Every
-- statement may be run again.
CREATE TABLE IF NOT EXISTS chat_log_lives (
    conversation VARCHAR(64) NOT NULL,
    epoch VARCHAR(64) NOT NULL,
    head_seq BIGINT NOT NULL,
    place BIGINT NOT NULL,
    PRIMARY KEY (conversation, epoch)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- +goose Down
DROP TABLE chat_log_lives;
