-- The text between /*! and */ is a comment to SQLite and is run by MySQL and
-- MariaDB: compare octet by octet there too, so that devices "a" and "A" differ.
-- Every statement may be run again: MySQL commits each by itself, and a core that
-- is killed between two begins anew.

-- +goose Up
CREATE TABLE IF NOT EXISTS account_counters (
    name VARCHAR(16) NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

INSERT INTO account_counters (name, value)
SELECT first.name, first.value FROM (SELECT 'user' AS name, 100000 AS value) AS first
WHERE NOT EXISTS (SELECT 1 FROM account_counters);

CREATE TABLE IF NOT EXISTS account_users (
    id BIGINT NOT NULL PRIMARY KEY,
    name VARCHAR(32) NOT NULL,
    nickname VARCHAR(64) NOT NULL,
    password VARCHAR(255) NOT NULL,
    sign_ins BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    CONSTRAINT account_users_name UNIQUE (name)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

CREATE TABLE IF NOT EXISTS account_devices (
    user_id BIGINT NOT NULL,
    sign_in BIGINT NOT NULL,
    device_id VARCHAR(64) NOT NULL,
    device_type INTEGER NOT NULL,
    name VARCHAR(64) NOT NULL,
    token_hash VARCHAR(64) NOT NULL,
    signed_in_ms BIGINT NOT NULL,
    last_seen_ms BIGINT NOT NULL,
    PRIMARY KEY (user_id, sign_in),
    CONSTRAINT account_devices_token UNIQUE (token_hash),
    CONSTRAINT account_devices_device UNIQUE (user_id, device_id),
    CONSTRAINT account_devices_type UNIQUE (user_id, device_type),
    FOREIGN KEY (user_id) REFERENCES account_users (id)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- +goose Down
DROP TABLE account_devices;
DROP TABLE account_users;
DROP TABLE account_counters;
