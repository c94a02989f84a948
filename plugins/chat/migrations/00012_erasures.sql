-- +goose Up
-- Recalled messages whose bodies are in the timeline store still, until due_ms. message_id says of which life of the store.
-- The text between /*! and */ is a comment to SQLite. Every statement may be run again.
CREATE TABLE IF NOT EXISTS chat_erasures (
    conversation VARCHAR(128) NOT NULL,
    seq BIGINT NOT NULL,
    message_id VARCHAR(16) NOT NULL,
    due_ms BIGINT NOT NULL,
    PRIMARY KEY (conversation, seq, message_id),
    UNIQUE (due_ms, conversation, seq, message_id)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- What was recalled before: due 24 hours after its recall, as keep_recalled is unless it is set.
INSERT INTO chat_erasures (conversation, seq, message_id, due_ms)
SELECT conversation, seq, message_id, recalled_ms + 86400000 FROM chat_changes AS c WHERE recalled_ms > 0
AND NOT EXISTS (SELECT 1 FROM chat_erasures AS e WHERE e.conversation = c.conversation AND e.seq = c.seq AND e.message_id = c.message_id);

-- +goose Down
DROP TABLE chat_erasures;
