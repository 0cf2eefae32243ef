-- The digest of a segment, half of which is in the name of its object: `evidence/<bundle>/<offset>-<32 hex digits>`. Null
-- in those that were written before, whose objects are `evidence/<bundle>/<offset>`.
ALTER TABLE segments ADD COLUMN sha256 TEXT;
