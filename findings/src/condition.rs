//! The condition of a rule: `selection and not 1 of filter_*`, over the named selections of its detection.

use crate::limits::CONDITION_DEPTH_MAX;

/// A condition, its names resolved to places in the list of selections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    Selection(usize),
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
}

impl Condition {
    /// Reads a condition over selections of these names.
    pub fn parse(text: &str, names: &[String]) -> Result<Self, String> {
        let spaced = text.replace('(', " ( ").replace(')', " ) ");
        let mut parser = Parser { words: spaced.split_whitespace().collect(), at: 0, names, depth: 0 };
        let condition = parser.any_of()?;
        match parser.words.get(parser.at) {
            None => Ok(condition),
            Some(word) => Err(format!("`{word}` is not expected there in the condition")),
        }
    }

    /// True when it holds, given which selections do.
    pub fn holds(&self, selection: &mut impl FnMut(usize) -> bool) -> bool {
        match self {
            Self::Selection(place) => selection(*place),
            Self::All(all) => all.iter().all(|one| one.holds(selection)),
            Self::Any(any) => any.iter().any(|one| one.holds(selection)),
            Self::Not(not) => !not.holds(selection),
        }
    }

    /// The selections that it names.
    pub fn selections(&self, into: &mut Vec<usize>) {
        match self {
            Self::Selection(place) => into.push(*place),
            Self::All(many) | Self::Any(many) => many.iter().for_each(|one| one.selections(into)),
            Self::Not(not) => not.selections(into),
        }
    }
}

struct Parser<'a> {
    words: Vec<&'a str>,
    at: usize,
    names: &'a [String],
    depth: usize,
}

impl<'a> Parser<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let word = self.words.get(self.at).copied();
        self.at += 1;
        word
    }

    fn takes(&mut self, word: &str) -> bool {
        let is_next = self.words.get(self.at).is_some_and(|next| next.eq_ignore_ascii_case(word));
        self.at += usize::from(is_next);
        is_next
    }

    fn any_of(&mut self) -> Result<Condition, String> {
        let mut any = vec![self.all_of()?];
        while self.takes("or") {
            any.push(self.all_of()?);
        }
        Ok(one_or(any, Condition::Any))
    }

    fn all_of(&mut self) -> Result<Condition, String> {
        let mut all = vec![self.one()?];
        while self.takes("and") {
            all.push(self.one()?);
        }
        Ok(one_or(all, Condition::All))
    }

    fn one(&mut self) -> Result<Condition, String> {
        self.depth += 1;
        if self.depth > CONDITION_DEPTH_MAX {
            return Err(format!("the condition nests deeper than {CONDITION_DEPTH_MAX}"));
        }
        let one = self.one_at_depth();
        self.depth -= 1;
        one
    }

    fn one_at_depth(&mut self) -> Result<Condition, String> {
        if self.takes("not") {
            return Ok(Condition::Not(Box::new(self.one()?)));
        }
        if self.takes("(") {
            let inner = self.any_of()?;
            return if self.takes(")") { Ok(inner) } else { Err("a bracket of the condition is not closed".into()) };
        }
        let word = self.next().ok_or("the condition ends where a selection is expected")?;
        let is_count = matches!(word.to_ascii_lowercase().as_str(), "1" | "all" | "any");
        if is_count && self.takes("of") {
            let pattern = self.next().ok_or("`of` of the condition names nothing")?;
            let chosen: Vec<_> = self.chosen(pattern);
            if chosen.is_empty() {
                return Err(format!("no selection is called `{pattern}`"));
            }
            let many = if word.eq_ignore_ascii_case("all") { Condition::All } else { Condition::Any };
            return Ok(many(chosen));
        }
        match self.names.iter().position(|name| name == word) {
            Some(place) => Ok(Condition::Selection(place)),
            None => {
                let known = self.names.iter().map(String::as_str);
                let hint = wire::suggest::nearest(word, known).map(|near| format!("; did you mean `{near}`?"));
                Err(format!("no selection is called `{word}`{}", hint.unwrap_or_default()))
            }
        }
    }

    /// `them` is every selection but those that begin with `_`; a `*` stands for any characters.
    fn chosen(&self, pattern: &str) -> Vec<Condition> {
        let glob = crate::pattern::Glob::new(pattern, crate::pattern::Anchor::Whole, true);
        let is_chosen = |name: &str| match pattern {
            "them" => !name.starts_with('_'),
            _ => glob.fits(name),
        };
        let places = self.names.iter().enumerate().filter(|(_, name)| is_chosen(name));
        places.map(|(place, _)| Condition::Selection(place)).collect()
    }
}

fn one_or(mut many: Vec<Condition>, of: fn(Vec<Condition>) -> Condition) -> Condition {
    match many.pop() {
        Some(only) if many.is_empty() => only,
        Some(last) => {
            many.push(last);
            of(many)
        }
        None => of(many),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str, which: &[&str]) -> Result<bool, String> {
        let names: Vec<String> = ["a", "b", "f_1", "f_2", "_x"].map(str::to_owned).to_vec();
        let condition = Condition::parse(text, &names)?;
        Ok(condition.holds(&mut |place| which.contains(&names[place].as_str())))
    }

    #[test]
    fn conditions_bind_as_in_sigma() {
        for (text, which, expected) in [
            ("a", &["a"][..], true),
            ("not a", &["a"], false),
            ("a or b and f_1", &["a"], true),
            ("(a or b) and f_1", &["a"], false),
            ("a and not b", &["a", "b"], false),
            ("not a and b", &["b"], true),
            ("a and not 1 of f_*", &["a", "f_2"], false),
            ("a and all of f_*", &["a", "f_2"], false),
            ("1 of them", &["_x"], false),
            ("all of them", &["a", "b", "f_1", "f_2"], true),
            ("A AND b".to_lowercase().as_str(), &["a", "b"], true),
            ("a AND NOT (b OR f_1)", &["a"], true),
        ] {
            assert_eq!(holds(text, which), Ok(expected), "{text}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in [
            ("", "ends where"),
            ("a and", "ends where"),
            ("a b", "`b` is not expected"),
            ("(a", "not closed"),
            ("a)", "not expected"),
            ("f_3", "did you mean `f_"),
            ("1 of g*", "no selection is called `g*`"),
            ("a | count() > 5", "`|` is not expected"),
        ] {
            let error = holds(text, &[]).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(holds(&"(".repeat(10_000), &[]).unwrap_err().contains("deeper"));
        assert!(holds(&"not ".repeat(10_000), &[]).unwrap_err().contains("deeper"));
    }
}
