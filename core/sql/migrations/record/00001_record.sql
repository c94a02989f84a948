-- +goose Up
-- Names are octets: two that differ in case or in a trailing space are two.
CREATE TABLE IF NOT EXISTS record_meta (
  name  VARBINARY(32)  NOT NULL PRIMARY KEY,
  value VARBINARY(255) NOT NULL
) ENGINE=InnoDB;

-- The heads. A transaction that appends holds the rows of its timelines.
CREATE TABLE IF NOT EXISTS record_conversations (
  conversation VARBINARY(255) NOT NULL PRIMARY KEY,
  seq          BIGINT         NOT NULL,
  last_id      BINARY(10)     NOT NULL
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS record_people (
  person      BIGINT     NOT NULL PRIMARY KEY,
  inbox_seq   BIGINT     NOT NULL,
  last_id     BINARY(10) NOT NULL,
  receipt_seq BIGINT     NOT NULL
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS record_messages (
  conversation VARBINARY(255) NOT NULL,
  seq          BIGINT         NOT NULL,
  id           BINARY(10)     NOT NULL,
  sender       BIGINT         NOT NULL,
  client_id    VARBINARY(255),
  digest       BINARY(32)     NOT NULL,
  inbox_seqs   MEDIUMBLOB     NOT NULL,
  body         MEDIUMBLOB     NOT NULL,
  PRIMARY KEY (conversation, seq),
  UNIQUE KEY draft (sender, client_id)
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS record_inboxes (
  person           BIGINT         NOT NULL,
  seq              BIGINT         NOT NULL,
  id               BINARY(10)     NOT NULL,
  conversation     VARBINARY(255) NOT NULL,
  conversation_seq BIGINT         NOT NULL,
  PRIMARY KEY (person, seq)
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS record_positions (
  person       BIGINT         NOT NULL,
  conversation VARBINARY(255) NOT NULL,
  seq          BIGINT         NOT NULL,
  PRIMARY KEY (person, conversation)
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS record_receipts (
  person       BIGINT         NOT NULL,
  conversation VARBINARY(255) NOT NULL,
  holder       BIGINT         NOT NULL,
  seq          BIGINT         NOT NULL,
  receipt_seq  BIGINT         NOT NULL,
  PRIMARY KEY (person, conversation, holder),
  KEY cursors (person, receipt_seq)
) ENGINE=InnoDB;

-- +goose Down
DROP TABLE IF EXISTS record_receipts;
DROP TABLE IF EXISTS record_positions;
DROP TABLE IF EXISTS record_inboxes;
DROP TABLE IF EXISTS record_messages;
DROP TABLE IF EXISTS record_people;
DROP TABLE IF EXISTS record_conversations;
DROP TABLE IF EXISTS record_meta;
