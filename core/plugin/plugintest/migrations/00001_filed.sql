-- +goose Up
-- What was filed through a fake Messages, in order. The text between /*! and */ is a
-- comment to SQLite.
CREATE TABLE IF NOT EXISTS stubs_filed (
    id INTEGER NOT NULL PRIMARY KEY /*! AUTO_INCREMENT */,
    event TEXT NOT NULL
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- +goose Down
DROP TABLE stubs_filed;
