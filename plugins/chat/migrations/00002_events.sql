-- +goose Up
-- What other plugins filed for people to be told, until it is told. core is who filed it, and tells it
-- at once; everybody does after after_ms. tries counts what failed; below 0: it cannot be told, see the log.
CREATE TABLE IF NOT EXISTS chat_events (
    id VARCHAR(16) NOT NULL PRIMARY KEY,
    core VARCHAR(16) NOT NULL,
    people VARCHAR(255) NOT NULL,
    actor BIGINT NOT NULL,
    name VARCHAR(64) NOT NULL,
    data TEXT NOT NULL,
    after_ms BIGINT NOT NULL,
    tries INTEGER NOT NULL,
    UNIQUE (core, tries, id),
    UNIQUE (after_ms, id)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- +goose Down
DROP TABLE chat_events;
