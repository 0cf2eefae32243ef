//! Bundles: how far they have come, their segments, their transport checkpoints.

use sqlx::AnyConnection;
use wire::api::{EvidenceState, EvidenceView};
use wire::finding::Found;
use wire::{BundleId, IncidentId, Instant, UploadId};

use super::super::{CheckpointRecord, EvidenceRecord, FindingsRecord, StoreError};
use super::value::{self, Columns, count, instant, json, text, text_or_null, word};
use crate::objects::Segment;

fn read(row: &Columns<'_>) -> Result<EvidenceRecord, StoreError> {
    Ok(EvidenceRecord {
        certificate_serial: row.text_or_null("certificate_serial")?,
        last_seen: row.instant("last_seen")?,
        length: row.count_or_null("byte_length")?,
        offset: row.count("byte_offset")?,
        signer: row.text_or_null("signer")?,
        upload: row.parsed("upload")?,
        view: row.json("view")?,
    })
}

fn read_checkpoint(row: &Columns<'_>) -> Result<CheckpointRecord, StoreError> {
    Ok(CheckpointRecord {
        bundle: row.parsed("bundle")?,
        envelope: row.json("envelope")?,
        line: row.text("line")?,
        receipt: row.json("receipt")?,
    })
}

/// Receipts and findings have tables of their own.
fn view_json(mut view: EvidenceView) -> Result<String, StoreError> {
    view.receipts.clear();
    view.found = None;
    json(&view)
}

pub(super) async fn add(connection: &mut AnyConnection, record: &EvidenceRecord) -> Result<(), StoreError> {
    let view = &record.view;
    let sql = sqlx::query(
        "INSERT INTO evidence (bundle, upload, incident, state, received, last_seen, byte_offset, byte_length, \
         certificate_serial, signer, view) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(view.bundle.to_string())
    .bind(record.upload.to_string())
    .bind(view.incident.as_str())
    .bind(word(&view.state)?)
    .bind(instant(view.received)?)
    .bind(instant(record.last_seen)?)
    .bind(count(record.offset)?)
    .bind(record.length.map(count).transpose()?)
    .bind(text_or_null(record.certificate_serial.as_ref()))
    .bind(text_or_null(record.signer.as_ref()))
    .bind(view_json(view.clone())?);
    value::add(connection, sql, || format!("bundle {} or its upload", view.bundle)).await
}

/// Nobody brought more of it meanwhile, or judged it.
pub(super) async fn is(
    connection: &mut AnyConnection,
    bundle: BundleId,
    offset: u64,
    state: EvidenceState,
) -> Result<(), StoreError> {
    let sql = "SELECT COUNT(*) AS count FROM evidence WHERE bundle = $1 AND byte_offset = $2 AND state = $3";
    let sql = sqlx::query(sql).bind(bundle.to_string()).bind(count(offset)?).bind(word(&state)?);
    match value::one(connection, sql, |row| row.count("count")).await? {
        Some(1) => Ok(()),
        _ => Err(StoreError::Conflict(format!("bundle {bundle} is not {} at byte {offset} any more", state.name()))),
    }
}

pub(super) async fn advance(
    connection: &mut AnyConnection,
    bundle: BundleId,
    segment: Segment,
    at: Instant,
) -> Result<(), StoreError> {
    let Segment { bytes, offset, sha256 } = segment;
    let end = offset.checked_add(bytes).ok_or_else(|| value::unstorable("the length", bytes))?;
    if bytes == 0 {
        return Err(StoreError::Conflict(format!("bundle {bundle}: a segment has at least one byte")));
    }
    let sql = sqlx::query(
        "UPDATE evidence SET byte_offset = $3, last_seen = $4 WHERE bundle = $1 AND byte_offset = $2 \
         AND (byte_length IS NULL OR byte_length >= $3)",
    )
    .bind(bundle.to_string())
    .bind(count(offset)?)
    .bind(count(end)?)
    .bind(instant(at)?);
    value::change_one(connection, sql, || {
        format!("bundle {bundle} does not stand at byte {offset}, or ends before byte {end}")
    })
    .await?;
    let sql = sqlx::query("INSERT INTO segments (bundle, byte_offset, byte_length, sha256) VALUES ($1, $2, $3, $4)")
        .bind(bundle.to_string())
        .bind(count(offset)?)
        .bind(count(bytes)?)
        .bind(sha256.map(|sha256| sha256.to_string()));
    value::add(connection, sql, || format!("the segment of bundle {bundle} at byte {offset}")).await
}

pub(super) async fn length(connection: &mut AnyConnection, bundle: BundleId, length: u64) -> Result<(), StoreError> {
    let sql = "UPDATE evidence SET byte_length = $2 WHERE bundle = $1 AND byte_length IS NULL AND byte_offset <= $2";
    let sql = sqlx::query(sql).bind(bundle.to_string()).bind(count(length)?);
    value::change_one(connection, sql, || {
        format!("bundle {bundle} is not there, has a length, or is longer than {length} bytes")
    })
    .await
}

pub(super) async fn put_view(connection: &mut AnyConnection, view: EvidenceView) -> Result<(), StoreError> {
    let bundle = view.bundle;
    let sql = "UPDATE evidence SET incident = $2, state = $3, received = $4, view = $5 WHERE bundle = $1";
    let sql = sqlx::query(sql)
        .bind(bundle.to_string())
        .bind(view.incident.as_str().to_owned())
        .bind(word(&view.state)?)
        .bind(instant(view.received)?)
        .bind(view_json(view)?);
    value::change_one(connection, sql, || format!("bundle {bundle} or its incident is not there")).await
}

pub(super) async fn add_checkpoint(
    connection: &mut AnyConnection,
    checkpoint: &CheckpointRecord,
) -> Result<(), StoreError> {
    let (bundle, seq) = (checkpoint.bundle, checkpoint.receipt.seq);
    let sql = "SELECT COALESCE(MAX(seq), 0) AS seq FROM checkpoints WHERE bundle = $1";
    let sql = sqlx::query(sql).bind(bundle.to_string());
    let last = value::one(connection, sql, |row| row.count("seq")).await?.unwrap_or(0);
    if last.checked_add(1) != Some(seq) {
        let what = format!("checkpoint {seq} of bundle {bundle} does not follow checkpoint {last}");
        return Err(StoreError::Conflict(what));
    }
    let sql = "INSERT INTO checkpoints (bundle, seq, line, receipt, envelope) VALUES ($1, $2, $3, $4, $5)";
    let sql = sqlx::query(sql)
        .bind(bundle.to_string())
        .bind(count(seq)?)
        .bind(text(&checkpoint.line))
        .bind(json(&checkpoint.receipt)?)
        .bind(json(&checkpoint.envelope)?);
    value::add(connection, sql, || format!("checkpoint {seq} of bundle {bundle}")).await
}

pub(super) async fn by_id(
    connection: &mut AnyConnection,
    bundle: BundleId,
) -> Result<Option<EvidenceRecord>, StoreError> {
    let sql = sqlx::query("SELECT * FROM evidence WHERE bundle = $1").bind(bundle.to_string());
    value::one(connection, sql, read).await
}

pub(super) async fn by_upload(
    connection: &mut AnyConnection,
    upload: UploadId,
) -> Result<Option<EvidenceRecord>, StoreError> {
    let sql = sqlx::query("SELECT * FROM evidence WHERE upload = $1").bind(upload.to_string());
    value::one(connection, sql, read).await
}

pub(super) async fn list(
    connection: &mut AnyConnection,
    incident: Option<&IncidentId>,
    after: Option<BundleId>,
    limit: u32,
) -> Result<Vec<EvidenceRecord>, StoreError> {
    let after = after.map(|bundle| bundle.to_string());
    let sql = match incident {
        None => sqlx::query(
            "SELECT * FROM evidence WHERE $1 IS NULL OR (received, bundle) < \
             (SELECT received, bundle FROM evidence WHERE bundle = $1) \
             ORDER BY received DESC, bundle DESC LIMIT $2",
        ),
        Some(_) => sqlx::query(
            "SELECT * FROM evidence WHERE incident = $3 AND ($1 IS NULL OR (received, bundle) < \
             (SELECT received, bundle FROM evidence WHERE bundle = $1)) \
             ORDER BY received DESC, bundle DESC LIMIT $2",
        ),
    };
    let mut sql = sql.bind(after).bind(i64::from(limit));
    if let Some(incident) = incident {
        sql = sql.bind(incident.as_str());
    }
    value::many(connection, sql, read).await
}

pub(super) async fn in_state(
    connection: &mut AnyConnection,
    state: EvidenceState,
) -> Result<Vec<EvidenceRecord>, StoreError> {
    let sql = "SELECT * FROM evidence WHERE state = $1 ORDER BY received, bundle LIMIT 1000";
    value::many(connection, sqlx::query(sql).bind(word(&state)?), read).await
}

pub(super) async fn segments(connection: &mut AnyConnection, bundle: BundleId) -> Result<Vec<Segment>, StoreError> {
    let sql = "SELECT byte_offset, byte_length, sha256 FROM segments WHERE bundle = $1 ORDER BY byte_offset";
    let sql = sqlx::query(sql).bind(bundle.to_string());
    value::many(connection, sql, |row| {
        Ok(Segment {
            bytes: row.count("byte_length")?,
            offset: row.count("byte_offset")?,
            sha256: row.parsed_or_null("sha256")?,
        })
    })
    .await
}

pub(super) async fn checkpoints(
    connection: &mut AnyConnection,
    bundle: BundleId,
) -> Result<Vec<CheckpointRecord>, StoreError> {
    let sql = sqlx::query("SELECT * FROM checkpoints WHERE bundle = $1 ORDER BY seq").bind(bundle.to_string());
    value::many(connection, sql, read_checkpoint).await
}

/// Each bundle has the last report only; what an earlier one said stands in custody in numbers.
pub(super) async fn put_findings(connection: &mut AnyConnection, record: &FindingsRecord) -> Result<(), StoreError> {
    let bundle = record.report.bundle;
    let sql = sqlx::query(
        "INSERT INTO findings (bundle, evaluated, byte_offset, found, report) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (bundle) DO UPDATE SET evaluated = excluded.evaluated, byte_offset = excluded.byte_offset, \
         found = excluded.found, report = excluded.report",
    )
    .bind(bundle.to_string())
    .bind(instant(record.evaluated)?)
    .bind(count(record.offset)?)
    .bind(json(&record.found())?)
    .bind(json(&record.report)?);
    value::change_one(connection, sql, || format!("bundle {bundle} is not there")).await
}

pub(super) async fn findings(
    connection: &mut AnyConnection,
    bundle: BundleId,
) -> Result<Option<FindingsRecord>, StoreError> {
    let sql = sqlx::query("SELECT * FROM findings WHERE bundle = $1").bind(bundle.to_string());
    value::one(connection, sql, |row| {
        Ok(FindingsRecord {
            evaluated: row.instant("evaluated")?,
            offset: row.count("byte_offset")?,
            report: row.json("report")?,
        })
    })
    .await
}

pub(super) async fn found(connection: &mut AnyConnection, bundle: BundleId) -> Result<Option<Found>, StoreError> {
    let sql = sqlx::query("SELECT found FROM findings WHERE bundle = $1").bind(bundle.to_string());
    value::one(connection, sql, |row| row.json("found")).await
}

/// What is encrypted is told by its view: as text, since quotes within a name are escaped there.
pub(super) async fn without_findings(
    connection: &mut AnyConnection,
    limit: u32,
) -> Result<Vec<EvidenceRecord>, StoreError> {
    let sql = sqlx::query(
        "SELECT * FROM evidence WHERE state IN ('sealed', 'partial') AND view NOT LIKE '%\"encrypted\":true%' \
         AND NOT EXISTS (SELECT 1 FROM findings \
         WHERE findings.bundle = evidence.bundle AND findings.byte_offset = evidence.byte_offset) \
         ORDER BY received DESC, bundle DESC LIMIT $1",
    )
    .bind(i64::from(limit));
    value::many(connection, sql, read).await
}
