-- Who people are to the issuers whose tokens sign them in. As in 00001: every statement may
-- be run again.

-- +goose Up
CREATE TABLE IF NOT EXISTS account_identities (
    issuer VARCHAR(255) NOT NULL,
    subject VARCHAR(255) NOT NULL,
    user_id BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (issuer, subject),
    CONSTRAINT account_identities_user UNIQUE (user_id, issuer, subject),
    FOREIGN KEY (user_id) REFERENCES account_users (id)
) /*! CHARACTER SET utf8mb4 COLLATE utf8mb4_bin */;

-- +goose Down
DROP TABLE account_identities;
