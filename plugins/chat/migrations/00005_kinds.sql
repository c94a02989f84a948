-- +goose Up
-- What a held message is beside its kind and text, as base64 of a chatpb.Content; of a plain text there is no row.
CREATE TABLE IF NOT EXISTS chat_held_bodies (
    held_id VARCHAR(16) NOT NULL PRIMARY KEY,
    body TEXT NOT NULL
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- Places of a person's conversation, as "5 8-12", behind what he has seen: seqs that are not counted as
-- unread, since they are events, or recalled, and those that name him.
CREATE TABLE IF NOT EXISTS chat_marks (
    owner_id BIGINT NOT NULL,
    marked VARCHAR(64) NOT NULL,
    uncounted TEXT NOT NULL,
    mentions TEXT NOT NULL,
    PRIMARY KEY (owner_id, marked)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- +goose Down
DROP TABLE chat_marks;
DROP TABLE chat_held_bodies;
