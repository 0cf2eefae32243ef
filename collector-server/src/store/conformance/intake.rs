//! Dead letters, and which rules were in force.

use wire::Sha256;

use super::fixtures::{at, letter};
use super::{done, refused};
use crate::store::{Change, Store};

pub async fn a_letter_goes_when_it_was_replayed(store: &dyn Store) {
    let mut record = letter(1);
    let id = record.view.letter;
    refused(store, Change::LetterReplayed(id, at(1))).await;
    done(store, vec![Change::AddLetter(record.clone().into())]).await;
    refused(store, Change::AddLetter(record.clone().into())).await;
    refused(store, Change::RemoveLetter(id)).await;
    assert_eq!(store.letter(id).await.unwrap().as_ref(), Some(&record));
    done(store, vec![Change::LetterReplayed(id, at(2))]).await;
    refused(store, Change::LetterReplayed(id, at(3))).await;
    record.view.replayed = Some(at(2));
    assert_eq!(store.letter(id).await.unwrap(), Some(record));
    done(store, vec![Change::RemoveLetter(id)]).await;
    assert_eq!(store.letter(id).await.unwrap(), None);
}

pub async fn rules_change_when_they_are_others(store: &dyn Store) {
    let [one, two] = [b"one", b"two"].map(|text| Change::SetRules(Sha256::of(text)));
    done(store, vec![one.clone()]).await;
    refused(store, one.clone()).await;
    done(store, vec![two]).await;
    done(store, vec![one]).await;
}

pub async fn letters_come_in_pages_the_newest_first(store: &dyn Store) {
    for n in [12, 10, 13, 11] {
        done(store, vec![Change::AddLetter(letter(n).into())]).await;
    }
    let wanted = [letter(13), letter(12), letter(11), letter(10)];
    assert_eq!(store.letters(None, 1_000).await.unwrap(), wanted);
    assert_eq!(store.letters(Some(wanted[0].view.letter), 2).await.unwrap(), wanted[1..3]);
    assert_eq!(store.letters(Some(letter(99).view.letter), 2).await.unwrap(), []);
}
