-- Counts: what the rows of incoming add up to, by quarter hour, hour and day, and what tells which rows are in them.

-- Each fold updates the rows of the newest bucket: with half of each page free, an update needs no new index entry.
CREATE TABLE counts_quarter_hour (
    property text        NOT NULL,
    section  bigint      NOT NULL,
    item     bigint      NOT NULL,
    bucket   timestamptz NOT NULL,
    count    bigint      NOT NULL,
    PRIMARY KEY (property, section, item, bucket)
) WITH (fillfactor = 50);
CREATE TABLE counts_hour (LIKE counts_quarter_hour INCLUDING ALL) WITH (fillfactor = 50);
CREATE TABLE counts_day (LIKE counts_quarter_hour INCLUDING ALL) WITH (fillfactor = 50);

CREATE INDEX counts_quarter_hour_bucket_idx ON counts_quarter_hour USING brin (bucket);
CREATE INDEX counts_hour_bucket_idx ON counts_hour USING brin (bucket);
CREATE INDEX counts_day_bucket_idx ON counts_day USING brin (bucket);

-- The sums of sections and properties, few among the items.
CREATE INDEX counts_quarter_hour_sums_idx ON counts_quarter_hour (bucket, property, section) WHERE item = 0;
CREATE INDEX counts_hour_sums_idx ON counts_hour (bucket, property, section) WHERE item = 0;
CREATE INDEX counts_day_sums_idx ON counts_day (bucket, property, section) WHERE item = 0;

DO $$
DECLARE
    tier record;
BEGIN
    FOR tier IN
        SELECT * FROM (VALUES
            ('counts_quarter_hour', '15 minutes', 'COUNTS_QUARTER_DAYS'),
            ('counts_hour', 'hour', 'COUNTS_HOUR_DAYS'),
            ('counts_day', 'day (UTC)', '')) AS tiers (name, bucket, setting)
    LOOP
        EXECUTE format('COMMENT ON TABLE %I IS %L', tier.name, format(
            'Events per %s. Three levels are in one table: items; sections, with item = 0, summed over their items; properties, with section = 0 and item = 0, summed over all. Choose one level in every query: a sum over all rows counts each event three times. %s',
            tier.bucket,
            CASE tier.setting WHEN '' THEN 'Kept for ever.' ELSE 'Kept for ' || tier.setting || ' days.' END));
        EXECUTE format('COMMENT ON COLUMN %I.property IS ''As in incoming.''', tier.name);
        EXECUTE format('COMMENT ON COLUMN %I.section IS ''property_section in incoming; 0: the sum of the property.''', tier.name);
        EXECUTE format('COMMENT ON COLUMN %I.item IS ''property_id in incoming; 0: the sum of the section or of the property.''', tier.name);
        EXECUTE format('COMMENT ON COLUMN %I.bucket IS %L', tier.name, format('Begin of the %s in which the stamps of the events lie.', tier.bucket));
        EXECUTE format('COMMENT ON COLUMN %I.count IS ''Number of events, at least 1. A bucket without events has no row.''', tier.name);
    END LOOP;
END $$;

CREATE TABLE counts_state (
    tier      text          PRIMARY KEY CHECK (tier IN ('quarter_hour', 'hour', 'day')),
    snapshot  txid_snapshot NOT NULL,
    fresh_at  timestamptz   NOT NULL,
    kept_from timestamptz   NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 10);
COMMENT ON TABLE counts_state IS 'How far the counts of each tier are. Written by the service alone.';
COMMENT ON COLUMN counts_state.tier IS 'Which table: counts_quarter_hour, counts_hour or counts_day.';
COMMENT ON COLUMN counts_state.snapshot IS
    'Rows of incoming whose transaction (tx less counts_cluster.tx_offset) is visible in it are counted; all others are not.';
COMMENT ON COLUMN counts_state.fresh_at IS 'All that was committed before this time is counted.';
COMMENT ON COLUMN counts_state.kept_from IS 'Buckets before this time are not kept any more.';

CREATE TABLE counts_cluster (
    is_only           boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    system_identifier bigint  NOT NULL,
    tx_offset         bigint  NOT NULL DEFAULT 0,
    backfill_tx       bigint  NOT NULL,
    in_use            boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE counts_cluster IS
    'To which PostgreSQL cluster the transaction numbers belong, in one row. Written by the service alone.';
COMMENT ON COLUMN counts_cluster.is_only IS 'Keeps the table to one row.';
COMMENT ON COLUMN counts_cluster.system_identifier IS
    'pg_control_system() of the cluster; another one means that a dump was restored.';
COMMENT ON COLUMN counts_cluster.tx_offset IS
    'Added to txid_current() in incoming.tx, so that new rows have higher numbers than those that a dump brought.';
COMMENT ON COLUMN counts_cluster.backfill_tx IS
    'incoming.tx of all rows that are older than the counts; counts_backfill tells which of them are not counted yet.';
COMMENT ON COLUMN counts_cluster.in_use IS 'True since a service first counted here.';

CREATE TABLE counts_backfill (
    start_time timestamptz PRIMARY KEY,
    end_time   timestamptz NOT NULL,
    CHECK (start_time < end_time)
);
COMMENT ON TABLE counts_backfill IS
    'Times whose events from before the counts (incoming.tx = counts_cluster.backfill_tx) are not counted yet.';
COMMENT ON COLUMN counts_backfill.start_time IS 'Begin of the range of stamps.';
COMMENT ON COLUMN counts_backfill.end_time IS 'End of the range, not included.';

CREATE TABLE counts_incomplete (
    start_time timestamptz,
    end_time   timestamptz,
    PRIMARY KEY (start_time, end_time),
    CHECK (start_time < end_time)
);
COMMENT ON TABLE counts_incomplete IS
    'Times from which events were removed before they were counted: the counts there are lower bounds.';
COMMENT ON COLUMN counts_incomplete.start_time IS 'Begin of the range of buckets, a quarter hour. Ranges may overlap.';
COMMENT ON COLUMN counts_incomplete.end_time IS 'End of the range, not included.';

CREATE TABLE counts_rows_removed (
    start_time timestamptz,
    end_time   timestamptz,
    PRIMARY KEY (start_time, end_time),
    CHECK (start_time < end_time)
);
COMMENT ON TABLE counts_rows_removed IS
    'Times from which RETENTION_DAYS removed events: only the counts know them, so verify and rebuild leave them alone.';
COMMENT ON COLUMN counts_rows_removed.start_time IS 'Begin of the range of stamps.';
COMMENT ON COLUMN counts_rows_removed.end_time IS 'End of the range, not included.';

CREATE TABLE labels (
    property text   NOT NULL,
    section  bigint NOT NULL DEFAULT 0,
    item     bigint NOT NULL DEFAULT 0,
    label    text   NOT NULL,
    url      text,
    PRIMARY KEY (property, section, item)
);
COMMENT ON TABLE labels IS
    'Names to show in place of numbers. Filled by SQL or by stats-service labels import; the service only reads it.';
COMMENT ON COLUMN labels.property IS 'As in incoming.';
COMMENT ON COLUMN labels.section IS 'property_section in incoming; 0: the label is that of the property.';
COMMENT ON COLUMN labels.item IS 'property_id in incoming; 0: the label is that of the section or of the property.';
COMMENT ON COLUMN labels.label IS 'The name.';
COMMENT ON COLUMN labels.url IS 'Where a person can see the item; NULL: nowhere.';

-- Those who may read the events may read the counts, and those who write them are services, which keep the counts.
DO $$
DECLARE
    grantee record;
BEGIN
    FOR grantee IN
        SELECT CASE acl.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(acl.grantee)) END AS name,
               CASE WHEN bool_or(acl.privilege_type = 'INSERT') THEN 'SELECT, INSERT, UPDATE, DELETE' ELSE 'SELECT' END
                   AS rights
        FROM pg_class, aclexplode(relacl) AS acl
        WHERE oid = 'incoming'::regclass AND acl.grantee <> relowner AND acl.privilege_type IN ('SELECT', 'INSERT')
        GROUP BY acl.grantee
    LOOP
        EXECUTE format(
            'GRANT %s ON counts_quarter_hour, counts_hour, counts_day, counts_state, counts_cluster, counts_backfill,'
            ' counts_incomplete, counts_rows_removed, labels TO %s',
            grantee.rights, grantee.name);
    END LOOP;
END $$;

-- Last, since inserts queue behind this lock. It is given up at once if somebody is using a partition.
LOCK TABLE ONLY incoming IN ACCESS EXCLUSIVE MODE;
LOCK TABLE incoming IN ACCESS EXCLUSIVE MODE NOWAIT;

-- Rewrites nothing: the rows that are there all get the number of this transaction. The default is not volatile, so
-- COPY still inserts many rows at once.
ALTER TABLE incoming ADD COLUMN tx bigint NOT NULL DEFAULT txid_current();

COMMENT ON COLUMN incoming.tx IS
    'The transaction that wrote the row: txid_current() plus counts_cluster.tx_offset. By it the service knows which rows it has not counted yet. Leave it out when you insert.';

-- Serves what brin (stamp) serves, and finds new rows. Large tables get it partition by partition from the service, without
-- a lock; incoming_stamp_idx goes when that is done.
DO $$
BEGIN
    IF (SELECT sum(pg_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'incoming'::regclass) <= 4194304 THEN
        CREATE INDEX incoming_stamp_tx_idx ON incoming USING brin (stamp, tx);
        DROP INDEX incoming_stamp_idx;
    ELSE
        CREATE INDEX incoming_stamp_tx_idx ON ONLY incoming USING brin (stamp, tx);
    END IF;
END $$;

-- What was there before, this transaction's number marks. It is made to be counted in the initial state, although it is not
-- committed yet, and everything that is in progress now is made to come later: a transaction that has a lower number
-- and has not yet inserted gets its rows counted.
DO $$
DECLARE
    own     constant bigint := txid_current();
    seen    constant txid_snapshot := txid_current_snapshot();
    initial txid_snapshot;
BEGIN
    WITH running AS (
        SELECT txid FROM txid_snapshot_xip(seen) AS txid WHERE txid <> own
        UNION SELECT generate_series(txid_snapshot_xmax(seen), own - 1)
    ), bounds AS (
        SELECT greatest(txid_snapshot_xmax(seen), own + 1) AS xmax, min(txid) AS xmin,
            coalesce(string_agg(txid::text, ',' ORDER BY txid), '') AS xip
        FROM running
    )
    SELECT (coalesce(xmin, xmax) || ':' || xmax || ':' || xip)::txid_snapshot INTO initial FROM bounds;
    INSERT INTO counts_state (tier, snapshot, fresh_at)
        SELECT tier, initial, now() FROM (VALUES ('quarter_hour'), ('hour'), ('day')) AS tiers (tier);
    INSERT INTO counts_cluster (system_identifier, backfill_tx)
        SELECT system_identifier, own FROM pg_control_system();
    INSERT INTO counts_backfill (start_time, end_time)
        SELECT '-infinity', 'infinity' FROM pg_inherits
        WHERE inhparent = 'incoming'::regclass HAVING sum(pg_relation_size(inhrelid)) > 0;
END $$;
