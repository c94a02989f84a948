-- +goose Up
-- The people who are online as other programs were told, or are to be told: empty while nobody asks for that. state is
-- 1: they are to be told that he came; 2: they were; 3: he is away since at_ms, and may be back; 4: they are to be told
-- that he went. tag names that event, and changes with each. at_ms is when the state began, but of 4 when he went; since_ms is since
-- when he was online. device is his first, or the last one when he is away.
CREATE TABLE IF NOT EXISTS webhook_online (
    user_id BIGINT NOT NULL PRIMARY KEY,
    state INTEGER NOT NULL,
    tag VARCHAR(16) NOT NULL,
    at_ms BIGINT NOT NULL,
    since_ms BIGINT NOT NULL,
    device VARCHAR(255) NOT NULL,
    device_type INTEGER NOT NULL,
    UNIQUE (state, at_ms, user_id)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- +goose Down
DROP TABLE webhook_online;
