-- What people say of themselves, beside their nickname. Whoever has no row has the defaults.
-- As in 00001: every statement may be run again.

-- +goose Up
CREATE TABLE IF NOT EXISTS account_profiles (
    user_id BIGINT NOT NULL PRIMARY KEY,
    handle VARCHAR(32) NULL,
    handle_changed_ms BIGINT NOT NULL,
    nickname_key VARCHAR(64) NOT NULL,
    avatar VARCHAR(512) NOT NULL,
    gender INTEGER NOT NULL,
    birthday VARCHAR(10) NOT NULL,
    signature VARCHAR(200) NOT NULL,
    city VARCHAR(64) NOT NULL,
    language VARCHAR(64) NOT NULL,
    found_by INTEGER NOT NULL,
    hidden INTEGER NOT NULL,
    CONSTRAINT account_profiles_handle UNIQUE (handle),
    CONSTRAINT account_profiles_nickname UNIQUE (nickname_key, user_id),
    FOREIGN KEY (user_id) REFERENCES account_users (id)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- Names that nobody else may have until a time: handles given up, and the accounts and
-- handles of people who were erased.
CREATE TABLE IF NOT EXISTS account_reserved (
    name VARCHAR(32) NOT NULL PRIMARY KEY,
    user_id BIGINT NOT NULL,
    until_ms BIGINT NOT NULL,
    CONSTRAINT account_reserved_until UNIQUE (until_ms, name)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- Those who were there before are found by their nickname as well.
INSERT INTO account_profiles (user_id, handle, handle_changed_ms, nickname_key, avatar, gender, birthday, signature, city, language, found_by, hidden)
SELECT u.id, NULL, 0, lower(u.nickname), '', 0, '', '', '', '', 7, 0 FROM account_users u
WHERE NOT EXISTS (SELECT 1 FROM account_profiles p WHERE p.user_id = u.id);

-- +goose Down
DROP TABLE account_reserved;
DROP TABLE account_profiles;
