-- Accounts that are disabled, or that their owners leave, and copies of what is kept of
-- people. As in 00001: every statement may be run again.

-- +goose Up
CREATE TABLE IF NOT EXISTS account_states (
    user_id BIGINT NOT NULL PRIMARY KEY,
    disabled_until_ms BIGINT NOT NULL,
    disabled_reason VARCHAR(200) NOT NULL,
    leaving INTEGER NOT NULL,
    erase_ms BIGINT NULL,
    CONSTRAINT account_states_erase UNIQUE (erase_ms, user_id),
    FOREIGN KEY (user_id) REFERENCES account_users (id)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

CREATE TABLE IF NOT EXISTS account_exports (
    user_id BIGINT NOT NULL,
    made_ms BIGINT NOT NULL,
    plugin VARCHAR(32) NOT NULL,
    part INTEGER NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (user_id, plugin, made_ms, part),
    CONSTRAINT account_exports_made UNIQUE (made_ms, user_id, plugin, part),
    FOREIGN KEY (user_id) REFERENCES account_users (id)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- +goose Down
DROP TABLE account_exports;
DROP TABLE account_states;
