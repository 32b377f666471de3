//! What a plain scalar means by YAML 1.2's core schema (<https://yaml.org/spec/1.2.2/#103-core-schema>).

use serde_json::{Number, Value};

use crate::yaml::Problem;

/// The value of a scalar written without quotes.
pub(super) fn plain(text: &str) -> Result<Value, Problem> {
    let value = match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ if is_not_finite(text) => return Err(Problem::NotFinite(text.to_owned())),
        _ => return number(text).map(|number| number.map_or_else(|| Value::String(text.to_owned()), Value::Number)),
    };
    Ok(value)
}

/// The value of a scalar with one of YAML's own tags: `str`, `int`, …
pub(super) fn tagged(tag: &str, text: &str) -> Result<Value, Problem> {
    if tag == "str" {
        return Ok(Value::String(text.to_owned()));
    }
    let value = plain(text)?;
    let fits = match (tag, &value) {
        ("null", Value::Null) | ("bool", Value::Bool(_)) | ("float", Value::Number(_)) => true,
        ("int", Value::Number(number)) => !number.is_f64(),
        ("null" | "bool" | "float" | "int", _) => false,
        _ => return Err(Problem::Tag(format!("the tag !!{tag} means nothing here"))),
    };
    if fits { Ok(value) } else { Err(Problem::Tag(format!("{text:?} is no !!{tag}"))) }
}

fn is_not_finite(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN")
}

fn number(text: &str) -> Result<Option<Number>, Problem> {
    let radix = |prefix, radix| {
        text.strip_prefix(prefix).filter(|digits: &&str| all_digits(digits, radix)).map(|digits| (digits, radix))
    };
    if let Some((digits, radix)) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        let value = u64::from_str_radix(digits, radix).map_err(|_| Problem::NotFinite(text.to_owned()))?;
        return Ok(Some(value.into()));
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if all_digits(unsigned, 10) {
        let signed = text.strip_prefix('+').unwrap_or(text);
        // Beyond 64 bits a number is as near as a double can be, as in JSON.
        let whole = signed.parse::<u64>().map(Number::from).or_else(|_| signed.parse::<i64>().map(Number::from));
        return whole.map_or_else(|_| double(text).map(Some), |whole| Ok(Some(whole)));
    }
    if is_float(unsigned) { double(text).map(Some) } else { Ok(None) }
}

fn all_digits(text: &str, radix: u32) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_digit(radix))
}

/// `[0-9]+(\.[0-9]*)?` or `\.[0-9]+`, each with an optional exponent.
fn is_float(unsigned: &str) -> bool {
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.is_empty() || all_digits(text, 10);
    digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|exponent| all_digits(exponent, 10))
}

fn double(text: &str) -> Result<Number, Problem> {
    let number = text.parse::<f64>().ok().and_then(Number::from_f64);
    number.ok_or_else(|| Problem::NotFinite(text.chars().take(40).collect()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plain_scalars_mean_what_the_core_schema_says() {
        let table = [
            ("", json!(null)),
            ("~", json!(null)),
            ("null", json!(null)),
            ("true", json!(true)),
            ("FALSE", json!(false)),
            ("yes", json!("yes")),
            ("on", json!("on")),
            ("12", json!(12)),
            ("-12", json!(-12)),
            ("+12", json!(12)),
            ("012", json!(12)),
            ("0x1F", json!(31)),
            ("0o17", json!(15)),
            ("0b11", json!("0b11")),
            ("18446744073709551615", json!(u64::MAX)),
            ("-9223372036854775808", json!(i64::MIN)),
            ("18446744073709551616", json!(18446744073709551616.0)),
            ("1.10", json!(1.1)),
            ("1.", json!(1.0)),
            (".5", json!(0.5)),
            ("1e3", json!(1000.0)),
            ("-1.5E-2", json!(-0.015)),
            ("1.2.3", json!("1.2.3")),
            (".", json!(".")),
            ("e5", json!("e5")),
            ("1e", json!("1e")),
            ("1_000", json!("1_000")),
            ("12:30", json!("12:30")),
            ("0x", json!("0x")),
            ("inf", json!("inf")),
            ("-.nan", json!("-.nan")),
            ("2026-11-24", json!("2026-11-24")),
        ];
        for (text, value) in table {
            assert_eq!(plain(text), Ok(value), "{text:?}");
        }
    }

    #[test]
    fn numbers_that_json_does_not_have_are_refused() {
        for text in [".inf", "-.INF", "+.Inf", ".nan", "1e400", "-1e400", "0xFFFFFFFFFFFFFFFFF", &"9".repeat(400)] {
            assert!(matches!(plain(text), Err(Problem::NotFinite(_))), "{text:?}");
        }
    }
}
