-- Events that PostgreSQL refused for what they contain, kept so that a person can repair and replay them.

CREATE TABLE incoming_dead (
    id               uuid        PRIMARY KEY,
    property         text,
    property_section bigint,
    property_id      bigint,
    remote_ip        inet,
    stamp            timestamptz,
    payload          bytea       NOT NULL,
    sqlstate         text        NOT NULL,
    message          text        NOT NULL,
    attempts         integer     NOT NULL,
    died_at          timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE incoming_dead IS
    'Events that incoming refused for what they contain. See: stats-service dead list, stats-service dead replay.';
COMMENT ON COLUMN incoming_dead.id IS 'The event''s id, a UUIDv7.';
COMMENT ON COLUMN incoming_dead.property IS 'As in incoming; NULL, like the next four, when even this table refused it.';
COMMENT ON COLUMN incoming_dead.property_section IS 'As in incoming.';
COMMENT ON COLUMN incoming_dead.property_id IS 'As in incoming.';
COMMENT ON COLUMN incoming_dead.remote_ip IS 'As in incoming.';
COMMENT ON COLUMN incoming_dead.stamp IS 'As in incoming.';
COMMENT ON COLUMN incoming_dead.payload IS 'The row as it was sent: one tuple of the binary COPY format.';
COMMENT ON COLUMN incoming_dead.sqlstate IS 'PostgreSQL''s code for the refusal; empty when it gave none.';
COMMENT ON COLUMN incoming_dead.message IS 'PostgreSQL''s words for it.';
COMMENT ON COLUMN incoming_dead.attempts IS 'How often the row''s batch was tried, the last time included.';
COMMENT ON COLUMN incoming_dead.died_at IS 'When the row was given up.';
