//! "Did you mean": the nearest of the known words.

/// The known word that `word` was most likely meant to be, if one is near enough to be worth naming.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::normalized_damerau_levenshtein(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_is_recognised_and_a_stranger_is_not() {
        let known = ["processes", "sockets", "process_images"];
        assert_eq!(nearest("proceses", known), Some("processes"));
        assert_eq!(nearest("sokcets", known), Some("sockets"));
        assert_eq!(nearest("weather", known), None);
    }
}
