//! `${NAME}` and `${NAME:-default}` in files; `$${` stands for `${`. Lines that are comments are left alone.

/// Replaces variables.
///
/// # Errors
/// Those that are not set, each with its line.
pub(super) fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, Vec<String>> {
    let mut expanded = String::with_capacity(text.len());
    let mut missing = Vec::new();
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if line.trim_start().starts_with('#') {
            expanded.push_str(line);
            continue;
        }
        expand_line(line, lookup, &mut expanded).unwrap_or_else(|what| missing.push(format!("{}: {what}", number + 1)));
    }
    if missing.is_empty() { Ok(expanded) } else { Err(missing) }
}

fn expand_line(line: &str, lookup: &dyn Fn(&str) -> Option<String>, expanded: &mut String) -> Result<(), String> {
    let mut rest = line;
    while let Some(start) = rest.find("${") {
        if let Some(literal) = rest[..start].strip_suffix('$') {
            expanded.push_str(literal);
            expanded.push_str("${");
            rest = &rest[start + 2..];
            continue;
        }
        expanded.push_str(&rest[..start]);
        let Some(end) = rest[start..].find('}') else { return Err("`${` without `}`".into()) };
        expanded.push_str(&value_of(&rest[start + 2..start + end], lookup)?);
        rest = &rest[start + end + 1..];
    }
    expanded.push_str(rest);
    Ok(())
}

fn value_of(inner: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let (name, default) = inner.split_once(":-").map_or((inner, None), |(name, default)| (name, Some(default)));
    let value = lookup(name).filter(|value| default.is_none() || !value.is_empty());
    value.or_else(|| default.map(str::to_owned)).ok_or_else(|| {
        format!(
            "the environment variable {name} is not set; write ${{{name}:-default}} for a default, \
             or $${{{name}}} for the text ${{{name}}} itself"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<String, Vec<String>> {
        expand(text, &|name| match name {
            "HOME_PORT" => Some("8080".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        })
    }

    #[test]
    fn variables_are_replaced_and_defaults_stand_in_for_what_is_unset_or_empty() {
        let table = [
            ("port: ${HOME_PORT}\nzone: ${ZONE:-eu}", "port: 8080\nzone: eu"),
            ("a: ${EMPTY}b", "a: b"),
            ("a: ${EMPTY:-c}b", "a: cb"),
            ("a: $${HOME_PORT}", "a: ${HOME_PORT}"),
            ("a: $HOME_PORT $", "a: $HOME_PORT $"),
            ("# ${NOT_SET} in a comment\n", "# ${NOT_SET} in a comment\n"),
        ];
        for (text, expected) in table {
            assert_eq!(expanded(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn all_variables_that_are_missing_are_named_with_their_lines() {
        let missing = expanded("a: 1\nb: ${FIRST}\nc: ${SECOND}\nd: ${").expect_err("they are not set");
        let begins = ["2: the environment variable FIRST", "3: the environment variable SECOND", "4: `${` without `}`"];
        assert_eq!(missing.len(), begins.len(), "{missing:?}");
        for (missing, begin) in missing.iter().zip(begins) {
            assert!(missing.starts_with(begin), "{missing}");
        }
    }
}
