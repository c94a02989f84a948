-- +goose Up
-- Who follows which logs, by a fake Messages; through_seq -1: without an end. The text between /*! and */ is a
-- comment to SQLite.
CREATE TABLE IF NOT EXISTS stubs_followed (
    id INTEGER NOT NULL PRIMARY KEY /*! AUTO_INCREMENT */,
    conversation VARCHAR(64) NOT NULL,
    user_id BIGINT NOT NULL,
    after_seq BIGINT NOT NULL,
    through_seq BIGINT NOT NULL
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- +goose Down
DROP TABLE stubs_followed;
