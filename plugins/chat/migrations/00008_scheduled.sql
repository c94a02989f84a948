-- +goose Up
-- Messages that are to be sent later. request is a chatpb.SendRequest in base64, next_ms when somebody has to see to
-- the row: it is to be sent, a core that sends it is believed to be over, or, if it failed, it is forgotten.
CREATE TABLE IF NOT EXISTS chat_scheduled (
    id VARCHAR(16) NOT NULL PRIMARY KEY,
    sender BIGINT NOT NULL,
    client_id VARCHAR(64) NOT NULL,
    request TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    version INTEGER NOT NULL,
    state INTEGER NOT NULL,
    tries INTEGER NOT NULL,
    next_ms BIGINT NOT NULL,
    reason VARCHAR(255) NOT NULL,
    UNIQUE (sender, client_id),
    UNIQUE (sender, id),
    UNIQUE (next_ms, id)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- +goose Down
DROP TABLE chat_scheduled;
