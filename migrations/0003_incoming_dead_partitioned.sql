-- Dead letters by day, like events, so that RETENTION_DAYS can drop whole days of both. The table of old becomes the
-- default partition, so nothing is copied here; the service moves recent rows to the partitions of their days.

ALTER TABLE incoming_dead RENAME TO incoming_dead_default;
ALTER INDEX incoming_dead_pkey RENAME TO incoming_dead_default_pkey;

CREATE TABLE incoming_dead (
    LIKE incoming_dead_default INCLUDING DEFAULTS INCLUDING COMMENTS,
    PRIMARY KEY (id)
) PARTITION BY RANGE (id);

ALTER TABLE incoming_dead ATTACH PARTITION incoming_dead_default DEFAULT;

-- Whoever could use the table before can use it still.
DO $$
DECLARE
    privilege record;
BEGIN
    FOR privilege IN
        SELECT acl.privilege_type,
               CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END AS grantee,
               CASE WHEN acl.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END AS option
        FROM pg_class, aclexplode(relacl) AS acl
        WHERE oid = 'incoming_dead_default'::regclass AND acl.grantee <> relowner
    LOOP
        EXECUTE format('GRANT %s ON incoming_dead TO %s%s',
            privilege.privilege_type, privilege.grantee, privilege.option);
    END LOOP;
END $$;

COMMENT ON TABLE incoming_dead IS
    'Events that incoming refused for what they contain. Partitioned by day. See: stats-service dead list, dead replay.';
COMMENT ON COLUMN incoming_dead.id IS 'The event''s id, a UUIDv7. Its time decides the partition.';
COMMENT ON TABLE incoming_dead_default IS
    'Dead letters whose day has no partition: those of events that were over a week old when this table was made.';
