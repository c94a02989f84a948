-- The text between /*! and */ is a comment to SQLite and is run by MySQL and
-- MariaDB: compare octet by octet there too. Every statement may be run again.

-- +goose Up
-- A row for each person who has anything here. Whoever changes what is kept of somebody has
-- locked it, of several people in the order of their IDs, by counting version up.
CREATE TABLE IF NOT EXISTS social_people (
    user_id BIGINT NOT NULL PRIMARY KEY,
    version BIGINT NOT NULL,
    floor BIGINT NOT NULL,
    friends INTEGER NOT NULL,
    gone INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    received INTEGER NOT NULL,
    blocks INTEGER NOT NULL,
    groups_made BIGINT NOT NULL,
    strangers INTEGER NOT NULL,
    applying INTEGER NOT NULL,
    question VARCHAR(200) NOT NULL,
    hide_seen INTEGER NOT NULL
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- Lists of friends: state 0 in it no more, 1 each in the other's, 2 in it, but its owner is not
-- in the other's. UNIQUE with the primary key in it is an index and no more.
CREATE TABLE IF NOT EXISTS social_friends (
    user_id BIGINT NOT NULL,
    friend_id BIGINT NOT NULL,
    state INTEGER NOT NULL,
    alias VARCHAR(64) NOT NULL,
    group_id BIGINT NOT NULL,
    since_ms BIGINT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (user_id, friend_id),
    UNIQUE (user_id, version, friend_id),
    UNIQUE (friend_id, user_id)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- The latest application of one person to another: state as on the wire, 5 pending, but
-- only who applied sees it, 8 and 9 withdrawn and expired likewise. until_ms is when it expires, or once it has ended is forgotten.
CREATE TABLE IF NOT EXISTS social_applications (
    from_id BIGINT NOT NULL,
    to_id BIGINT NOT NULL,
    state INTEGER NOT NULL,
    remark VARCHAR(200) NOT NULL,
    question VARCHAR(200) NOT NULL,
    answer VARCHAR(200) NOT NULL,
    made_ms BIGINT NOT NULL,
    ended_ms BIGINT NOT NULL,
    until_ms BIGINT NOT NULL,
    PRIMARY KEY (from_id, to_id),
    UNIQUE (from_id, made_ms, to_id),
    UNIQUE (to_id, made_ms, from_id),
    UNIQUE (until_ms, from_id, to_id)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

CREATE TABLE IF NOT EXISTS social_blocks (
    user_id BIGINT NOT NULL,
    blocked_id BIGINT NOT NULL,
    since_ms BIGINT NOT NULL,
    PRIMARY KEY (user_id, blocked_id),
    UNIQUE (blocked_id, user_id)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

CREATE TABLE IF NOT EXISTS social_groups (
    user_id BIGINT NOT NULL,
    group_id BIGINT NOT NULL,
    name VARCHAR(32) NOT NULL,
    place INTEGER NOT NULL,
    PRIMARY KEY (user_id, group_id)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- When people were online last; apart from the other tables, so that no change waits.
CREATE TABLE IF NOT EXISTS social_seen (
    user_id BIGINT NOT NULL PRIMARY KEY,
    seen_ms BIGINT NOT NULL
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- +goose Down
DROP TABLE social_seen;
DROP TABLE social_groups;
DROP TABLE social_blocks;
DROP TABLE social_applications;
DROP TABLE social_friends;
DROP TABLE social_people;
