//! The nearest of the words that are known.

/// How few slips apart (Damerau-Levenshtein, 1 is the same) a known word must be to be offered.
const FEW_SLIPS: f64 = 0.6;
/// How alike in its beginning (Jaro-Winkler, 1 is the same) a known word must be to be offered for a shortened one.
const LIKE_BEGINNING: f64 = 0.88;

/// The longest word that is compared: what is longer is no slip, and comparing takes its length squared.
const MAX_COMPARED: usize = 64;

/// The known word nearest to this one, if one is near at all.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > MAX_COMPARED {
        return None;
    }
    let word = word.to_lowercase();
    let scored =
        known.into_iter().filter_map(|candidate| Some((likeness(&word, &candidate.to_lowercase())?, candidate)));
    scored.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, candidate)| candidate)
}

fn likeness(word: &str, known: &str) -> Option<f64> {
    let slips = Some(strsim::normalized_damerau_levenshtein(word, known)).filter(|score| *score >= FEW_SLIPS);
    slips.or_else(|| Some(strsim::jaro_winkler(word, known) - LIKE_BEGINNING).filter(|score| *score >= 0.0))
}

/// `; did you mean "…"?`, or nothing.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, known).map(|known| format!("; did you mean {known:?}?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_or_a_shortening_is_understood_and_another_word_is_not() {
        let known = ["replicas", "ports", "path", "protocol", "tcp", "udp", "maxUnavailable", "name"];
        let table = [
            ("replcas", Some("replicas")),
            ("repl", Some("replicas")),
            ("port", Some("ports")),
            ("tpc", Some("tcp")),
            ("maxunavailable", Some("maxUnavailable")),
            ("maxUnavail", Some("maxUnavailable")),
            ("image", None),
            ("volumes", None),
            ("", None),
        ];
        for (word, meant) in table {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
        assert_eq!(nearest(&"ports".repeat(1_000_000), known), None);
    }
}
