-- +goose Up
-- What people said holds for all their conversations; who said nothing has no row.
CREATE TABLE IF NOT EXISTS chat_settings (
    user_id BIGINT NOT NULL PRIMARY KEY,
    read_receipts INTEGER NOT NULL
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- +goose Down
DROP TABLE chat_settings;
