-- +goose Up
-- The logs that people follow: what is in no inbox comes into theirs when they ask, behind after_seq, through
-- through_seq; 0: without an end. epoch is the store's life whose seqs these are. The text between /*! and */ is a
-- comment to SQLite. Every statement may be run again.
CREATE TABLE IF NOT EXISTS chat_follows (
    user_id BIGINT NOT NULL,
    conversation VARCHAR(64) NOT NULL,
    after_seq BIGINT NOT NULL,
    through_seq BIGINT NOT NULL,
    epoch VARCHAR(64) NOT NULL,
    PRIMARY KEY (user_id, conversation, after_seq)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- +goose Down
DROP TABLE chat_follows;
