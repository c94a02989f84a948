-- What is kept of a person is found by the person too, for copies and for erasing. What
-- MySQL and MariaDB run is in 00002_people.mysql.sql.

-- +goose Up
CREATE INDEX IF NOT EXISTS room_people_person ON room_people (user_id, room);
CREATE INDEX IF NOT EXISTS room_rooms_owner ON room_rooms (owner_id, name);

-- +goose Down
DROP INDEX room_rooms_owner;
DROP INDEX room_people_person;
