-- Any number of devices of a type, and more of each. The table is made anew, since no
-- statement that drops an index, or adds a column, may be run again on MySQL: what was
-- copied takes the place of what was there. Whoever runs this again after a kill between two
-- statements finds either the one or the other, or, after the DROP, an empty old one.

-- +goose Up
CREATE TABLE IF NOT EXISTS account_devices_new (
    user_id BIGINT NOT NULL,
    sign_in BIGINT NOT NULL,
    device_id VARCHAR(64) NOT NULL,
    device_type INTEGER NOT NULL,
    name VARCHAR(64) NOT NULL,
    token_hash VARCHAR(64) NOT NULL,
    signed_in_ms BIGINT NOT NULL,
    last_seen_ms BIGINT NOT NULL,
    client VARCHAR(64) NOT NULL DEFAULT '',
    address VARCHAR(64) NOT NULL DEFAULT '',
    push_provider VARCHAR(16) NOT NULL DEFAULT '',
    push_token VARCHAR(1024) NOT NULL DEFAULT '',
    push_key VARCHAR(64) NULL,
    PRIMARY KEY (user_id, sign_in),
    CONSTRAINT account_devices_token UNIQUE (token_hash),
    CONSTRAINT account_devices_device UNIQUE (user_id, device_id),
    CONSTRAINT account_devices_push UNIQUE (push_key),
    FOREIGN KEY (user_id) REFERENCES account_users (id)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

CREATE TABLE IF NOT EXISTS account_devices (
    user_id BIGINT NOT NULL,
    sign_in BIGINT NOT NULL,
    device_id VARCHAR(64) NOT NULL,
    device_type INTEGER NOT NULL,
    name VARCHAR(64) NOT NULL,
    token_hash VARCHAR(64) NOT NULL,
    signed_in_ms BIGINT NOT NULL,
    last_seen_ms BIGINT NOT NULL
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

INSERT INTO account_devices_new (user_id, sign_in, device_id, device_type, name, token_hash, signed_in_ms, last_seen_ms)
SELECT o.user_id, o.sign_in, o.device_id, o.device_type, o.name, o.token_hash, o.signed_in_ms, o.last_seen_ms FROM account_devices o
WHERE NOT EXISTS (SELECT 1 FROM account_devices_new n WHERE n.user_id = o.user_id AND n.sign_in = o.sign_in);

DROP TABLE account_devices;

ALTER TABLE account_devices_new RENAME TO account_devices;

-- +goose Down
DROP TABLE account_devices;
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
    CONSTRAINT account_devices_token UNIQUE (token_hash),
    CONSTRAINT account_devices_device UNIQUE (user_id, device_id),
    CONSTRAINT account_devices_type UNIQUE (user_id, device_type),
    FOREIGN KEY (user_id) REFERENCES account_users (id)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;
