-- The text between /*! and */ is a comment to SQLite and is run by MySQL and
-- MariaDB: compare octet by octet there too. Every statement may be run again.
-- UNIQUE with the primary key in it is an index and no more.

-- +goose Up
-- A row for each person who ever published. Whoever publishes has locked it by counting up.
-- No moment of the author's has a greater ID than last_id.
CREATE TABLE IF NOT EXISTS moment_authors (
    user_id BIGINT NOT NULL PRIMARY KEY,
    published BIGINT NOT NULL,
    last_id VARCHAR(16) NOT NULL
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- Whoever changes a moment, its likes or comments has locked its row by changing it. state: 0 published, 1 waits for a reviewer, 2 refused. feed is 1 if friends may see the
-- moment, as far as the lists in moment_lists say; square is 1 if everybody may. Both
-- follow from state and visibility, and are there for the indexes.
CREATE TABLE IF NOT EXISTS moment_moments (
    id VARCHAR(16) NOT NULL PRIMARY KEY,
    author BIGINT NOT NULL,
    client_id VARCHAR(64) NOT NULL,
    digest VARCHAR(64) NOT NULL,
    made_ms BIGINT NOT NULL,
    text TEXT NOT NULL,
    media TEXT NOT NULL,
    visibility INTEGER NOT NULL,
    state INTEGER NOT NULL,
    reason VARCHAR(200) NOT NULL,
    feed INTEGER NOT NULL,
    square INTEGER NOT NULL,
    likes BIGINT NOT NULL,
    comments BIGINT NOT NULL,
    UNIQUE (author, client_id),
    UNIQUE (author, id),
    UNIQUE (author, feed, id, visibility),
    UNIQUE (author, square, id),
    UNIQUE (feed, id, author, visibility),
    UNIQUE (square, id, author),
    UNIQUE (state, id)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- Whom the visibilities ONLY and EXCEPT name.
CREATE TABLE IF NOT EXISTS moment_lists (
    moment_id VARCHAR(16) NOT NULL,
    user_id BIGINT NOT NULL,
    PRIMARY KEY (moment_id, user_id),
    UNIQUE (user_id, moment_id)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- Likes; one that was taken back stays with gone 1, so that liking again tells nobody again.
CREATE TABLE IF NOT EXISTS moment_likes (
    moment_id VARCHAR(16) NOT NULL,
    user_id BIGINT NOT NULL,
    id VARCHAR(16) NOT NULL,
    made_ms BIGINT NOT NULL,
    gone INTEGER NOT NULL,
    PRIMARY KEY (moment_id, user_id),
    UNIQUE (moment_id, gone, id, user_id),
    UNIQUE (user_id, moment_id)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

CREATE TABLE IF NOT EXISTS moment_comments (
    id VARCHAR(16) NOT NULL PRIMARY KEY,
    moment_id VARCHAR(16) NOT NULL,
    author BIGINT NOT NULL,
    client_id VARCHAR(64) NOT NULL,
    digest VARCHAR(64) NOT NULL,
    made_ms BIGINT NOT NULL,
    reply_to VARCHAR(16) NOT NULL,
    reply_to_user BIGINT NOT NULL,
    text TEXT NOT NULL,
    UNIQUE (moment_id, id),
    UNIQUE (author, client_id),
    UNIQUE (author, moment_id, id)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- What was deleted, so that a resend does not bring it back: kind 1 moments, 2 comments.
-- swept is 0 while likes and comments of the moment may be left.
CREATE TABLE IF NOT EXISTS moment_gone (
    kind INTEGER NOT NULL,
    author BIGINT NOT NULL,
    client_id VARCHAR(64) NOT NULL,
    digest VARCHAR(64) NOT NULL,
    id VARCHAR(16) NOT NULL,
    made_ms BIGINT NOT NULL,
    gone_ms BIGINT NOT NULL,
    swept INTEGER NOT NULL,
    PRIMARY KEY (kind, author, client_id),
    UNIQUE (swept, gone_ms, kind, author, client_id)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- +goose Down
DROP TABLE moment_gone;
DROP TABLE moment_comments;
DROP TABLE moment_likes;
DROP TABLE moment_lists;
DROP TABLE moment_moments;
DROP TABLE moment_authors;
