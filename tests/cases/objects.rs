//! One suite for every place in which objects may lie.

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use harness::{Running, S3, Setup, Site, server};
use server::objects::{Bucket, ObjectError, Objects, Segment, alert_path, letter_path};
use wire::{AlertId, BundleId, LetterId};

use super::holdings::{SOON, a_bundle, an_alert, download};

/// Long enough for several pieces.
fn content() -> Vec<u8> {
    (0..(2_u32 << 20) + 17).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[2]).collect()
}

async fn conforms(objects: &Objects) {
    objects.ping().await.unwrap();
    an_object_is_written_once(objects).await;
    of_many_that_put_at_one_path_one_wins(objects).await;
    any_range_comes_whole(objects).await;
    what_is_missing_is_said_to_be(objects).await;
    lists_show_what_is_there(objects).await;
}

async fn an_object_is_written_once(objects: &Objects) {
    let path = alert_path(AlertId::new(1, [1; 10]));
    let first = Bytes::from_static(b"first");
    objects.put_new(&path, first.clone()).await.unwrap();
    objects.put_new(&path, first.clone()).await.unwrap();
    for other in [&b"fir"[..], b"other", b"first and more", b""] {
        let refused = objects.put_new(&path, Bytes::from_static(other)).await;
        assert!(matches!(refused, Err(ObjectError::AlreadyExists(_))), "{refused:?}");
    }
    assert_eq!(objects.read(&path, 5).await.unwrap(), first);
    assert!(matches!(objects.read(&path, 4).await, Err(ObjectError::TooLong { bytes: 5, .. })));
    assert_eq!(objects.length(&path).await.unwrap(), Some(5));
}

async fn of_many_that_put_at_one_path_one_wins(objects: &Objects) {
    let path = alert_path(AlertId::new(1, [2; 10]));
    let puts = (0..16_u8).map(|n| {
        let (objects, path) = (objects.clone(), path.clone());
        tokio::spawn(async move { objects.put_new(&path, Bytes::from(vec![n / 4; 4096])).await.is_ok() })
    });
    let mut is_done = Vec::new();
    for put in puts.collect::<Vec<_>>() {
        is_done.push(put.await.unwrap());
    }
    let there = objects.read(&path, 4096).await.unwrap();
    for (n, is_done) in is_done.into_iter().enumerate() {
        assert_eq!(is_done, usize::from(there[0]) == n / 4);
    }
}

async fn any_range_comes_whole(objects: &Objects) {
    let (bundle, content) = (BundleId::new(1, [3; 10]), content());
    let mut segments = Vec::new();
    for (from, to) in [(0, 10), (10, content.len() - 7), (content.len() - 7, content.len())] {
        let segment = Segment::of(from as u64, &content[from..to]);
        objects.put_new(&segment.path(bundle), Bytes::copy_from_slice(&content[from..to])).await.unwrap();
        segments.push(segment);
    }
    let end = content.len();
    for range in [0..end, 0..0, 5..5, 0..10, 9..11, 10..11, 3..end - 3, end - 7..end, end - 1..end] {
        let asked = range.start as u64..range.end as u64;
        let pieces: Vec<Bytes> = objects.stream_range(bundle, segments.clone(), asked).try_collect().await.unwrap();
        assert_eq!(pieces.concat(), content[range.clone()], "{range:?}");
    }
    // The records say more than there is.
    let long = Segment { bytes: 12, ..segments[0] };
    for range in [0..12, 11..12] {
        let read = objects.stream_range(bundle, vec![long], range).try_collect::<Vec<_>>().await;
        assert!(matches!(read, Err(ObjectError::Short { bytes: 10, wanted: 12, .. })), "{read:?}");
    }
}

async fn what_is_missing_is_said_to_be(objects: &Objects) {
    let lost = Segment::of(0, b"lost");
    let read = objects.stream_range(BundleId::new(1, [4; 10]), vec![lost], 1..3).try_collect::<Vec<_>>().await;
    assert!(matches!(read, Err(ObjectError::Missing(_))), "{read:?}");
    let none = alert_path(AlertId::new(1, [5; 10]));
    assert!(matches!(objects.read(&none, 4).await, Err(ObjectError::Missing(_))));
    assert_eq!(objects.length(&none).await.unwrap(), None);
}

async fn lists_show_what_is_there(objects: &Objects) {
    let letters = [1, 2].map(|n| LetterId::new(1, [n; 10]));
    for letter in letters {
        objects.put_new(&letter_path(letter), Bytes::from_static(b"{}")).await.unwrap();
    }
    let list = async || {
        let mut there: Vec<(String, u64)> = objects.list("dead-letters").try_collect().await.unwrap();
        there.sort();
        there
    };
    assert_eq!(list().await, letters.map(|letter| (letter_path(letter), 2)));
    objects.remove_letter(letters[0]).await.unwrap();
    objects.remove_letter(letters[0]).await.unwrap();
    assert_eq!(list().await, [(letter_path(letters[1]), 2)]);
    let segments: Vec<_> = objects.list("evidence").try_collect().await.unwrap();
    assert_eq!(segments.len(), 3, "{segments:?}");
}

fn run(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(future);
}

#[test]
fn a_folder_conforms() {
    let folder = tempfile::tempdir().unwrap();
    run(conforms(&Objects::in_folder(folder.path()).unwrap()));
}

#[test]
fn a_bucket_conforms_and_so_does_a_place_in_it() {
    let Some(s3) = S3::start() else { return };
    run(async {
        for place in [s3.url("site-1/objects"), "s3://evidence".to_owned()] {
            let bucket: Bucket = place.parse().unwrap();
            conforms(&Objects::in_bucket(&bucket, s3.variables()).await.unwrap()).await;
            // Opened again, as after a restart.
            Objects::in_bucket(&bucket, s3.variables()).await.unwrap();
        }
        let nowhere = Objects::in_bucket(&"s3://no-such-bucket".parse().unwrap(), s3.variables()).await;
        assert!(matches!(nowhere, Err(ObjectError::Unusable { .. })), "{nowhere:?}");
        let mut plain = s3.variables();
        plain.retain(|(name, _)| name != "AWS_ALLOW_HTTP");
        let plain = Objects::in_bucket(&"s3://evidence".parse().unwrap(), plain).await;
        assert!(matches!(plain, Err(ObjectError::Unusable { .. })), "without TLS nothing goes out unasked: {plain:?}");
    });
}

#[test]
fn a_site_with_its_objects_in_a_bucket_keeps_nothing_else() {
    let Some(s3) = S3::start() else { return };
    let objects = s3.url("site-1");
    let serve = vec!["--objects".to_owned(), objects.clone()];
    let mut site = Site::with(Setup { serve, variables: s3.variables(), ..Setup::default() });
    let incident = an_alert(&site, "one");
    let bundle = a_bundle(&site, &incident);
    let before = download(&site, &bundle, "before");
    site.kill_server();
    site.start_server();
    assert_eq!(download(&site, &bundle, "after"), before);
    let held: Vec<u8> =
        s3.paths(&format!("site-1/evidence/{bundle}")).iter().flat_map(|path| s3.object(path).unwrap()).collect();
    assert_eq!(held, before, "the segments in the bucket, in the order of their names, are the bundle");
    assert!(!site.data().join("objects").exists());
    site.holdfast(&["custody", "verify"]).expect_code(0);
    let mut scrub = std::process::Command::new(server());
    scrub.args(["scrub", "--objects", &objects, "--data"]).arg(site.data()).envs(s3.variables());
    let said = Running::start(&mut scrub).wait(SOON).expect_code(0).said();
    assert!(said.contains("1 bundles in "), "{said}");
    let said = site.stop_server().expect_code(0).said();
    assert!(!said.contains("s3-key"), "no key is in the log: {said}");
}
