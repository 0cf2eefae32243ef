-- What people decided about an incident (`wire::case::Case`), as JSON.
ALTER TABLE incidents ADD COLUMN case_file TEXT NOT NULL DEFAULT '{}';
