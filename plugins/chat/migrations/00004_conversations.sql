-- +goose Up
-- How far a person's list of conversations follows his inbox and his receipts.
CREATE TABLE IF NOT EXISTS chat_lists (
    user_id BIGINT NOT NULL PRIMARY KEY,
    epoch VARCHAR(64) NOT NULL,
    inbox BIGINT NOT NULL,
    receipts BIGINT NOT NULL
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- The conversations of a person. last_inbox and last_seq are of its newest message; what came up to
-- since_seq, read_seq or floor_seq is not unread, and what came up to floor_seq is not shown. It is hidden
-- while last_inbox is not beyond hidden.
CREATE TABLE IF NOT EXISTS chat_conversations (
    user_id BIGINT NOT NULL,
    conversation VARCHAR(64) NOT NULL,
    last_inbox BIGINT NOT NULL,
    last_seq BIGINT NOT NULL,
    since_seq BIGINT NOT NULL,
    read_seq BIGINT NOT NULL,
    floor_seq BIGINT NOT NULL,
    pinned INTEGER NOT NULL,
    mute INTEGER NOT NULL,
    hidden BIGINT NOT NULL,
    draft TEXT NOT NULL,
    PRIMARY KEY (user_id, conversation),
    UNIQUE (user_id, pinned, last_inbox, conversation)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- +goose Down
DROP TABLE chat_conversations;
DROP TABLE chat_lists;
