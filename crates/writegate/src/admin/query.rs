//! The query of a URL (WHATWG URL, `application/x-www-form-urlencoded`): read for the server, written for the command line.

/// A query that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidQuery {
    #[error("the query has a % that two hexadecimal digits do not follow, or is not UTF-8")]
    Encoding,
    #[error("the query parameter {name:?} is not known here; {}", those(known))]
    Unknown { name: String, known: &'static [&'static str] },
    #[error("the query parameter {0} must stand once")]
    Repeated(&'static str),
}

fn those(known: &[&str]) -> String {
    if known.is_empty() { "this call has none".to_owned() } else { format!("there are {}", known.join(", ")) }
}

/// Reads the parameters that are known; the values come in the order of `known`.
///
/// # Errors
/// When another one is there, or one twice.
pub(crate) fn parameters<const N: usize>(
    query: &str,
    known: &'static [&'static str; N],
) -> Result<[Option<String>; N], InvalidQuery> {
    let mut values = [const { None }; N];
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode(name)?, decode(value)?);
        let Some(index) = known.iter().position(|known| *known == name) else {
            return Err(InvalidQuery::Unknown { name, known });
        };
        if values[index].replace(value).is_some() {
            return Err(InvalidQuery::Repeated(known[index]));
        }
    }
    Ok(values)
}

fn decode(text: &str) -> Result<String, InvalidQuery> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        bytes.push(match first {
            b'+' => b' ',
            b'%' => {
                let (digits, after) = rest.split_at_checked(2).ok_or(InvalidQuery::Encoding)?;
                rest = after;
                hexadecimal(digits).ok_or(InvalidQuery::Encoding)?
            }
            plain => *plain,
        });
    }
    String::from_utf8(bytes).map_err(|_invalid| InvalidQuery::Encoding)
}

fn hexadecimal(digits: &[u8]) -> Option<u8> {
    digits.iter().try_fold(0, |number, digit| {
        let digit = char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())?;
        Some(number << 4 | digit)
    })
}

/// Writes a query with the parameters that have a value; empty if none has, else with its question mark.
pub(crate) fn encode(parameters: &[(&str, Option<&str>)]) -> String {
    let mut query = String::new();
    for (name, value) in parameters.iter().filter_map(|(name, value)| value.map(|value| (name, value))) {
        query.push(if query.is_empty() { '?' } else { '&' });
        query.push_str(name);
        query.push('=');
        for byte in value.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => query.push(char::from(byte)),
                other => query.push_str(&format!("%{other:02X}")),
            }
        }
    }
    query
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str; 2] = &["tenant", "series"];

    #[test]
    fn a_query_that_was_written_is_read_as_it_was_meant() {
        let series = "up{job=\"a+b & ü\", x='100%'}";
        let query = encode(&[("tenant", None), ("series", Some(series))]);
        assert_eq!(parameters(query.trim_start_matches('?'), KNOWN), Ok([None, Some(series.to_owned())]));
        assert_eq!(parameters("series=a+b&tenant=", KNOWN), Ok([Some(String::new()), Some("a b".to_owned())]));
        assert_eq!(parameters("", KNOWN), Ok([None, None]));
    }

    #[test]
    fn a_query_that_is_not_understood_is_refused_with_its_reason() {
        let unknown = InvalidQuery::Unknown { name: "tennant".to_owned(), known: KNOWN };
        assert_eq!(parameters("tennant=a", KNOWN), Err(unknown));
        assert_eq!(parameters("tenant=a&tenant=a", KNOWN), Err(InvalidQuery::Repeated("tenant")));
        for query in ["tenant=%", "tenant=%4", "tenant=%zz", "tenant=%ff", "tenant=%+1"] {
            assert_eq!(parameters(query, KNOWN), Err(InvalidQuery::Encoding), "{query}");
        }
    }
}
