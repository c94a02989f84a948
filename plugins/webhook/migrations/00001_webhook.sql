-- The text between /*! and */ is a comment to SQLite and is run by MySQL and
-- MariaDB: compare octet by octet there too. Every statement may be run again.
-- UNIQUE with the primary key in it is an index and no more.

-- +goose Up
-- The endpoints that were ever configured. owner is the core that delivers, until until_ms unless it
-- says again that it does; fence grows whenever that changes, and beat with every word of the owner's. stopped
-- says why nothing is delivered; empty: all is well.
CREATE TABLE IF NOT EXISTS webhook_endpoints (
    name VARCHAR(64) NOT NULL PRIMARY KEY,
    owner VARCHAR(64) NOT NULL,
    fence BIGINT NOT NULL,
    beat BIGINT NOT NULL,
    until_ms BIGINT NOT NULL,
    stopped VARCHAR(200) NOT NULL
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- How far each endpoint is in each feed: all up to place was delivered, did not concern it, or is a dead
-- letter. last_id is the message there, epoch the life of the store that place means something in. tries
-- counts what failed of what comes next. What is older than floor_ms is taken to be of then when it is
-- decided what is too old.
CREATE TABLE IF NOT EXISTS webhook_cursors (
    endpoint VARCHAR(64) NOT NULL,
    feed INTEGER NOT NULL,
    place BIGINT NOT NULL,
    last_id VARCHAR(16) NOT NULL,
    epoch VARCHAR(64) NOT NULL,
    floor_ms BIGINT NOT NULL,
    tries INTEGER NOT NULL,
    PRIMARY KEY (endpoint, feed)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- Dead letters: events that were given up, by their place; what they say is in the feed.
CREATE TABLE IF NOT EXISTS webhook_dead (
    endpoint VARCHAR(64) NOT NULL,
    feed INTEGER NOT NULL,
    place BIGINT NOT NULL,
    id VARCHAR(16) NOT NULL,
    event VARCHAR(64) NOT NULL,
    died_ms BIGINT NOT NULL,
    reason VARCHAR(200) NOT NULL,
    PRIMARY KEY (endpoint, feed, place)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- +goose Down
DROP TABLE webhook_dead;
DROP TABLE webhook_cursors;
DROP TABLE webhook_endpoints;
