-- +goose Up
-- Messages of a person's conversation that disappear, behind what he has seen: spans of seqs and until when they are there, in ms,
-- as "5@1790000000000 8-12@1790000060000". The text between /*! and */ is a comment to SQLite. Every statement may be run again.
CREATE TABLE IF NOT EXISTS chat_fading (
    reader_id BIGINT NOT NULL,
    fades VARCHAR(64) NOT NULL,
    spans TEXT NOT NULL,
    PRIMARY KEY (reader_id, fades)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- +goose Down
DROP TABLE chat_fading;
