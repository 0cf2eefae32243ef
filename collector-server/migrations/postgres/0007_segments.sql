-- As migrations/sqlite/0007_segments.sql.
ALTER TABLE segments ADD COLUMN sha256 TEXT;
