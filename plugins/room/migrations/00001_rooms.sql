-- The text between /*! and */ is a comment to SQLite and is run by MySQL and
-- MariaDB: compare octet by octet there too, so that rooms "a" and "A" differ.
-- Every statement may be run again: MySQL commits each by itself, and a core that
-- is killed between two begins anew.

-- +goose Up
CREATE TABLE IF NOT EXISTS room_rooms (
    name VARCHAR(64) NOT NULL PRIMARY KEY,
    title VARCHAR(64) NOT NULL,
    announcement VARCHAR(500) NOT NULL,
    owner_id BIGINT NOT NULL,
    slow_mode_ms BIGINT NOT NULL,
    muted INTEGER NOT NULL,
    closed INTEGER NOT NULL,
    overload INTEGER NOT NULL,
    low_per_second INTEGER NOT NULL,
    created_ms BIGINT NOT NULL,
    changes BIGINT NOT NULL
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

CREATE TABLE IF NOT EXISTS room_people (
    room VARCHAR(64) NOT NULL,
    user_id BIGINT NOT NULL,
    role INTEGER NOT NULL,
    muted_until_ms BIGINT NOT NULL,
    banned_until_ms BIGINT NOT NULL,
    PRIMARY KEY (room, user_id),
    FOREIGN KEY (room) REFERENCES room_rooms (name)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- +goose Down
DROP TABLE room_people;
DROP TABLE room_rooms;
