-- What is kept of a person is found by the person too, for copies and for erasing: the
-- indexes of 00002_people.sqlite.sql. They only add: cores of the version before go on
-- meanwhile. MySQL commits each by itself and has no CREATE INDEX IF NOT EXISTS, so each
-- looks first: whoever runs this again after a kill makes those that are not there.

-- +goose Up
SET @freeim = (SELECT IF(COUNT(*) > 0, 'DO 0', 'CREATE INDEX room_people_person ON room_people (user_id, room)')
FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = 'room_people' AND index_name = 'room_people_person');
PREPARE freeim FROM @freeim;
EXECUTE freeim;
DEALLOCATE PREPARE freeim;

SET @freeim = (SELECT IF(COUNT(*) > 0, 'DO 0', 'CREATE INDEX room_rooms_owner ON room_rooms (owner_id, name)')
FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = 'room_rooms' AND index_name = 'room_rooms_owner');
PREPARE freeim FROM @freeim;
EXECUTE freeim;
DEALLOCATE PREPARE freeim;

-- +goose Down
DROP INDEX room_rooms_owner ON room_rooms;
DROP INDEX room_people_person ON room_people;
