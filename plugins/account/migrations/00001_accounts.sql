-- The text between /*! and */ is a comment to SQLite and is run by MySQL and
-- MariaDB: compare octet by octet there too, so that devices "a" and "A" differ.

-- +goose Up
CREATE TABLE account_counters (
    name VARCHAR(16) NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

INSERT INTO account_counters (name, value) VALUES ('user', 100000);

CREATE TABLE account_users (
    id BIGINT NOT NULL PRIMARY KEY,
    name VARCHAR(32) NOT NULL,
    nickname VARCHAR(64) NOT NULL,
    password VARCHAR(255) NOT NULL,
    sign_ins BIGINT NOT NULL,
    created_ms BIGINT NOT NULL
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

CREATE UNIQUE INDEX account_users_name ON account_users (name);

CREATE TABLE account_devices (
    user_id BIGINT NOT NULL,
    sign_in BIGINT NOT NULL,
    device_id VARCHAR(64) NOT NULL,
    device_type INTEGER NOT NULL,
    name VARCHAR(64) NOT NULL,
    token_hash VARCHAR(64) NOT NULL,
    signed_in_ms BIGINT NOT NULL,
    last_seen_ms BIGINT NOT NULL,
    PRIMARY KEY (user_id, sign_in),
    FOREIGN KEY (user_id) REFERENCES account_users (id)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

CREATE UNIQUE INDEX account_devices_token ON account_devices (token_hash);
CREATE UNIQUE INDEX account_devices_device ON account_devices (user_id, device_id);
CREATE UNIQUE INDEX account_devices_type ON account_devices (user_id, device_type);

-- +goose Down
DROP TABLE account_devices;
DROP TABLE account_users;
DROP TABLE account_counters;
