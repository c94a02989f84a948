-- +goose Up
-- The least version of drafts that a conversation takes, where something has ended those that were decided before. It is written
-- and read with the conversation's head locked.
CREATE TABLE IF NOT EXISTS record_versions (
  conversation VARBINARY(255) NOT NULL PRIMARY KEY,
  least        BIGINT         NOT NULL
) ENGINE=InnoDB;

-- +goose Down
DROP TABLE IF EXISTS record_versions;
