-- Every event that was accepted, once. Partitions by day are made by the service as time goes on.

CREATE TABLE incoming (
    id               uuid        NOT NULL,
    property         text        NOT NULL,
    property_section bigint      NOT NULL,
    property_id      bigint      NOT NULL,
    remote_ip        inet,
    stamp            timestamptz NOT NULL,
    PRIMARY KEY (id)
) PARTITION BY RANGE (id);

CREATE TABLE incoming_default PARTITION OF incoming DEFAULT;

CREATE INDEX incoming_stamp_idx ON incoming USING brin (stamp);

COMMENT ON TABLE incoming IS
    'Events, one row each: item property_id in section property_section of property was seen. Partitioned by day.';
COMMENT ON COLUMN incoming.id IS
    'UUIDv7: the caller''s event_id, or made by the service. Its time is the event''s; it decides the partition.';
COMMENT ON COLUMN incoming.property IS 'What is counted, for example news.';
COMMENT ON COLUMN incoming.property_section IS 'Section of the property, 1 to 4294967295.';
COMMENT ON COLUMN incoming.property_id IS 'Item in the section, 1 to 4294967295.';
COMMENT ON COLUMN incoming.remote_ip IS 'Address of the caller, IPv4 or IPv6; NULL when it was not known.';
COMMENT ON COLUMN incoming.stamp IS 'When the event happened: the time in id, to the millisecond.';
COMMENT ON TABLE incoming_default IS
    'Rows whose day has no partition. Empty as long as the service makes partitions in time; it moves what is here.';
