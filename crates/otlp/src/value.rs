//! An `AnyValue` as the text that a label holds: as the OpenTelemetry Collector writes it, so that labels do not depend on who
//! translates.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use remote_write::wire::{Malformed, Reader, WireType};

use crate::message::{bytes, double, each_field, message, text, varint};
use crate::refused::Failure;

/// The value as text; no value is the empty text. Lists and maps are JSON, bytes are base64.
pub(crate) fn text_of(value: Reader<'_>, depth: usize) -> Result<Cow<'_, str>, Failure> {
    let mut found = Cow::Borrowed("");
    each_field::<Failure>(value, |tag, reader| {
        found = match tag.field {
            1 => text(bytes(tag, reader)?, "the value of an attribute")?.into(),
            2 => if varint(tag, reader)? == 0 { "false" } else { "true" }.into(),
            3 => varint(tag, reader)?.cast_signed().to_string().into(),
            4 => number(double(tag, reader)?).into(),
            5 => list(message(tag, reader)?, deeper(depth, reader)?)?.into(),
            6 => map(message(tag, reader)?, deeper(depth, reader)?)?.into(),
            7 => STANDARD.encode(bytes(tag, reader)?).into(),
            _ => return Ok(false),
        };
        Ok(true)
    })?;
    Ok(found)
}

fn deeper(depth: usize, reader: &Reader<'_>) -> Result<usize, Malformed> {
    depth.checked_sub(1).ok_or_else(|| reader.malformed("an attribute nests deeper than 32 lists and maps"))
}

/// The value inside a list or a map.
fn json_of(value: Reader<'_>, depth: usize) -> Result<String, Failure> {
    let mut is_text = false;
    let mut is_there = false;
    // Which of the oneof it is: only texts and bytes are quoted.
    each_field::<Malformed>(value, |tag, _reader| {
        is_text = tag.wire == WireType::Len && matches!(tag.field, 1 | 7);
        is_there |= (1..=7).contains(&tag.field);
        Ok(false)
    })?;
    let found = text_of(value, depth)?;
    Ok(match (is_there, is_text) {
        (false, _) => "null".to_owned(),
        (true, true) => quoted(&found),
        (true, false) => found.into_owned(),
    })
}

fn list(values: Reader<'_>, depth: usize) -> Result<String, Failure> {
    let mut items = Vec::new();
    each_field::<Failure>(values, |tag, reader| match tag.field {
        1 => {
            items.push(json_of(message(tag, reader)?, depth)?);
            Ok(true)
        }
        _ => Ok(false),
    })?;
    Ok(format!("[{}]", items.join(",")))
}

fn map(values: Reader<'_>, depth: usize) -> Result<String, Failure> {
    let mut entries = BTreeMap::new();
    each_field::<Failure>(values, |tag, reader| {
        if tag.field != 1 {
            return Ok(false);
        }
        let (mut key, mut value) = ("", "null".to_owned());
        each_field::<Failure>(message(tag, reader)?, |tag, reader| {
            match tag.field {
                1 => key = text(bytes(tag, reader)?, "the key of an attribute")?,
                2 => value = json_of(message(tag, reader)?, depth)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        entries.insert(key, value);
        Ok(true)
    })?;
    let entries: Vec<_> = entries.into_iter().map(|(key, value)| format!("{}:{value}", quoted(key))).collect();
    Ok(format!("{{{}}}", entries.join(",")))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The shortest text that reads as the same number; very large and very small ones with an exponent, as in JSON.
fn number(value: f64) -> String {
    let size = value.abs();
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{value:e}");
        if text.contains("e-") { text } else { text.replace('e', "e+") }
    } else {
        value.to_string()
    }
}
