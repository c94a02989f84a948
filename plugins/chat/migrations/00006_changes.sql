-- +goose Up
-- What became of messages; of one of which nothing became there is no row. conversation is the log in which it
-- is stored. message_id says of which life of the timeline store. content is how it reads since it was edited;
-- reactions are lines "reaction count".
CREATE TABLE IF NOT EXISTS chat_changes (
    conversation VARCHAR(128) NOT NULL,
    seq BIGINT NOT NULL,
    message_id VARCHAR(16) NOT NULL,
    revision BIGINT NOT NULL,
    recalled_by BIGINT NOT NULL,
    recalled_ms BIGINT NOT NULL,
    version INTEGER NOT NULL,
    edited_ms BIGINT NOT NULL,
    content TEXT NOT NULL,
    reactions TEXT NOT NULL,
    PRIMARY KEY (conversation, seq)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- How edited messages read, from the second version on: the first is in the log.
CREATE TABLE IF NOT EXISTS chat_versions (
    conversation VARCHAR(128) NOT NULL,
    seq BIGINT NOT NULL,
    version INTEGER NOT NULL,
    content TEXT NOT NULL,
    since_ms BIGINT NOT NULL,
    PRIMARY KEY (conversation, seq, version)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- Who reacted how.
CREATE TABLE IF NOT EXISTS chat_reactions (
    conversation VARCHAR(128) NOT NULL,
    seq BIGINT NOT NULL,
    reaction VARCHAR(64) NOT NULL,
    user_id BIGINT NOT NULL,
    time_ms BIGINT NOT NULL,
    PRIMARY KEY (conversation, seq, reaction, user_id),
    UNIQUE (user_id, conversation, seq, reaction)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- +goose Down
DROP TABLE chat_reactions;
DROP TABLE chat_versions;
DROP TABLE chat_changes;
