-- The text between /*! and */ is a comment to SQLite and is run by MySQL and
-- MariaDB: compare octet by octet there too.
-- Every statement may be run again: MySQL commits each by itself, and a core that
-- is killed between two begins anew.

-- +goose Up
CREATE TABLE IF NOT EXISTS group_counters (
    name VARCHAR(16) NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

INSERT INTO group_counters (name, value)
SELECT first.name, first.value FROM (SELECT 'group' AS name, 100000 AS value) AS first
WHERE NOT EXISTS (SELECT 1 FROM group_counters);

CREATE TABLE IF NOT EXISTS group_groups (
    id BIGINT NOT NULL PRIMARY KEY,
    creator_id BIGINT NOT NULL,
    client_id VARCHAR(64) NOT NULL,
    name VARCHAR(64) NOT NULL,
    avatar VARCHAR(500) NOT NULL,
    description VARCHAR(500) NOT NULL,
    announcement VARCHAR(500) NOT NULL,
    owner_id BIGINT NOT NULL,
    policy INTEGER NOT NULL,
    question VARCHAR(200) NOT NULL,
    answer VARCHAR(200) NOT NULL,
    history INTEGER NOT NULL,
    history_last INTEGER NOT NULL,
    slow_mode_ms BIGINT NOT NULL,
    muted_until_ms BIGINT NOT NULL,
    member_permissions INTEGER NOT NULL,
    members INTEGER NOT NULL,
    dissolved INTEGER NOT NULL,
    created_ms BIGINT NOT NULL,
    version BIGINT NOT NULL,
    events BIGINT NOT NULL,
    CONSTRAINT group_groups_made UNIQUE (creator_id, client_id)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

CREATE TABLE IF NOT EXISTS group_members (
    group_id BIGINT NOT NULL,
    user_id BIGINT NOT NULL,
    role INTEGER NOT NULL,
    permissions INTEGER NOT NULL,
    alias VARCHAR(64) NOT NULL,
    notify INTEGER NOT NULL,
    muted_until_ms BIGINT NOT NULL,
    joined_ms BIGINT NOT NULL,
    after_seq BIGINT NOT NULL,
    invited_by BIGINT NOT NULL,
    PRIMARY KEY (group_id, user_id),
    CONSTRAINT group_members_roles UNIQUE (group_id, role, user_id),
    CONSTRAINT group_members_groups UNIQUE (user_id, group_id)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

CREATE TABLE IF NOT EXISTS group_requests (
    group_id BIGINT NOT NULL,
    user_id BIGINT NOT NULL,
    invited_by BIGINT NOT NULL,
    remark VARCHAR(200) NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    PRIMARY KEY (group_id, user_id),
    CONSTRAINT group_requests_people UNIQUE (user_id, group_id),
    CONSTRAINT group_requests_ends UNIQUE (expires_ms, group_id, user_id)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

CREATE TABLE IF NOT EXISTS group_bans (
    group_id BIGINT NOT NULL,
    user_id BIGINT NOT NULL,
    until_ms BIGINT NOT NULL,
    by_id BIGINT NOT NULL,
    reason VARCHAR(200) NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (group_id, user_id),
    CONSTRAINT group_bans_people UNIQUE (user_id, group_id)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

CREATE TABLE IF NOT EXISTS group_outbox (
    group_id BIGINT NOT NULL,
    number BIGINT NOT NULL,
    actor_id BIGINT NOT NULL,
    name VARCHAR(64) NOT NULL,
    data TEXT NOT NULL,
    audience TEXT NOT NULL,
    PRIMARY KEY (group_id, number)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- +goose Down
DROP TABLE group_outbox;
DROP TABLE group_bans;
DROP TABLE group_requests;
DROP TABLE group_members;
DROP TABLE group_groups;
DROP TABLE group_counters;
