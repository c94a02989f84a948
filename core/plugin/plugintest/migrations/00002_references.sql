-- +goose Up
-- Who refers to which files, by a fake Files. The text between /*! and */ is a comment to SQLite.
CREATE TABLE IF NOT EXISTS stubs_references (
    holder VARCHAR(128) NOT NULL,
    file_id VARCHAR(26) NOT NULL,
    PRIMARY KEY (holder, file_id)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- +goose Down
DROP TABLE stubs_references;
